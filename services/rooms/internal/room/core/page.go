package core

import (
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"

	"github.com/parley-rt/parley/libs/persistence"
)

// Limits of a page of messages.
const (
	PageMessages = 500
	PageBytes    = 1 << 20
)

// PageQuery is what a reader asks for, within the room's limits.
type PageQuery struct {
	// Forward: messages above Bound, ascending from there. Else the newest ones below Bound (0: of all).
	Forward bool
	Bound   uint64
	Limit   int
	Bytes   int
	// Head bounds the page: what was committed and delivered when the question came.
	Head uint64
	// Trimmed: messages up to here are gone.
	Trimmed uint64
}

// NewPageQuery applies the limits to a Read. ok is false when it has both bounds, or before_seq 0.
func NewPageQuery(r *roomv1.Read, head, trimmed uint64) (q PageQuery, ok bool) {
	if r.AfterSeq != nil && r.BeforeSeq != nil || r.BeforeSeq != nil && *r.BeforeSeq == 0 {
		return PageQuery{}, false
	}
	q = PageQuery{Limit: PageMessages, Bytes: PageBytes, Head: head, Trimmed: trimmed}
	if r.Limit > 0 {
		q.Limit = int(min(r.Limit, PageMessages))
	}
	if r.MaxBytes > 0 {
		q.Bytes = int(min(r.MaxBytes, PageBytes))
	}
	switch {
	case r.AfterSeq != nil:
		q.Forward, q.Bound = true, max(*r.AfterSeq, trimmed)
	case r.BeforeSeq != nil:
		q.Bound = min(*r.BeforeSeq, head+1)
	default:
		q.Bound = head + 1
	}
	return q, true
}

// FromTail answers from the recent messages, when they cover the range.
func (q PageQuery) FromTail(t *Tail) (messages []*roomv1.Message, more, ok bool) {
	if q.Forward {
		return t.After(q.Bound, q.Limit, q.Bytes)
	}
	return t.Before(q.Bound, q.Limit, q.Bytes, q.Trimmed)
}

// Collector assembles a page from windows of events read from the journal.
type Collector struct {
	q     PageQuery
	page  []*roomv1.Message
	bytes int
	// What was read so far, to guess how much the rest will weigh.
	events, payload int
	next            uint64
	more            bool
	done            bool
}

// firstWindow is small: until something was read, messages may weigh anything.
const firstWindow = 64

// NewCollector starts a page.
func NewCollector(q PageQuery) *Collector {
	c := &Collector{q: q, next: q.Bound}
	if q.Forward {
		c.next = q.Bound + 1
		c.done = q.Bound >= q.Head
	} else {
		c.done = q.Bound <= q.Trimmed+1
	}
	return c
}

// Next returns where the next window begins: its first seq when reading forward, the seq below which it lies when
// reading backward. done: the page is complete.
func (c *Collector) Next() (from uint64, done bool) { return c.next, c.done }

// Window returns how many events to read next: one more than the page still takes, but no more than its bytes suggest.
func (c *Collector) Window() int {
	want := c.q.Limit + 1 - len(c.page)
	if c.events == 0 {
		return min(want, firstWindow)
	}
	return max(min(want, (c.q.Bytes-c.bytes)*c.events/max(c.payload, 1)+1), 1)
}

// Add takes a window that was read at Next, in the order read. An empty one ends the page.
func (c *Collector) Add(events []persistence.Event) error {
	if len(events) == 0 {
		c.done = true
		return nil
	}
	for _, e := range events {
		c.events++
		c.payload += messageOverhead + len(e.Payload)
		if c.q.Forward && e.Seq > c.q.Head {
			c.done = true
			return nil
		}
		m, err := MessageOf(e)
		if err != nil {
			return err
		}
		if m == nil {
			continue
		}
		w := Weight(m)
		if len(c.page) > 0 && c.bytes+w > c.q.Bytes || len(c.page) == c.q.Limit {
			c.more, c.done = true, true
			return nil
		}
		c.page = append(c.page, m)
		c.bytes += w
	}
	last := events[len(events)-1].Seq
	if c.q.Forward {
		c.next = last + 1
		c.done = last >= c.q.Head
	} else {
		c.next = last
		c.done = last <= c.q.Trimmed+1
	}
	return nil
}

// Page returns the messages, ascending, and whether there are more in the direction read.
func (c *Collector) Page() (messages []*roomv1.Message, more bool) {
	if !c.q.Forward {
		for i, j := 0, len(c.page)-1; i < j; i, j = i+1, j-1 {
			c.page[i], c.page[j] = c.page[j], c.page[i]
		}
	}
	return c.page, c.more
}
