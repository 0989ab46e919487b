package member

import (
	"container/heap"
	"sync"
	"time"
)

// expiries are the connections whose proof of who they are expires, in the order of that: one heap for all, so that a connection
// costs no timer, and looking at it costs nothing while nothing is due. Safe for concurrent use.
type expiries struct {
	mu   sync.Mutex
	heap expiryHeap
}

// expiry is a connection's place in the heap; it is nil in a member without one.
type expiry struct {
	at     time.Time
	member *Member
	index  int
}

// set puts a connection in, or moves it.
func (x *expiries) set(m *Member, at time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case m.place.gone:
	case m.place.expiry == nil:
		m.place.expiry = &expiry{at: at, member: m}
		heap.Push(&x.heap, m.place.expiry)
	default:
		m.place.expiry.at = at
		heap.Fix(&x.heap, m.place.expiry.index)
	}
}

// remove takes a connection out for good.
func (x *expiries) remove(m *Member) {
	x.mu.Lock()
	defer x.mu.Unlock()
	m.place.gone = true
	if m.place.expiry != nil {
		heap.Remove(&x.heap, m.place.expiry.index)
		m.place.expiry = nil
	}
}

// tick tells those whose time has come.
func (x *expiries) tick(now time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for len(x.heap) > 0 && !now.Before(x.heap[0].at) {
		due := heap.Pop(&x.heap).(*expiry) //nolint:forcetypeassert // nothing else is in it
		due.member.place.expiry = nil
		due.member.tell(&expiredMsg{to{due.member}})
	}
}

type expiryHeap []*expiry

func (h expiryHeap) Len() int           { return len(h) }
func (h expiryHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }

func (h expiryHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *expiryHeap) Push(x any) {
	e := x.(*expiry) //nolint:forcetypeassert // see set
	e.index = len(*h)
	*h = append(*h, e)
}

// Pop implements heap.Interface.
func (h *expiryHeap) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return e
}
