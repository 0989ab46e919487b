//go:build !linux

package barehub

import (
	"context"
	"errors"
)

// Options of a hub.
type Options struct {
	// Listen is a TCP address; port 0 takes a free one.
	Listen string
	// Tail is how many of the last messages of a room those who come later may have. 0: none.
	Tail int
	// Loops is how many threads serve; 0: one per processor.
	Loops int
}

// Run reports that there is no hub here.
func Run(context.Context, Options, func(addr string)) error {
	return errors.New("the bare hub stands on epoll: it needs Linux")
}
