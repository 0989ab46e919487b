package postgres

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
)

// States of a request. Only queued → withdrawn and queued → taken exist, so either the caller or a writer has it.
const (
	queued int32 = iota
	taken
	withdrawn
)

// request is one append or one claim on its way through a lane.
type request struct {
	// append is set for an append, claim for a claim.
	append *appendRequest
	claim  *claimRequest

	lane   int // index into the backend's lanes
	events int // positions it takes
	bytes  int
	since  time.Time

	state atomic.Int32
	// mu orders the caller's leaving with the writer's reading of its memory.
	mu sync.Mutex
	// left: the caller has returned; its memory must not be read any more.
	left bool

	err  error // the result, once done is closed
	done chan struct{}
	// async is set instead of done when nobody waits.
	async *async
}

// async is what a request has that nobody waits for.
type async struct {
	// done gets the result, once.
	done  func(error)
	ended atomic.Bool
	limit *time.Timer
}

// end gives the result unless there was one already. It is not called by the timer itself, which may run before limit is set.
func (a *async) end(err error) {
	a.limit.Stop()
	a.once(err)
}

func (a *async) once(err error) {
	if a.ended.CompareAndSwap(false, true) {
		a.done(err)
	}
}

// answer gives the caller its result.
func (r *request) answer(err error) {
	if r.async != nil {
		r.async.end(err)
		return
	}
	r.err = err
	close(r.done)
}

// gone tells whether nobody waits for the result any more.
func (r *request) gone() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.left
}

// submit queues the request and waits for its result, no longer than ctx. The end of ctx in the queue gives
// ErrUnavailable, later ErrUnknown.
func (b *Backend) submit(ctx context.Context, r *request) error {
	if err := ended(ctx); err != nil {
		return fmt.Errorf("not queued: %w", err)
	}
	r.done = make(chan struct{})
	r.since = time.Now()
	if err := b.lanes.put(r); err != nil {
		return err
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
	}
	if r.state.CompareAndSwap(queued, withdrawn) {
		return fmt.Errorf("withdrawn from the queue: %w: %w", persistence.ErrUnavailable, ctx.Err())
	}
	r.mu.Lock()
	r.left = true
	r.mu.Unlock()
	select {
	case <-r.done: // the answer is better than none
		return r.err
	default:
		return fmt.Errorf("in a commit: %w: %w", persistence.ErrUnknown, ctx.Err())
	}
}

// submitAsync is submit for a request that nobody waits for: done gets its result.
func (b *Backend) submitAsync(r *request, limit time.Duration, done func(error)) {
	r.since = time.Now()
	r.async = &async{done: done}
	r.async.limit = time.AfterFunc(limit, func() {
		if r.state.CompareAndSwap(queued, withdrawn) {
			r.async.once(fmt.Errorf("withdrawn from the queue: %w: %w", persistence.ErrUnavailable, context.DeadlineExceeded))
			return
		}
		r.mu.Lock()
		r.left = true
		r.mu.Unlock()
		r.async.once(fmt.Errorf("in a commit: %w: %w", persistence.ErrUnknown, context.DeadlineExceeded))
	})
	if err := b.lanes.put(r); err != nil {
		r.async.end(err)
	}
}
