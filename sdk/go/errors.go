package parley

import (
	"errors"
	"fmt"
	"time"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
)

// Errors that need no data. They come wrapped; compare with errors.Is.
var (
	// ErrClosed: Close was called.
	ErrClosed = errors.New("client is closed")
	// ErrLeft: Leave was called on the room.
	ErrLeft = errors.New("room was left")
	// ErrJoined: the Client has joined the room already.
	ErrJoined = errors.New("room is joined already")
	// ErrNotConnected: there is no connection at the moment, and the call does not wait for one.
	ErrNotConnected = errors.New("not connected")
	// ErrPending: a publish with the same message id is unanswered.
	ErrPending = errors.New("message id is being published already")
	// ErrOutcomeUnknown: the message may or may not be stored, and sending it again could store it twice, because the server
	// remembers message ids for two minutes only.
	ErrOutcomeUnknown = errors.New("outcome is unknown and can no longer be settled")
	// ErrSessionLost: the server gave this client another member id, under which sending again would be a second message.
	ErrSessionLost = errors.New("session was lost while the publish was unanswered")
)

// Code is the code of a refusal.
type Code string

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

// CloseError is the end of a connection by the server's close frame. As the result of Client.Err its code is of the kind
// after which a client must not connect again.
type CloseError struct {
	Code   int
	Reason string
}

// Error returns the reason, which for Parley's own codes is their name, and the code.
func (e *CloseError) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("server closed the connection (%d)", e.Code)
	}
	return fmt.Sprintf("server closed the connection: %s (%d)", e.Reason, e.Code)
}

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

// PublishError is the failure of one publish.
type PublishError struct {
	RoomID    string
	MessageID string
	// MaybeStored tells that an attempt was sent whose outcome is not known. Publishing again with the same MessageID within
	// two minutes of the first attempt is harmless.
	MaybeStored bool
	// Err is the cause: an *Error, a context's error, ErrClosed and so on.
	Err error
}

// Error returns the cause with what became of the message.
func (e *PublishError) Error() string {
	maybe := ""
	if e.MaybeStored {
		maybe = " (it may be stored)"
	}
	return fmt.Sprintf("publish to %s%s: %v", e.RoomID, maybe, e.Err)
}

// Unwrap returns the cause.
func (e *PublishError) Unwrap() error { return e.Err }

// ResetReason says why a stream does not continue.
type ResetReason string

// The reasons.
const (
	// Rewound: the room's newest history was lost. Messages seen before may be gone; what this Client saw acknowledged in the
	// last minute it publishes again by itself, with the same message ids.
	Rewound ResetReason = "rewound"
	// Trimmed: messages after the cursor are past the room's retention.
	Trimmed ResetReason = "trimmed"
	// ReplayLimit: more messages were missed than the server replays; Room.History reads them.
	ReplayLimit ResetReason = "replay_limit"
)

// ResetError is yielded by Room.Messages between two messages that are not consecutive. The iteration goes on after it.
type ResetError struct {
	RoomID string
	// Seq is where the stream goes on: the next message is the first one after it.
	Seq    uint64
	Reason ResetReason
}

// Error returns the reason.
func (e *ResetError) Error() string {
	return fmt.Sprintf("stream of room %s was reset to %d: %s", e.RoomID, e.Seq, e.Reason)
}
