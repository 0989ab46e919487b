package sim

import (
	"slices"
	"time"
)

// read is one page that is asked for, for all connections that stand at the same cursor.
type read struct {
	after   uint64
	number  uint64 // 0: not asked yet, or to be asked again
	askedAt time.Duration
	retryAt time.Duration
	subs    []*sub
}

func (q *read) postpone(at time.Duration) { q.number, q.retryAt = 0, at }

func (t *topic) findRead(number uint64) *read {
	for _, q := range t.reads {
		if number != 0 && q.number == number {
			return q
		}
	}
	return nil
}

func (t *topic) addRead(s *sub) *read {
	s.state = subReading
	for _, q := range t.reads {
		if q.after == s.cursor {
			q.subs = append(q.subs, s)
			return q
		}
	}
	q := &read{after: s.cursor, subs: []*sub{s}}
	t.reads = append(t.reads, q)
	return q
}

// forget takes a connection off the page it waits for.
func (t *topic) forget(s *sub) {
	for _, q := range t.reads {
		if i := slices.Index(q.subs, s); i >= 0 {
			q.subs = slices.Delete(q.subs, i, i+1)
		}
	}
}

func (t *topic) silentRead() bool {
	return slices.ContainsFunc(t.reads, func(q *read) bool { return q.number != 0 && t.w.now-q.askedAt >= silenceAfter })
}

// advance brings a connection forward as far as it goes: ring, live; or asks for the next page.
func (t *topic) advance(s *sub) {
	list, ok := t.ring.after(s.cursor)
	if !ok {
		t.addRead(s)
		t.startReads()
		return
	}
	s.send(t.room, list)
	s.state = subLive
}

// startReads asks for pages as far as the bounds allow.
func (t *topic) startReads() {
	if t.phase != live {
		return
	}
	t.reads = slices.DeleteFunc(t.reads, func(q *read) bool { return len(q.subs) == 0 && q.number == 0 })
	for i, q := range t.reads {
		if i >= topicReads {
			return
		}
		if q.number != 0 || t.w.now < q.retryAt {
			continue
		}
		t.g.number++
		q.number, q.askedAt = t.g.number, t.w.now
		if t.g.links.send(t.node, &frame{kind: readFrame, room: t.room, request: q.number, after: q.after}) != nil {
			q.postpone(t.w.now + retryFirst)
		}
	}
}

// page takes a page and hands it to everybody who waits for it.
func (t *topic) page(f *frame) {
	q := t.findRead(f.request)
	if t.phase != live || q == nil {
		return
	}
	if f.epoch < t.epoch && !t.w.without.LowerEpoch {
		q.postpone(t.w.now + retryFirst)
		return
	}
	if f.epoch > t.epoch {
		t.resubscribe(nil)
		return
	}
	t.w.stats.Pages++
	t.reads = slices.DeleteFunc(t.reads, func(o *read) bool { return o == q })
	for _, s := range q.subs {
		s.state = subIdle
		t.turn(s, f.messages)
	}
	t.startReads()
}

// turn gives a page to one connection.
func (t *topic) turn(s *sub, list []message) {
	list = fresher(list, s.cursor)
	_, inRing := t.ring.after(s.cursor)
	if !contiguous(s.cursor, list) || len(list) == 0 && !inRing {
		t.strike(s)
		return
	}
	s.strikes = 0
	s.send(t.room, list)
	t.advance(s)
}

// strike deals with a page that does not continue the cursor: it is asked for again after a pause, a few times. Then somebody
// is wrong, and guessing would be a gap.
func (t *topic) strike(s *sub) {
	t.w.stats.Strikes++
	if s.strikes++; s.strikes >= maxStrikes {
		s.c.close()
		return
	}
	if q := t.addRead(s); q.number == 0 {
		q.retryAt = t.w.now + retryFirst
	}
}

// contiguous says that the messages continue a cursor without a gap.
func contiguous(cursor uint64, list []message) bool {
	for i, m := range list {
		if i == 0 && m.prev > cursor || i > 0 && m.prev != list[i-1].seq || m.seq <= cursor {
			return false
		}
		cursor = m.seq
	}
	return true
}
