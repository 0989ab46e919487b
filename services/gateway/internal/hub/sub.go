package hub

import (
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
	"github.com/parley-rt/parley/services/gateway/internal/ws"
)

// Sink is a connection as the hub sees it: *ws.Conn. Nothing blocks.
type Sink interface {
	Codec() codec.Codec
	Send(frame []byte) bool
	SendAll(frames [][]byte) bool
	Offer(frames [][]byte, share int, w ws.Waiter) int
	CloseWith(code clientv1.CloseCode)
}

// subState is where a connection stands in a room.
type subState int

const (
	// subIdle: what it needs next is looked for by advance.
	subIdle subState = iota
	// subLive: it has everything the ring has, and gets each Deliver.
	subLive
	// subReading: it waits for a page.
	subReading
	// subFull: its outbox is full; Drained follows.
	subFull
	// subHeld: the room must say first that its member is still in it; see evict.go.
	subHeld
	// subGone: it was detached; whatever still refers to it lets it be.
	subGone
)

// sub is one connection's stream in one room.
type sub struct {
	topic       *Topic
	sink        Sink
	fan         *fan
	member      string
	cursor      uint64
	incarnation uint64 // of the history the cursor belongs to
	epoch       uint64 // of the writer that let it in
	as          uint64 // the room's head when its member was last known to be let in
	foreign     bool   // it was let in in another history, where seqs meant something else
	check       uint64 // number of the last report that named it
	evictee     Evictee
	number      uint64 // of its Start
	state       subState
	index       int // in fan.live while live

	page *page // being sent
	pos  int   // of the next message in it
	held bool  // page counts in the backlog for this connection
	// strikes count pages that did not continue the cursor.
	strikes int
}

// Drained implements ws.Waiter. It is called by a writing goroutine.
func (s *sub) Drained() { s.topic.up.Drained(s.topic, s) }

// page is a part of the room's history in one encoding, shared by all connections that asked for it.
type page struct {
	seqs   []uint64
	frames [][]byte
	share  int // connections that share it, about
	users  int // those of them that wait with it
}

// pageCost is what one message of a page takes beside its bytes.
const pageCost = 32

func (p *page) bytes() int64 {
	n := pageCost * len(p.frames)
	for _, f := range p.frames {
		n += len(f)
	}
	return int64(n)
}

// turnTo sets what is being sent to a connection; nil: nothing is at hand.
func (s *sub) turnTo(p *page, pos int) {
	if s.held {
		s.held = false
		if s.page.users--; s.page.users == 0 {
			s.topic.cfg.Backlog.Add(-s.page.bytes())
		}
	}
	s.page, s.pos = p, pos
}

// full says that a connection's outbox takes no more for now. The rest of its page waits with it, unless too much waits already
// in this node: then it is read again.
func (s *sub) full() {
	s.state = subFull
	switch {
	case s.topic.cfg.Backlog.Full():
		s.turnTo(nil, 0)
	case !s.held:
		s.held = true
		if s.page.users++; s.page.users == 1 {
			s.topic.cfg.Backlog.Add(s.page.bytes())
		}
	}
}

// fan is what a topic has per encoding: the ring and the connections that are live in it.
type fan struct {
	codec codec.Codec
	ring  ring
	live  []*sub
	count int // of all subs, live or not
}

func (f *fan) golive(s *sub) {
	s.state, s.index = subLive, len(f.live)
	f.live = append(f.live, s)
}

// unlive takes a sub out of the live ones; the last takes its place.
func (f *fan) unlive(s *sub) {
	last := len(f.live) - 1
	f.live[s.index] = f.live[last]
	f.live[s.index].index = s.index
	f.live[last] = nil
	f.live = f.live[:last]
	s.state = subIdle
}
