package sim

import (
	"slices"
	"time"
)

// topicPhase is where a room stands at a gateway.
type topicPhase uint8

const (
	idle topicPhase = iota
	subscribing
	live
)

// topic is one room at one gateway: its subscription, its recent messages, and the connections in it.
//
//	idle ──attach──► subscribing ──Subscribed──► live ──Closed, gap, higher epoch, link down or lost, heads differ──┐
//	                     ▲  │ refused, moved, silent: next node                                                     │
//	                     └──┴───────────────────────────────────────────────────────────────────────────────────────┘
type topic struct {
	g    *gateway
	w    *world
	room roomID

	phase topicPhase
	node  *process // subscribed at
	epoch uint64
	last  uint64 // the last message received in order
	// minEpoch is the newest that anybody told of.
	minEpoch uint64

	number  uint64   // of the question that is out
	asked   *process // nil: it waits for retryAt
	askedAt time.Duration
	retryAt time.Duration
	avoid   []*process
	hops    int
	tries   int

	subs []*sub
	ring ring
	// reads are the pages wanted, by cursor.
	reads []*read
}

// ring holds the room's newest messages, contiguous after base.
type ring struct {
	base     uint64
	messages []message
}

func (r *ring) append(fresh []message) {
	r.messages = append(r.messages, fresh...)
	for len(r.messages) > ringMessages {
		r.base = r.messages[0].seq
		r.messages = r.messages[1:]
	}
}

// after returns the messages after a cursor; ok is false when the ring does not reach back that far.
func (r *ring) after(seq uint64) (list []message, ok bool) {
	if seq < r.base {
		return nil, false
	}
	return fresher(r.messages, seq), true
}

// fresher are the messages above seq.
func fresher(list []message, seq uint64) []message {
	for len(list) > 0 && list[0].seq <= seq {
		list = list[1:]
	}
	return list
}

// subState is where a connection stands in a room.
type subState uint8

const (
	subIdle subState = iota
	subLive
	subReading
)

// sub is one connection's stream.
type sub struct {
	c       *core
	cursor  uint64
	state   subState
	strikes int
}

func (g *gateway) topic(room roomID) *topic {
	if g.topics[room] == nil {
		g.topics[room] = &topic{g: g, w: g.w, room: room}
	}
	return g.topics[room]
}

// attach begins a connection's stream behind what the room said when it let the member in.
func (t *topic) attach(c *core, joined *frame, node *process) {
	t.detach(c)
	s := &sub{c: c, cursor: joined.at}
	t.subs = append(t.subs, s)
	c.conn.toClient(toClient{kind: roomJoined, room: t.room, head: joined.head, recovered: joined.recovered})
	if joined.reset {
		c.conn.toClient(toClient{kind: resetStream, room: t.room, head: joined.at})
	}
	t.minEpoch = max(t.minEpoch, joined.epoch)
	t.g.setOwner(t.room, node)
	switch {
	case t.phase == idle, t.phase == live && joined.epoch > t.epoch:
		t.resubscribe(nil)
	case t.phase == live:
		t.advance(s)
	}
}

func (t *topic) detach(c *core) {
	i := slices.IndexFunc(t.subs, func(s *sub) bool { return s.c == c })
	if i < 0 {
		return
	}
	t.forget(t.subs[i])
	t.subs = slices.Delete(t.subs, i, i+1)
}

// deliver takes new messages.
func (t *topic) deliver(from *process, f *frame) {
	lower := f.epoch < t.epoch && !t.w.without.LowerEpoch
	switch {
	case t.phase == idle || t.epoch == 0 || lower || len(f.messages) == 0:
		return
	case f.epoch > t.epoch:
		if t.phase == live {
			t.g.setOwner(t.room, from)
			t.resubscribe(nil)
		}
		return
	}
	fresh := fresher(f.messages, t.last)
	if t.w.without.Contiguity {
		fresh = f.messages
	}
	end, last := 0, t.last
	for _, m := range fresh {
		if m.prev != last && !t.w.without.Contiguity {
			break
		}
		last = m.seq
		end++
	}
	if end > 0 {
		t.last = last
		t.publish(fresh[:end])
	}
	if end < len(fresh) && t.phase == live {
		t.w.stats.Gaps++
		t.resubscribe(nil) // the owner is asked where it is now
	}
}

// publish offers messages that follow the last one to the live connections.
func (t *topic) publish(fresh []message) {
	t.ring.append(fresh)
	for _, s := range t.subs {
		if s.state != subLive {
			continue
		}
		rest := fresh
		if !t.w.without.Contiguity {
			rest = fresher(fresh, s.cursor)
		}
		s.send(t.room, rest)
	}
}

// send gives a connection messages and moves its cursor behind them.
func (s *sub) send(room roomID, list []message) {
	for _, m := range list {
		s.c.conn.toClient(toClient{kind: messageToClient, room: room, message: m})
		s.cursor = m.seq
	}
}
