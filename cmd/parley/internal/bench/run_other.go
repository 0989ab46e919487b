//go:build !linux

package bench

import (
	"context"
	"errors"
)

// Options say how scenarios are run.
type Options struct {
	// Target is the server.
	Target Target
	// Rounds is how often each server gets its turn; the median counts.
	Rounds int
	// Alone leaves the bare hub out.
	Alone bool
}

// Run reports that scenarios cannot be run here.
func Run(context.Context, Options, Scenario, Progress) (Comparison, error) {
	return Comparison{}, errors.New("the load generator stands on epoll: it needs Linux")
}
