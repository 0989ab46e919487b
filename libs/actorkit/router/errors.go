package router

import "errors"

// Sentinels. Wrapped ones carry detail; test with errors.Is.
var (
	// ErrFull: whoever could take the message has as many as it may hold. It was not taken.
	ErrFull = errors.New("routees are full")
	// ErrNoRoutees: there is nobody who could take the message. It was not taken.
	ErrNoRoutees = errors.New("no routees")
	// ErrTimeout: nobody answered within Config.Within. Some may have taken the message.
	ErrTimeout = errors.New("no routee answered in time")
	// ErrAllFailed: everybody who was asked answered with an error; their errors are joined to it.
	ErrAllFailed = errors.New("all routees failed")
	// ErrPanicked: the routee panicked over the message.
	ErrPanicked = errors.New("routee panicked")
	// ErrEnded: the routee's actor ended before it had answered. It may have begun.
	ErrEnded = errors.New("routee ended")
	// ErrClosed: the router was closed. A message that was on its way may have been taken.
	ErrClosed = errors.New("router closed")
	// ErrInvalidConfig: a configuration or an argument breaks its contract.
	ErrInvalidConfig = errors.New("invalid configuration")
)
