package sqlite

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
)

// submit queues the request and waits for its result, no longer than ctx. See Journal for what the end of ctx means. A
// request that lends the caller's memory is also waited for while it is being copied, which a disk that hangs can make
// as long as it likes.
func (b *Backend) submit(ctx context.Context, r *request) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("not queued: %w: %w", persistence.ErrUnavailable, err)
	}
	r.done = make(chan struct{})
	r.since = time.Now()
	if err := b.queue.put(r); err != nil {
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
	if r.batch == nil { // dropped from the queue by Close
		<-r.done
		return r.err
	}
	if r.lends {
		<-r.batch.copied
	}
	select {
	case <-r.done: // the answer is better than none
		return r.err
	default:
		return fmt.Errorf("in a commit: %w: %w", persistence.ErrUnknown, ctx.Err())
	}
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

// submitAsync is submit for a request that nobody waits for: done gets its result.
func (b *Backend) submitAsync(r *request, limit time.Duration, done func(error)) {
	r.since = time.Now()
	r.async = &async{done: done}
	r.async.limit = time.AfterFunc(limit, func() {
		if r.state.CompareAndSwap(queued, withdrawn) {
			r.async.once(fmt.Errorf("withdrawn from the queue: %w: %w", persistence.ErrUnavailable, context.DeadlineExceeded))
			return
		}
		r.async.once(fmt.Errorf("in a commit: %w: %w", persistence.ErrUnknown, context.DeadlineExceeded))
	})
	if err := b.queue.put(r); err != nil {
		r.async.end(err)
	}
}
