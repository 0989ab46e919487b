package postgres

import (
	"fmt"
	"sync/atomic"

	"github.com/parley-rt/parley/libs/persistence"
)

// tripAfter is how many commits in a row must fail before requests are refused at once.
const tripAfter = 5

// breaker keeps requests from queueing for a server that does not take them.
//
//	closed ──(tripAfter failures in a row)──► open ──(a probe was stored)──► closed
//
// Only a stored event closes it: a read, or a write to a table that has room, would succeed on a full disk. While it is open
// one goroutine probes, at growing intervals, by appending an event.
type breaker struct {
	failures atomic.Int64
	cause    atomic.Pointer[error]
}

// refuses returns the error that requests get; nil while it is closed.
func (b *breaker) refuses() error {
	if cause := b.cause.Load(); cause != nil {
		return fmt.Errorf("%w, last error: %w", persistence.ErrUnavailable, *cause)
	}
	return nil
}

func (b *breaker) open() bool { return b.cause.Load() != nil }

// failed counts a failure; true: this one opened it.
func (b *breaker) failed(err error) bool {
	if b.failures.Add(1) < tripAfter {
		return false
	}
	return b.cause.Swap(&err) == nil
}

// succeeded closes it; true: it was open.
func (b *breaker) succeeded() bool {
	b.failures.Store(0)
	return b.cause.Swap(nil) != nil
}
