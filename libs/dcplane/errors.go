package dcplane

import (
	"errors"
	"fmt"
)

var (
	// ErrInvalidNode is wrapped by what Register and Update return for a node no directory would accept.
	ErrInvalidNode = errors.New("invalid node")
	// ErrUnavailable means the control plane did not answer in time. What was asked may or may not have happened.
	ErrUnavailable = errors.New("control plane unavailable")
	// ErrClosed is returned by every call on a directory after Close.
	ErrClosed = errors.New("directory closed")
	// ErrAlreadyRegistered is returned by Register while this directory holds a registration for the same node.
	ErrAlreadyRegistered = errors.New("node already registered by this directory")
	// ErrDeregistered is returned by Update after Deregister.
	ErrDeregistered = errors.New("registration ended")
	// ErrSuperseded is matched by *SupersededError.
	ErrSuperseded = errors.New("node registered by another process")
)

// SupersededError says that a process which registered later, under another incarnation, now holds the node's name. The
// registration that gets it has stopped for good.
type SupersededError struct {
	Key Key
	// Mine and Theirs are the two incarnations.
	Mine, Theirs string
}

func (e *SupersededError) Error() string {
	return fmt.Sprintf("node %s: %s (incarnation %s, ours was %s)", e.Key, ErrSuperseded.Error(), e.Theirs, e.Mine)
}

// Is makes errors.Is(err, ErrSuperseded) true.
func (e *SupersededError) Is(target error) bool { return target == ErrSuperseded }
