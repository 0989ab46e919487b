package opskit

import "errors"

var (
	// ErrForced is returned by Run when a second signal asks for an exit without
	// waiting for the components that are still stopping.
	ErrForced = errors.New("second signal: exiting without waiting for the rest to stop")

	// ErrStopTimeout marks a component that was still running when its stop
	// bound passed.
	ErrStopTimeout = errors.New("still running when the stop timeout passed")

	// ErrCheckTimeout is a health check's result when it did not answer in time.
	ErrCheckTimeout = errors.New("no answer within the check timeout")

	// ErrHelp is returned by Load after it has printed the help that was asked
	// for. The caller exits with status 0.
	ErrHelp = errors.New("help was printed")
)
