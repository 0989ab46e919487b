package route

import "errors"

var (
	// ErrUnreachable says that no rooms node of the own datacenter takes a frame now.
	ErrUnreachable = errors.New("no rooms node can be reached")
	// ErrBusy says that the Link to the room's node is full.
	ErrBusy = errors.New("the link to the rooms node is full")
)
