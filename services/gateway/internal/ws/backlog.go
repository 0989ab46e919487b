package ws

import (
	"sync"
	"sync/atomic"
)

const (
	// DefaultBacklogBytes of a Backlog without a limit.
	DefaultBacklogBytes = 64 << 20
	// PageBytes is about what a page may weigh whose sender asks HasRoom before it has it made.
	PageBytes = 1 << 20
	// frameCost is what a queued frame takes beside its bytes.
	frameCost = 32
)

// Backlog counts the bytes that wait for all readers of a node, so that they are bounded however many read slowly: in outboxes, in
// writes that are under way, in pages that somebody is to be given bit by bit, and room for pages that were asked for. A message
// counts at each connection for its share only, because all share its bytes.
//
// It also counts unfinished messages, and those that wait for rooms.
//
// When it is full, those who have something waiting get no more, those who have not get one message at a time, pages wait, and
// whoever does not take what is being written to it, or does not finish its message, is cut: see Acceptor.Relieve. So those who read
// go on. Beyond twice its limit, whoever sends more than 4 KiB at once is closed with 4002. Safe for concurrent use.
type Backlog struct {
	limit   int64
	bytes   atomic.Int64
	waiters atomic.Int64 // len(waiting)

	mu      sync.Mutex
	waiting []Waiter // for room for a page, in order
}

// NewBacklog returns an empty one; 0 is DefaultBacklogBytes.
func NewBacklog(limit int64) *Backlog {
	if limit <= 0 {
		limit = DefaultBacklogBytes
	}
	return &Backlog{limit: limit}
}

// Full says that more waits than should.
func (b *Backlog) Full() bool { return b.bytes.Load() > b.limit }

// over says that so much waits that nothing large can be added.
func (b *Backlog) over() bool { return b.bytes.Load() > 2*b.limit }

// Bytes is what waits, and Limit how much may.
func (b *Backlog) Bytes() int64 { return b.bytes.Load() }

// Limit is how much may wait, in bytes.
func (b *Backlog) Limit() int64 { return b.limit }

// Add counts what waits from now on, or, below zero, what does not any more.
func (b *Backlog) Add(n int64) {
	b.bytes.Add(n)
	if n < 0 && b.waiters.Load() > 0 {
		b.wake()
	}
}

// reserve takes room for a page; when there is none, w is told once there may be.
func (b *Backlog) reserve(w Waiter) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiters.Add(1) // first, so that whoever gives room back meanwhile sees us
	if b.fits(1) {   // also before those that wait: the one that was told is among those that ask
		b.waiters.Add(-1)
		b.bytes.Add(PageBytes)
		return true
	}
	b.waiting = append(b.waiting, w)
	return false
}

// fits says whether there is room for n pages. An empty backlog has room for one whatever its limit.
func (b *Backlog) fits(n int64) bool {
	have := b.bytes.Load()
	return have+n*PageBytes <= b.limit || have <= 0 && n == 1
}

// wake tells as many as there is room for. Some may not want it any more: Relieve tells the next ones then.
func (b *Backlog) wake() {
	b.mu.Lock()
	var told []Waiter
	for len(b.waiting) > 0 && b.fits(int64(len(told)+1)) {
		told = append(told, b.waiting[0])
		b.waiting[0] = nil
		b.waiting = b.waiting[1:]
	}
	b.waiters.Add(-int64(len(told)))
	b.mu.Unlock()
	for _, w := range told {
		w.Drained()
	}
}
