package core

import "errors"

// ErrEvent means that a stored event or snapshot cannot be understood. The stream must not be written to by this version.
var ErrEvent = errors.New("stored event cannot be understood")

// Why a command is refused.
var (
	ErrNotFound = errors.New("there is no such schedule")
	ErrExists   = errors.New("the id or idempotency key is that of another schedule")
	ErrDeleted  = errors.New("the schedule was deleted")
	ErrEnded    = errors.New("the schedule has ended")
	ErrFull     = errors.New("the schedule book is full")
	ErrAsked    = errors.New("too many firings of the schedule wait already")
	ErrFailure  = errors.New("the schedule has no such failed firing")
	ErrNever    = errors.New("the schedule would never be due")
)
