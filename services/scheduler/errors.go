package scheduler

import "errors"

var (
	// ErrInvalidConfig is wrapped by what New returns for a configuration that cannot work.
	ErrInvalidConfig = errors.New("invalid scheduler configuration")
	// ErrState is returned when Start was called twice, or after Stop.
	ErrState = errors.New("scheduler service was started before")
)
