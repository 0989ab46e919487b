package sqlite

import (
	"context"
	"time"
)

// submit queues the request and waits for its result, no longer than ctx. See Journal for what the end of ctx means. A
// request that lends the caller's memory is also waited for while it is being copied, which a disk that hangs can make
// as long as it likes.
func (b *Backend) submit(ctx context.Context, r *request) error {
	return r.Wait(ctx, func() error { return b.queue.put(r) }, func() {
		switch {
		case r.batch == nil: // dropped from the queue by Close
			<-r.Done()
		case r.lends:
			<-r.batch.copied
		}
	})
}

// submitAsync is submit for a request that nobody waits for: done gets its result.
func (b *Backend) submitAsync(r *request, limit time.Duration, done func(error)) {
	r.Then(limit, func() error { return b.queue.put(r) }, func() {}, done)
}
