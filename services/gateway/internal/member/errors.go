package member

import "errors"

var (
	// ErrUnreachable says that no rooms node takes the request now.
	ErrUnreachable    = errors.New("no rooms node can be reached")
	errForeignSession = errors.New("a session has another member than its token was made for")
	// ErrBusy says that the way to the rooms node is full.
	ErrBusy = errors.New("the way to the rooms node is full")
)
