package sqlite

import (
	"context"
	"fmt"
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
