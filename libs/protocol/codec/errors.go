package codec

import (
	"strconv"
	"strings"
	"unicode/utf8"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codes"
)

// DecodeError says why a frame was refused.
type DecodeError struct {
	// Code is ERROR_CODE_BAD_FRAME for a malformed frame and ERROR_CODE_UNKNOWN_KIND for a well-formed one without a known
	// kind.
	Code clientv1.ErrorCode
	// ID is the frame's id, 0 when it has none or it could not be read.
	ID uint32
	// Message is one line of at most maxMessage bytes of UTF-8 for the client. It may quote a little of the frame.
	Message string
}

// Error returns the code's name and the message.
func (e *DecodeError) Error() string { return codes.ErrorName(e.Code) + ": " + e.Message }

// maxMessage bounds what is quoted back: protobuf's errors repeat the offending token, however long it is.
const maxMessage = 160

func badFrame(id uint32, err error) *DecodeError {
	return &DecodeError{
		Code:    clientv1.ErrorCode_ERROR_CODE_BAD_FRAME,
		ID:      id,
		Message: clip(withoutProtoPrefix(err.Error())),
	}
}

// unknownKind names what was there instead of a kind; name is empty when there was nothing.
func unknownKind(id uint32, name string) *DecodeError {
	msg := "frame without a kind"
	if name != "" {
		msg = "unknown kind " + strconv.Quote(clip(name))
	}
	return &DecodeError{Code: clientv1.ErrorCode_ERROR_CODE_UNKNOWN_KIND, ID: id, Message: clip(msg)}
}

// withoutProtoPrefix removes "proto: ", whose space is a no-break space in half of all builds.
func withoutProtoPrefix(s string) string {
	s = strings.TrimPrefix(s, "proto:")
	return strings.TrimLeft(s, " \u00a0")
}

// clip makes s valid UTF-8 of at most maxMessage bytes.
func clip(s string) string {
	if len(s) > maxMessage {
		end := maxMessage - len("…")
		for end > 0 && !utf8.RuneStart(s[end]) {
			end--
		}
		s = s[:end] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
