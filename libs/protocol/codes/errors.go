package codes

import (
	"google.golang.org/protobuf/reflect/protoreflect"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
)

const errorPrefix = "ERROR_CODE_"

// Errors lists every error code in the enum's order, without UNSPECIFIED.
func Errors() []clientv1.ErrorCode {
	return values[clientv1.ErrorCode](clientv1.ErrorCode(0).Descriptor())
}

// ErrorName returns the bare name that Error.code carries: "BAD_FRAME". It is empty for UNSPECIFIED and unknown values.
func ErrorName(c clientv1.ErrorCode) string { return bareName(c.Descriptor(), c.Number(), errorPrefix) }

// ParseError is the inverse of ErrorName. A name of a newer protocol gives false.
func ParseError(name string) (clientv1.ErrorCode, bool) {
	n, ok := clientv1.ErrorCode_value[errorPrefix+name]
	return clientv1.ErrorCode(n), ok && n != 0
}

// Retryable tells what a refused attempt means. False: it is not stored and never will be. True: it may be stored, now or
// shortly; send it again with the same message_id.
func Retryable(c clientv1.ErrorCode) bool {
	switch c {
	case clientv1.ErrorCode_ERROR_CODE_RATE_LIMITED,
		clientv1.ErrorCode_ERROR_CODE_BUSY,
		clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE,
		clientv1.ErrorCode_ERROR_CODE_UNKNOWN_OUTCOME,
		clientv1.ErrorCode_ERROR_CODE_INTERNAL:
		return true
	default:
		return false
	}
}

// ErrorMeaning is one sentence for documentation and tools.
func ErrorMeaning(c clientv1.ErrorCode) string {
	switch c {
	case clientv1.ErrorCode_ERROR_CODE_BAD_FRAME:
		return "The frame is malformed: not an object, a wrong type, an unreadable time, two kinds at once."
	case clientv1.ErrorCode_ERROR_CODE_UNKNOWN_KIND:
		return "The frame has no kind, one the server does not know, or one that only servers send."
	case clientv1.ErrorCode_ERROR_CODE_HELLO_LATE:
		return "`hello` came after the session was opened."
	case clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT:
		return "A field has a value outside its range, or fields contradict each other."
	case clientv1.ErrorCode_ERROR_CODE_INVALID_ROOM:
		return "The room id does not match `[A-Za-z0-9._:-]{1,128}`."
	case clientv1.ErrorCode_ERROR_CODE_TOO_LARGE:
		return "The message is larger than the room allows."
	case clientv1.ErrorCode_ERROR_CODE_TOO_MANY_ROOMS:
		return "The connection has joined as many rooms as it may."
	case clientv1.ErrorCode_ERROR_CODE_UNAUTHENTICATED:
		return "The token is missing, invalid or expired."
	case clientv1.ErrorCode_ERROR_CODE_FORBIDDEN:
		return "The member may not do this in this room: its token or the room's settings do not allow it."
	case clientv1.ErrorCode_ERROR_CODE_NOT_JOINED:
		return "The operation needs a joined room."
	case clientv1.ErrorCode_ERROR_CODE_MUTED:
		return "The member is muted in the room."
	case clientv1.ErrorCode_ERROR_CODE_BANNED:
		return "The member is banned from the room."
	case clientv1.ErrorCode_ERROR_CODE_RATE_LIMITED:
		return "Too many requests; `retry_after_ms` says when to try again."
	case clientv1.ErrorCode_ERROR_CODE_BUSY:
		return "A queue is full; try again shortly."
	case clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE:
		return "The room cannot be reached at the moment."
	case clientv1.ErrorCode_ERROR_CODE_UNKNOWN_OUTCOME:
		return "The attempt was not answered in time; it may have been stored."
	case clientv1.ErrorCode_ERROR_CODE_INTERNAL:
		return "The server failed; `trace_id` leads to the cause in its logs."
	default:
		return ""
	}
}

// values lists the numbers of an enum without its zero.
func values[E ~int32](d protoreflect.EnumDescriptor) []E {
	vs := d.Values()
	out := make([]E, 0, vs.Len())
	for i := range vs.Len() {
		if n := vs.Get(i).Number(); n != 0 {
			out = append(out, E(n))
		}
	}
	return out
}

// bareName strips the enum's prefix, which protobuf needs and the wire does not carry.
func bareName(d protoreflect.EnumDescriptor, n protoreflect.EnumNumber, prefix string) string {
	v := d.Values().ByNumber(n)
	if v == nil || n == 0 {
		return ""
	}
	return string(v.Name())[len(prefix):]
}
