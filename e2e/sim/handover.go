package sim

import (
	"slices"
	"time"
)

// movePhase is where a room on its way to another node stands.
type movePhase uint8

const (
	preloading movePhase = iota
	pausing
	handing
)

// move is a room on its way to another node. It goes on serving until the other one has read it ahead, and only pauses for
// the claim: it stops taking, finishes the commit and offers the room at its epoch; the other node claims it, guarded by that
// epoch, and says so; hubs and what queued here are sent on.
//
//	       Preload            Preloaded, Finish           HandOver           TakenOver
//	serves ───────► preloading ──────────────► pausing ─────────────► handing ─────────► the other's
//	                    │ NotTaken, silence, link down                   │
//	                    ▼                                                ▼
//	            next node, or it stays; in a drain it is released, as it is when nobody knows whether it was taken
type move struct {
	number uint64
	drain  bool
	to     *process
	phase  movePhase
	since  time.Duration
	// tried are the nodes that would not have it.
	tried []*process
}

// targets are the nodes that can be given a room now, best first.
func (h *host) targets(room roomID) []*process {
	return slices.DeleteFunc(h.n.member.ready(room), func(p *process) bool {
		l := h.n.links.find(p)
		return p == &h.n.process || l == nil || l.state != up || l.peerBlind || h.w.now < h.distrusted[p.rank]
	})
}

// drain gives all rooms away.
func (h *host) drain() {
	h.draining = true
	for _, s := range h.slots {
		switch {
		case s == nil:
		case s.state == running && s.move == nil:
			h.begin(s, &move{drain: true})
		case s.move != nil:
			s.move.drain = true
		default:
			s.drain = true
		}
	}
	h.drained()
}

func (h *host) drained() {
	if h.draining && !slices.ContainsFunc(h.slots, func(s *slot) bool { return s != nil }) {
		h.n.after(h.w.between(0, 100*time.Millisecond), h.n.leave)
	}
}

// rebalance moves a room to the node that ranks best for it, once the directory was stable for a while.
func (h *host) rebalance(s *slot) {
	if h.w.now-h.n.member.stableAt < stableFor || h.w.now < h.rebalanceAt || h.draining || s.move != nil || h.w.now-s.since < restFor {
		return
	}
	best := h.n.member.ready(s.room)
	if len(best) == 0 || best[0] == &h.n.process || !slices.Contains(h.targets(s.room), best[0]) {
		return
	}
	h.rebalanceAt = h.w.now + stableFor
	h.begin(s, &move{})
}

// begin asks the best node that was not tried yet to read the room ahead. Without any the room stays or, in a drain, ends.
func (h *host) begin(s *slot, m *move) {
	s.move = m
	for _, p := range h.targets(s.room) {
		if slices.Contains(m.tried, p) {
			continue
		}
		h.number++
		m.number, m.to, m.phase, m.since = h.number, p, preloading, h.w.now
		if h.n.links.send(p, &frame{kind: preloadFrame, room: s.room, request: m.number}) == nil {
			return
		}
		m.tried = append(m.tried, p)
	}
	s.move, s.since = nil, h.w.now
	if m.drain && s.state == running {
		h.finish(s, whyDrain)
	}
}

// preload reads a room ahead for its owner.
func (h *host) preload(from *process, f *frame) {
	if h.draining || h.slots[f.room] != nil {
		h.answer(from, f, notTakenFrame, 0)
		return
	}
	var last uint64
	h.w.journal.call(&h.n.process, false, startTimeout, func() error {
		last = h.w.journal.streams[f.room].last
		return nil
	}, func(err error) {
		if err != nil {
			h.answer(from, f, notTakenFrame, 0)
			return
		}
		h.warm[f.room] = last
		h.answer(from, f, preloadedFrame, 0)
	})
}

func (h *host) answer(to *process, f *frame, kind frameKind, epoch uint64) {
	_ = h.n.links.send(to, &frame{kind: kind, room: f.room, request: f.request, epoch: epoch})
}

// preloaded: the other node has read the room. From here on its frames queue.
func (h *host) preloaded(from *process, f *frame) {
	if s := h.moving(from, f, preloading); s != nil && s.state == running {
		h.w.tracef("%s: hands room %d over to %s", h.n, s.room, from)
		h.w.stats.HandOvers++
		h.w.history.handOver(s.room, from)
		s.move.phase, s.move.since = pausing, h.w.now
		h.finish(s, whyMove)
	}
}

// moving returns the slot whose move a frame answers.
func (h *host) moving(from *process, f *frame, phase movePhase) *slot {
	s := h.slots[f.room]
	if s == nil || s.move == nil || s.move.number != f.request || s.move.to != from || s.move.phase != phase {
		return nil
	}
	return s
}

// handOver gives a room that has finished to the other node.
func (h *host) handOver(s *slot) {
	m := s.move
	m.phase, m.since = handing, h.w.now
	if h.n.links.send(m.to, &frame{kind: handOverFrame, room: s.room, request: m.number, epoch: s.a.epoch}) != nil {
		h.moveFailed(s, false)
	}
}

// takeOver starts a room that its owner hands over.
func (h *host) takeOver(from *process, f *frame) {
	if h.slots[f.room] != nil || h.draining {
		h.answer(from, f, notTakenFrame, 0)
		return
	}
	s := &slot{room: f.room, lastUsed: h.w.now, given: f, givenBy: from}
	h.slots[f.room] = s
	h.n.startRoom(s)
}

// takenOver: the room runs at the other node. Its subscribers and whoever waits here are told at once.
func (h *host) takenOver(from *process, f *frame) {
	s := h.moving(from, f, handing)
	if s == nil {
		return
	}
	s.move = nil
	s.a.handedOver(from)
	for _, in := range s.queue {
		h.moved(in, from)
	}
	s.queue = nil
	h.terminated(s)
}

func (h *host) notTaken(from *process, f *frame) {
	for _, phase := range []movePhase{preloading, handing} {
		if s := h.moving(from, f, phase); s != nil {
			h.moveFailed(s, true)
			return
		}
	}
}

// moveFailed: the other node does not take the room or, unless it refused, nobody knows whether it does.
func (h *host) moveFailed(s *slot, refused bool) {
	m := s.move
	if !refused {
		h.distrusted[m.to.rank] = h.w.now + distrustFor
	}
	switch {
	case m.phase == preloading:
		m.tried = append(m.tried, m.to)
		h.begin(s, m)
	case m.phase == pausing:
	case m.drain || !refused:
		s.move = nil
		s.a.giveBack()
	default:
		s.move, s.since = nil, h.w.now
		s.a.goOn()
		h.roomKept(s)
	}
}

// expireMoves ends what takes too long.
func (h *host) expireMoves() {
	for _, s := range h.slots {
		switch {
		case s == nil || s.move == nil:
		case s.move.phase == preloading && h.w.now-s.move.since >= preloadTimeout:
			h.moveFailed(s, true)
		case s.move.phase == handing && h.w.now-s.move.since >= handOverTimeout:
			h.moveFailed(s, false)
		}
	}
}

// peerLost: the other node cannot be reached, or its answers are missing.
func (h *host) peerLost(node *process) {
	for _, s := range h.slots {
		if s != nil && s.move != nil && s.move.to == node {
			h.moveFailed(s, false)
		}
	}
}
