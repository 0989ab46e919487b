package rooms

import "errors"

var (
	// ErrInvalidConfig is wrapped by what New returns for a configuration that cannot work.
	ErrInvalidConfig = errors.New("invalid rooms configuration")
	// ErrState is returned when Start was called twice, or after Stop.
	ErrState = errors.New("rooms service was started before")
)
