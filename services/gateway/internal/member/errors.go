package member

import "errors"

var (
	// ErrUnreachable: no rooms node takes the request now.
	ErrUnreachable = errors.New("no rooms node can be reached")
	// ErrBusy: the way to the rooms node is full.
	ErrBusy = errors.New("the way to the rooms node is full")
)
