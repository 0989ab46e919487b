package rooms

import (
	"errors"
	"fmt"

	"github.com/parley-rt/parley/libs/ratelimit"
)

// RateLimits are how much members may post in one room together. Zero values limit nothing.
type RateLimits struct {
	RoomMessages ratelimit.Rate `default:"2000:10000" help:"Messages in one room: so many a second on average, and after the colon at once; 0 for no limit. What servers post is not counted."`
	RoomBytes    ratelimit.Rate `default:"8388608:67108864" help:"Bytes of their contents."`
}

// DefaultRateLimits are those of a rooms node whose operator says nothing.
func DefaultRateLimits() RateLimits {
	return RateLimits{
		RoomMessages: ratelimit.Rate{PerSecond: 2000, Burst: 10_000},
		RoomBytes:    ratelimit.Rate{PerSecond: 8 << 20, Burst: 64 << 20},
	}
}

func (l RateLimits) check() error {
	var problems []error
	if err := l.RoomMessages.Check(); err != nil {
		problems = append(problems, fmt.Errorf("rate limit of room messages: %w", err))
	}
	if err := l.RoomBytes.Check(); err != nil {
		problems = append(problems, fmt.Errorf("rate limit of room bytes: %w", err))
	}
	return errors.Join(problems...)
}
