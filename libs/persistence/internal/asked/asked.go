// Package asked is what the requests of a group commit have in common, whatever the store: they wait in a queue, the caller or
// the writer has them, and one result goes back.
package asked

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
)

// Only queued → withdrawn and queued → taken exist, so either the caller or the writer has a request.
const (
	queued int32 = iota
	taken
	withdrawn
)

// Request is what is asked of a writer, once. The zero value is a request that nobody waits for.
type Request struct {
	// Since is when it was put into its queue.
	Since time.Time

	state atomic.Int32
	err   error         // the result, once done is closed
	done  chan struct{} // of a caller that waits

	then  func(error) // of one that does not
	ended atomic.Bool
	limit *time.Timer
}

// Expect lets Done tell when the result is there. Wait does it.
func (r *Request) Expect() { r.done = make(chan struct{}) }

// Done is closed when the result is there, which Err then returns.
func (r *Request) Done() <-chan struct{} { return r.done }

// Err returns the result.
func (r *Request) Err() error { return r.err }

// Take gives the request to the writer, who must Answer it. False: its caller has withdrawn it.
func (r *Request) Take() bool { return r.state.CompareAndSwap(queued, taken) }

// Withdraw takes the request back. False: the writer has it.
func (r *Request) Withdraw() bool { return r.state.CompareAndSwap(queued, withdrawn) }

// Answer gives the result. Only whoever has taken the request does that, once.
func (r *Request) Answer(err error) {
	if r.then != nil {
		r.limit.Stop()
		r.end(err)
		return
	}
	r.err = err
	close(r.done)
}

// end gives the result to a caller that does not wait, unless it has one.
func (r *Request) end(err error) {
	if r.ended.CompareAndSwap(false, true) {
		r.then(err)
	}
}

// Wait puts the request into a queue and waits for its result, no longer than ctx: ErrUnavailable when ctx ends while it is
// queued, ErrUnknown when the writer has it. left is called before Wait returns with the request at the writer.
func (r *Request) Wait(ctx context.Context, put func() error, left func()) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("not queued: %w: %w", persistence.ErrUnavailable, err)
	}
	r.Expect()
	r.Since = time.Now()
	if err := put(); err != nil {
		return err
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
	}
	if r.Withdraw() {
		return fmt.Errorf("withdrawn from the queue: %w: %w", persistence.ErrUnavailable, ctx.Err())
	}
	left()
	select {
	case <-r.done: // the answer is better than none
		return r.err
	default:
		return fmt.Errorf("in a commit: %w: %w", persistence.ErrUnknown, ctx.Err())
	}
}

// Then is Wait for a request that nobody waits for, no longer than limit: then gets the result, once, on whatever goroutine.
func (r *Request) Then(limit time.Duration, put func() error, left func(), then func(error)) {
	r.then = then
	r.Since = time.Now()
	// Not Answer, which the timer might reach before limit is set.
	r.limit = time.AfterFunc(limit, func() {
		if r.Withdraw() {
			r.end(fmt.Errorf("withdrawn from the queue: %w: %w", persistence.ErrUnavailable, context.DeadlineExceeded))
			return
		}
		left()
		r.end(fmt.Errorf("in a commit: %w: %w", persistence.ErrUnknown, context.DeadlineExceeded))
	})
	if err := put(); err != nil {
		r.Answer(err)
	}
}
