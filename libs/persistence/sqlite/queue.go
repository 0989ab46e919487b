package sqlite

import (
	"fmt"
	"sync"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/internal/asked"
)

// Bounds of the queue before the writer, and of one transaction.
const (
	maxQueued      = 8192
	maxQueuedBytes = 32 << 20
	maxBatchEvents = 1000
	maxBatchBytes  = 4 << 20
)

// mutation changes the store inside the writer's transaction. It may run more than once, each time in a new transaction
// from the same stored state, and must overwrite its results.
//
// An error that is not from SQLite means: refused, and nothing was changed; the transaction goes on with the others.
type mutation interface{ apply(w *writer) error }

// writerKey is one writer generation of a stream. A batch takes one append of each.
type writerKey struct {
	stream int64
	epoch  uint64
}

// request is one mutation on its way through the writer.
type request struct {
	asked.Request
	mutation
	key           writerKey // zero: may share a batch with anything
	events, bytes int
	// lends: the mutation reads memory that is the caller's again once submit has returned.
	lends bool

	batch  *batch // set before it is taken
	poison bool   // broke a transaction; err says how
	err    error  // the result so far
}

// batch is what the requests of one transaction share.
type batch struct {
	requests []*request
	events   int
	// copied is closed when the caller's memory is no longer read.
	copied chan struct{}
}

// queue holds requests until the writer takes them.
type queue struct {
	mu     sync.Mutex
	filled sync.Cond
	items  []*request
	bytes  int
	closed bool
	seen   map[writerKey]struct{} // scratch of take
}

func newQueue() *queue {
	q := &queue{seen: map[writerKey]struct{}{}}
	q.filled.L = &q.mu
	return q
}

// put queues the request, or says why not: ErrOverloaded, ErrClosed.
func (q *queue) put(r *request) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return persistence.ErrClosed
	}
	// A request larger than the bound could never be queued; it may be the only one.
	if len(q.items) >= maxQueued || (len(q.items) > 0 && q.bytes+r.bytes > maxQueuedBytes) {
		return fmt.Errorf("%d requests of %d bytes are queued: %w", len(q.items), q.bytes, persistence.ErrOverloaded)
	}
	q.items = append(q.items, r)
	q.bytes += r.bytes
	if len(q.items) == 1 {
		q.filled.Signal()
	}
	return nil
}

// take fills the batch with the oldest requests, as many as one transaction may have; with wait it waits for the first.
// False: the queue is closed and empty.
func (q *queue) take(b *batch, wait bool) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for wait && len(q.items) == 0 && !q.closed {
		q.filled.Wait()
	}
	if len(q.items) == 0 {
		return !q.closed
	}
	clear(q.seen)
	size, kept, next := 0, q.items[:0], 0
	for ; next < len(q.items); next++ {
		r := q.items[next]
		full := len(b.requests) > 0 && (b.events+r.events > maxBatchEvents || size+r.bytes > maxBatchBytes)
		if full {
			break
		}
		if _, busy := q.seen[r.key]; busy {
			kept = append(kept, r)
			continue
		}
		q.bytes -= r.bytes
		r.batch = b
		if !r.Take() {
			continue
		}
		if r.key != (writerKey{}) {
			q.seen[r.key] = struct{}{}
		}
		b.requests = append(b.requests, r)
		b.events += r.events
		size += r.bytes
	}
	kept = append(kept, q.items[next:]...)
	clear(q.items[len(kept):])
	q.items = kept
	return true
}

// close refuses new requests; those queued stay for the writer.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.filled.Broadcast()
}

// drop fails everything that is still queued with ErrClosed.
func (q *queue) drop() {
	q.mu.Lock()
	items := q.items
	q.items, q.bytes = nil, 0
	q.mu.Unlock()
	for _, r := range items {
		if r.Take() {
			r.Answer(persistence.ErrClosed)
		}
	}
}
