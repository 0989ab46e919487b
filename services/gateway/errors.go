package gateway

import "errors"

var (
	// ErrInvalidConfig wraps everything that New finds wrong.
	ErrInvalidConfig = errors.New("invalid gateway configuration")
	// ErrState says that Start was called twice.
	ErrState = errors.New("gateway was started before")

	errDirectoryStale = errors.New("directory is not complete or too old")
	errNoRooms        = errors.New("no rooms node can be reached yet")
	errNotListening   = errors.New("not listening")
	errShardEnded     = errors.New("an actor that serves a share of the connections has ended")
)
