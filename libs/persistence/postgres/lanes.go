package postgres

import (
	"fmt"
	"sync"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
)

// Bounds of the queue before each lane, and of one transaction.
const (
	maxQueued      = 8192
	maxQueuedBytes = 32 << 20
	maxBatchEvents = 1000
	maxBatchBytes  = 4 << 20
	maxBatchClaims = 256
	// stallAfter is how long a lane's batch may take before new requests are refused: whoever waited behind it would not
	// be answered in time.
	stallAfter = 2 * time.Second
)

// Bounds of the spread. Fewer writers with larger batches always cost less CPU time per event: two instead of one cost 20 %
// more at batches of 256 events, 5 to 10 % at 1,000. There it buys half as much throughput again, which is where a writer
// of its own becomes worth its commits.
const (
	growAbove   = 600
	shrinkBelow = 150
	// weight of the newest batch in the average that both are compared with.
	averageWeight = 1.0 / 8
)

// lane is the queue before one row of journal_lane.
type lane struct {
	id    int16
	items []*request
	bytes int
	// busy: a writer has a batch of this lane. Nothing else of it is taken meanwhile, so that two appends of one stream
	// cannot overtake each other.
	busy bool
	// since is when that batch was taken.
	since time.Time
}

// lanes hands requests to the writers. Lane l belongs to writer l mod spread: at low load one writer commits what all
// lanes have in one transaction, under load each has a writer of its own.
//
//	submit ──► lane 0 ─┐
//	submit ──► lane 1 ─┼─► writer 0 ──► one transaction over the lanes it took
//	submit ──► lane 2 ─┼─► writer 1     (spread 2: lanes 1 and 3)
//	submit ──► lane 3 ─┘
type lanes struct {
	mu      sync.Mutex
	all     []*lane
	filled  []*sync.Cond // per writer
	turns   []int        // per writer: how many batches it took
	spread  int
	average float64 // events of a batch
	closed  bool
	dropped bool
	breaker *breaker
	seen    map[writerKey]struct{} // scratch of take
	claimed map[persistence.StreamKey]struct{}
}

// writerKey is one writer generation of a stream. A batch takes one append of each.
type writerKey struct {
	stream int64
	epoch  uint64
}

func newLanes(ids []int16, b *breaker) *lanes {
	l := &lanes{spread: 1, breaker: b, seen: map[writerKey]struct{}{}, claimed: map[persistence.StreamKey]struct{}{}}
	for _, id := range ids {
		l.all = append(l.all, &lane{id: id})
		l.filled = append(l.filled, sync.NewCond(&l.mu))
	}
	l.turns = make([]int, len(l.all))
	return l
}

// index finds the lane with that id.
func (l *lanes) index(id int16) (int, bool) {
	if int(id) < len(l.all) && id >= 0 && l.all[id].id == id { // ids are 0, 1, … unless somebody has chosen others
		return int(id), true
	}
	for i, lane := range l.all {
		if lane.id == id {
			return i, true
		}
	}
	return 0, false
}

// put queues the request, or says why not: ErrOverloaded, ErrUnavailable, ErrClosed.
func (l *lanes) put(r *request) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed { // first: nothing closes the breaker any more, and who is told to try again would do so for ever
		return persistence.ErrClosed
	}
	if err := l.breaker.refuses(); err != nil {
		return err
	}
	q := l.all[r.lane]
	if len(q.items) > 0 {
		if waited := r.Since.Sub(q.since); q.busy && waited > stallAfter {
			return fmt.Errorf("lane %d has not been committed for %v: %w", q.id, waited.Round(time.Millisecond), persistence.ErrUnavailable)
		}
		// A request larger than the bound could never be queued; it may be the only one.
		if len(q.items) >= maxQueued || q.bytes+r.bytes > maxQueuedBytes {
			return fmt.Errorf("%d requests of %d bytes are queued in lane %d: %w", len(q.items), q.bytes, q.id, persistence.ErrOverloaded)
		}
	}
	q.items = append(q.items, r)
	q.bytes += r.bytes
	if len(q.items) == 1 && !q.busy {
		l.filled[r.lane%l.spread].Signal()
	}
	return nil
}

// batch is what a writer takes at once.
type batch struct {
	lanes   []*lane
	appends []*request
	claims  []*request
	events  int
	bytes   int
	oldest  time.Time
}

// take waits for requests of the writer's lanes and takes the oldest, as many as one transaction may have. Their lanes
// are busy until release. False: closed, and nothing is left for this writer.
func (l *lanes) take(writer int, b *batch) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		*b = batch{lanes: b.lanes[:0], appends: b.appends[:0], claims: b.claims[:0]}
		clear(l.seen)
		clear(l.claimed)
		if writer < l.spread {
			// Each batch begins with another lane: one that is never empty must not take all the room for ever.
			mine := (len(l.all) - writer + l.spread - 1) / l.spread
			for i := range mine {
				l.takeLane(l.all[writer+(l.turns[writer]+i)%mine*l.spread], b)
			}
		}
		if len(b.lanes) > 0 {
			l.turns[writer]++
			return true
		}
		if l.closed && l.idle(writer) {
			return false
		}
		l.filled[writer].Wait()
	}
}

// idle tells whether the writer has nothing more to come.
func (l *lanes) idle(writer int) bool {
	if writer >= l.spread {
		return true
	}
	for i := writer; i < len(l.all); i += l.spread {
		if len(l.all[i].items) > 0 || l.all[i].busy {
			return false
		}
	}
	return true
}

func (l *lanes) takeLane(q *lane, b *batch) {
	if q.busy || len(q.items) == 0 {
		return
	}
	kept, next, took := q.items[:0], 0, false
	for ; next < len(q.items); next++ {
		r := q.items[next]
		if b.full(r) {
			break
		}
		if l.again(r) {
			kept = append(kept, r)
			continue
		}
		q.bytes -= r.bytes
		if !r.Take() {
			continue
		}
		took = true
		b.add(r)
		l.remember(r)
	}
	kept = append(kept, q.items[next:]...)
	clear(q.items[len(kept):])
	q.items = kept
	if took {
		q.busy, q.since = true, time.Now()
		b.lanes = append(b.lanes, q)
	}
}

// again tells whether the batch has a request of the same writer, or a claim of the same stream, already.
func (l *lanes) again(r *request) bool {
	var found bool
	if r.append != nil {
		_, found = l.seen[r.append.key()]
	} else {
		_, found = l.claimed[r.claim.key]
	}
	return found
}

func (l *lanes) remember(r *request) {
	if r.append != nil {
		l.seen[r.append.key()] = struct{}{}
	} else {
		l.claimed[r.claim.key] = struct{}{}
	}
}

// full tells whether the batch has no room for r. There is room for one, however large.
func (b *batch) full(r *request) bool {
	if r.claim != nil {
		return len(b.claims) == maxBatchClaims
	}
	return len(b.appends) > 0 && (b.events+r.events > maxBatchEvents || b.bytes+r.bytes > maxBatchBytes)
}

func (b *batch) add(r *request) {
	if b.oldest.IsZero() || r.Since.Before(b.oldest) {
		b.oldest = r.Since
	}
	if r.claim != nil {
		b.claims = append(b.claims, r)
		return
	}
	b.appends = append(b.appends, r)
	b.events += r.events
	b.bytes += r.bytes
}

// release lets the batch's lanes be taken again, and adapts the spread to what the batch was.
func (l *lanes) release(b *batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, q := range b.lanes {
		q.busy = false
	}
	if len(b.appends) > 0 && !l.closed { // closed: writers without lanes have ended
		l.average += (float64(b.events) - l.average) * averageWeight
		switch {
		case l.average > growAbove && l.spread < len(l.all):
			l.respread(min(l.spread*2, len(l.all)))
		case l.average < shrinkBelow && l.spread > 1:
			l.respread(l.spread / 2)
		}
	}
	for i, q := range l.all {
		if len(q.items) > 0 && !q.busy || l.closed {
			l.filled[i%l.spread].Signal()
		}
	}
}

// respread gives the lanes to that many writers. What the average will be with them is guessed, so that one change is not
// followed by the next at once.
func (l *lanes) respread(spread int) {
	l.average *= float64(l.spread) / float64(spread)
	l.spread = spread
	for _, c := range l.filled {
		c.Broadcast()
	}
}

// writers is how many there are at the moment.
func (l *lanes) writers() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.spread
}

// fail answers everything that is queued with err; nothing of it was written.
func (l *lanes) fail(err error) {
	l.mu.Lock()
	var items []*request
	for _, q := range l.all {
		items = append(items, q.items...)
		q.items, q.bytes = nil, 0
	}
	l.mu.Unlock()
	for _, r := range items {
		if r.Take() {
			r.Answer(err)
		}
	}
}

// close refuses new requests; those queued stay for the writers.
func (l *lanes) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, c := range l.filled {
		c.Broadcast()
	}
}

// drop fails what is queued with ErrClosed and tells the writers to give up what they have.
func (l *lanes) drop() {
	l.mu.Lock()
	l.dropped = true
	l.mu.Unlock()
	l.fail(persistence.ErrClosed)
}

func (l *lanes) givenUp() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}
