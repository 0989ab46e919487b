package sim

import (
	"errors"
	"time"
)

// inbound is a frame on its way to a room.
type inbound struct {
	from  *process
	frame *frame
	at    time.Duration
}

// unanswered: a statement that nobody waits for.
func (in *inbound) unanswered() bool { return in.frame.kind == unsubscribeFrame }

// slotState is where an activation of a room stands.
//
//	(none) ──frame──► starting ──claimed──► running ──finish──► finishing ──► stopping ──► (none)
type slotState uint8

const (
	starting slotState = iota
	running
	finishing
	stopping
)

// slot is one activation of a room, or the wish for one.
type slot struct {
	room  roomID
	state slotState
	a     *activation
	// Frames for the next activation, or for this one while it starts.
	queue    []*inbound
	lastUsed time.Duration
	since    time.Duration // it came here, or could not be moved
	failed   bool
	fenced   bool
	owner    *process
	// drain: it is to be given away as soon as it runs.
	drain bool
	// given is the frame with which another node hands the room over.
	given   *frame
	givenBy *process
	move    *move
}

// hold keeps a room from being started for a while; askers of a fenced one are sent on to the owner.
type hold struct {
	until    time.Duration
	fenced   bool
	owner    *process
	failures int
}

// host is the parent of a node's rooms: it decides whether a room may run here, starts and stops its activation, and hands
// frames to it.
type host struct {
	n     *roomsNode
	w     *world
	slots []*slot
	holds []hold
	// warm is up to which seq a room was read ahead.
	warm     []uint64
	draining bool
	number   uint64 // of the last move
	// rebalanceAt is when the next room may be moved without need, distrusted until when a node is given none.
	rebalanceAt time.Duration
	distrusted  [roomsNodeCount]time.Duration
}

func newHost(n *roomsNode) *host {
	rooms := len(n.w.journal.streams)
	return &host{n: n, w: n.w, slots: make([]*slot, rooms), holds: make([]hold, rooms), warm: make([]uint64, rooms)}
}

// inbound routes a frame: to the room when it runs, into its queue while it starts or stops, else it starts the room.
func (h *host) inbound(in *inbound) {
	f := in.frame
	if f.kind == compareFrame {
		h.compareHeads(in)
		return
	}
	if h.w.storm && f.kind == publishFrame && h.w.chance(0.003) { // a bound somewhere is reached
		h.refuse(in, busy, busyRetry)
		return
	}
	s := h.slots[f.room]
	if s == nil {
		if s = h.admit(in); s == nil {
			return
		}
	}
	if s.state == running {
		s.lastUsed = h.w.now
		s.a.inbound(in)
		return
	}
	if len(s.queue) >= startQueue {
		h.refuse(in, busy, busyRetry)
		return
	}
	s.queue = append(s.queue, in)
}

// admit makes a slot for a room that is not here, unless the frame is answered another way.
func (h *host) admit(in *inbound) *slot {
	room := in.frame.room
	if h.draining || in.unanswered() {
		h.moved(in, nil)
		return nil
	}
	if held := &h.holds[room]; held.until > h.w.now {
		if held.fenced {
			h.w.stats.Held++
			h.moved(in, held.owner)
		} else {
			h.refuse(in, unavailable, held.until-h.w.now+time.Millisecond)
		}
		return nil
	}
	s := &slot{room: room, lastUsed: h.w.now}
	h.slots[room] = s
	h.n.startRoom(s)
	return s
}

func (h *host) started(s *slot, a *activation) {
	if h.slots[s.room] != s {
		return
	}
	s.state, s.a, s.lastUsed, s.since = running, a, h.w.now, h.w.now
	if s.given != nil {
		h.answer(s.givenBy, s.given, takenOverFrame, a.epoch)
	}
	queue := s.queue
	s.queue = nil
	for _, in := range queue {
		a.inbound(in)
	}
	if s.drain {
		h.begin(s, &move{drain: true})
	}
}

func (h *host) startMoved(s *slot, owner *process) {
	h.remove(s)
	for _, in := range s.queue {
		h.moved(in, owner)
	}
	h.drained()
}

func (h *host) startFailed(s *slot, err error) {
	h.remove(s)
	if s.given != nil {
		h.answer(s.givenBy, s.given, notTakenFrame, 0)
	}
	limit := lastRetry
	if errors.Is(err, errUnavailable) || errors.Is(err, errUnknown) {
		limit = journalRetry
	}
	wait := h.holdOff(s.room, limit)
	h.w.tracef("%s: room %d cannot be started: %v", h.n, s.room, err)
	for _, in := range s.queue {
		h.refuse(in, unavailable, wait)
	}
	h.drained()
}

func (h *host) holdOff(room roomID, limit time.Duration) time.Duration {
	held := &h.holds[room]
	if held.fenced {
		*held = hold{}
	}
	wait := min(firstRetry<<min(held.failures, 20), limit)
	if wait < limit {
		held.failures++
	}
	held.until = h.w.now + wait
	return wait
}

func (h *host) holdFenced(room roomID, owner *process) {
	if h.w.without.FencedHold {
		return
	}
	h.holds[room] = hold{until: h.w.now + h.w.between(leastHold, longestHold), fenced: true, owner: owner}
}

func (h *host) remove(s *slot) {
	if h.slots[s.room] == s {
		h.slots[s.room] = nil
	}
}

// roomStopping: the activation cannot go on.
func (h *host) roomStopping(s *slot, fenced bool, owner *process) {
	if h.slots[s.room] != s {
		return
	}
	s.failed, s.fenced, s.owner = true, fenced, owner
	if s.state == running {
		h.finish(s, whyFailed)
	}
}

// finish asks a running room to end. From here on its frames queue.
func (h *host) finish(s *slot, why why) {
	s.state = finishing
	s.a.finish(why)
}

// roomKept: the room is in use again.
func (h *host) roomKept(s *slot) {
	s.state = running
	queue := s.queue
	s.queue = nil
	for _, in := range queue {
		s.a.inbound(in)
	}
	if h.draining && s.move == nil {
		h.begin(s, &move{drain: true})
	}
}

// terminated ends a slot and gives its queue to the next activation, or to whom the room went.
func (h *host) terminated(s *slot) {
	h.remove(s)
	s.a.over, s.move = true, nil
	if s.fenced {
		h.holdFenced(s.room, s.owner)
	}
	queue := s.queue
	s.queue = nil
	for _, in := range queue {
		h.inbound(in)
	}
	h.drained()
}

// tick looks for rooms that are idle, owe somebody something or should be elsewhere, and for frames that waited too long.
func (h *host) tick() {
	h.expireMoves()
	for _, s := range h.slots {
		if s == nil {
			continue
		}
		for len(s.queue) > 0 && h.w.now-s.queue[0].at > queueTimeout {
			h.refuse(s.queue[0], unavailable, busyRetry)
			s.queue = s.queue[1:]
		}
		if s.state != running {
			continue
		}
		s.a.settleOwed()
		switch {
		case s.move == nil && len(s.a.subscribers) == 0 && len(s.a.queue) == 0 && h.w.now-s.lastUsed > idleAfter:
			h.finish(s, whyIdle)
		default:
			h.rebalance(s)
		}
	}
}

// takeovers tells rooms that were lost.
func (h *host) takeovers(list []takeover) {
	for _, t := range list {
		if s := h.slots[t.room]; s != nil && s.state == running && t.epoch > s.a.epoch {
			h.w.stats.FoundLost++
			s.a.die(&fencedError{owner: t.owner, epoch: t.epoch})
		}
	}
}

func (h *host) nodeGone(node *process) {
	h.peerLost(node)
	for _, s := range h.slots {
		if s != nil && s.state == running {
			s.a.dropNode(node)
		}
	}
}
