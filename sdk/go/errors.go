package parley

import (
	"errors"
	"fmt"
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

// ResetReason says why a stream does not continue. It is an error too: errors.Is(err, parley.Rewound).
type ResetReason string

// Error returns the reason.
func (r ResetReason) Error() string { return string(r) }

// The reasons.
const (
	// Rewound: the room's newest history was lost. Messages seen before may be gone; what this Client saw acknowledged in the
	// last minute it publishes again by itself, with the same message ids.
	Rewound ResetReason = "rewound"
	// Trimmed: messages after the cursor are past the room's retention, or from before the member joined a room whose history
	// it may not read.
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
	return fmt.Sprintf("stream of room %s was reset to %d: %s", e.RoomID, e.Seq, string(e.Reason))
}

// Is tells whether target is the error's Reason.
func (e *ResetError) Is(target error) bool { return target == error(e.Reason) }
