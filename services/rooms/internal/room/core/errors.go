package core

import "errors"

// ErrEvent means that a stored event or snapshot cannot be understood. The stream must not be written to by this version.
var ErrEvent = errors.New("stored event cannot be understood")

var (
	errContent = errors.New("content is not UTF-8")
	errSentAt  = errors.New("sent_at is not a valid time")
	errFiring  = errors.New("a firing has a number from 1 on and one message")
)
