package postgres

import (
	"context"
	"sync"
	"time"

	"github.com/parley-rt/parley/libs/persistence/internal/asked"
)

// request is one append or one claim on its way through a lane.
type request struct {
	asked.Request
	// append is set for an append, claim for a claim.
	append *appendRequest
	claim  *claimRequest

	lane   int // index into the backend's lanes
	events int // positions it takes
	bytes  int

	// mu orders the caller's leaving with the writer's reading of its memory.
	mu sync.Mutex
	// left: the caller has returned; its memory must not be read any more.
	left bool
}

func (r *request) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left = true
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
	return r.Wait(ctx, func() error { return b.lanes.put(r) }, r.leave)
}

// submitAsync is submit for a request that nobody waits for: done gets its result.
func (b *Backend) submitAsync(r *request, limit time.Duration, done func(error)) {
	r.Then(limit, func() error { return b.lanes.put(r) }, r.leave, done)
}
