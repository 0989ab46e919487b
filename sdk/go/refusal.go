package parley

import (
	"fmt"
	"time"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codes"
)

// Code is the code of a refusal. It is an error too, so that one code can be asked for:
//
//	if errors.Is(err, parley.CodeMuted) { … }
type Code string

// Error returns the code.
func (c Code) Error() string { return string(c) }

// The codes of this version of the protocol; newer servers may have more.
const (
	CodeBadFrame        Code = "BAD_FRAME"
	CodeUnknownKind     Code = "UNKNOWN_KIND"
	CodeHelloLate       Code = "HELLO_LATE"
	CodeInvalidArgument Code = "INVALID_ARGUMENT"
	CodeInvalidRoom     Code = "INVALID_ROOM"
	CodeTooLarge        Code = "TOO_LARGE"
	CodeTooManyRooms    Code = "TOO_MANY_ROOMS"
	CodeUnauthenticated Code = "UNAUTHENTICATED"
	CodeForbidden       Code = "FORBIDDEN"
	CodeNotJoined       Code = "NOT_JOINED"
	CodeMuted           Code = "MUTED"
	CodeBanned          Code = "BANNED"
	CodeRateLimited     Code = "RATE_LIMITED"
	CodeBusy            Code = "BUSY"
	CodeUnavailable     Code = "UNAVAILABLE"
	CodeUnknownOutcome  Code = "UNKNOWN_OUTCOME"
	CodeInternal        Code = "INTERNAL"
)

// Error is a refusal by the server, or by the SDK where it knows that the server would refuse.
type Error struct {
	Code    Code
	Message string
	// Retryable refusals are retried by the SDK; a program sees one only as the last cause of a call that ended otherwise.
	Retryable  bool
	RetryAfter time.Duration
	RoomID     string
	MessageID  string
	// TraceID leads to the cause in the server's logs.
	TraceID string
}

// Error returns code and message.
func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Is tells whether target is the error's Code.
func (e *Error) Is(target error) bool { return target == error(e.Code) }

func errorOf(e *clientv1.Error) *Error {
	return &Error{
		Code:       Code(e.GetCode()),
		Message:    e.GetMessage(),
		Retryable:  e.GetRetryable(),
		RetryAfter: time.Duration(e.GetRetryAfterMs()) * time.Millisecond,
		RoomID:     e.GetRoomId(),
		MessageID:  e.GetMessageId(),
		TraceID:    e.GetTraceId(),
	}
}

// CloseCode is the code of a close frame: one of Parley's, which have names here, or one of RFC 6455. It is an error too, so
// that one code can be asked for: errors.Is(client.Err(), parley.CloseBanned).
type CloseCode int

// The close codes of this version of the protocol; newer servers may have more. After those from 4000 to 4499 a Client
// connects again by itself, after those from 4500 to 4999 it has ended.
const (
	CloseDrain           CloseCode = 4000
	CloseSlow            CloseCode = 4001
	CloseOverloaded      CloseCode = 4002
	CloseTokenExpired    CloseCode = 4003
	CloseInternal        CloseCode = 4004
	CloseUnauthenticated CloseCode = 4500
	CloseAuthTimeout     CloseCode = 4501
	CloseBanned          CloseCode = 4503
	CloseSessionReplaced CloseCode = 4504
	CloseAbuse           CloseCode = 4505
)

// Error returns the code's name, if it has one, and its number.
func (c CloseCode) Error() string {
	if name := codes.CloseName(clientv1.CloseCode(c)); name != "" {
		return fmt.Sprintf("%s (%d)", name, int(c))
	}
	return fmt.Sprintf("close code %d", int(c))
}

// CloseError is the end of a connection by the server's close frame. As the result of Client.Err its code is of the kind
// after which a client must not connect again.
type CloseError struct {
	Code   CloseCode
	Reason string
}

// Error returns the reason, which for Parley's own codes is their name, and the code.
func (e *CloseError) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("server closed the connection (%d)", int(e.Code))
	}
	return fmt.Sprintf("server closed the connection: %s (%d)", e.Reason, int(e.Code))
}

// Is tells whether target is the error's Code.
func (e *CloseError) Is(target error) bool { return target == error(e.Code) }

// HandshakeError is an HTTP answer instead of a WebSocket.
type HandshakeError struct {
	Status     int
	RetryAfter time.Duration
	Err        error
}

// Error returns the cause with the status.
func (e *HandshakeError) Error() string {
	return fmt.Sprintf("handshake answered with %d: %v", e.Status, e.Err)
}

// Unwrap returns the cause.
func (e *HandshakeError) Unwrap() error { return e.Err }
