package roomhost

import (
	"time"

	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/services/rooms/internal/room"
)

const (
	// planEvery is how often all rooms are looked at, planStep how many of them in one turn.
	planEvery = 30 * time.Second
	planStep  = 5000
)

// balance gives rooms to nodes that have joined: those whose first choice is another node by now. It is slow on purpose, and
// stops whenever anything else is going on.
type balance struct {
	settling *settling
	// plan are the rooms still to be looked at.
	plan     []string
	nextPlan time.Time
	// budget is how many rooms may be moved now.
	budget float64
	last   time.Time
}

func newBalance(cfg Config) balance { return balance{settling: newSettling(cfg.SettleAfter)} }

// rebalance moves the next rooms to where they belong.
func (h *Host) rebalance(rctx *actor.ReceiveContext, now time.Time) {
	b := &h.balance
	nodes, fresh := h.cfg.Directory.Nodes()
	b.settling.observe(now, nodes)
	elapsed := min(now.Sub(b.last), time.Second)
	b.last = now
	ready := h.choices(nodes)
	if !fresh || len(h.draining) > 0 || ready == nil || h.overloaded() || !b.settling.settled(now) || h.cfg.MovesPerSecond < 0 {
		h.stayPut()
		return
	}
	b.budget = min(b.budget+float64(h.cfg.MovesPerSecond)*elapsed.Seconds(), float64(h.cfg.MovesPerSecond))
	if len(b.plan) == 0 {
		h.balanced(now)
		if now.Before(b.nextPlan) {
			return
		}
		b.nextPlan = now.Add(planEvery)
		for id := range h.slots {
			b.plan = append(b.plan, id)
		}
	}
	for looked := 0; looked < planStep && len(b.plan) > 0 && b.budget >= 1; looked++ {
		id := b.plan[0]
		b.plan = b.plan[1:]
		if s := h.slots[id]; s != nil && h.misplaced(s, ready, now) {
			b.budget--
			h.relocate(rctx, s, dcplane.Rank(id, ready)[0].Name, now)
		}
	}
	h.moveMore(rctx)
}

// choices returns the ready nodes; nil when this node is none of them, or the only one.
func (h *Host) choices(nodes []dcplane.Node) []dcplane.Node {
	var ready []dcplane.Node
	self := false
	for _, n := range nodes {
		if n.State == dcplane.StateReady {
			ready = append(ready, n)
			self = self || n.Name == h.cfg.Env.Node
		}
	}
	if !self || len(ready) < 2 {
		return nil
	}
	return ready
}

// misplaced tells whether a room should be given to the node that is its first choice. It has run here for a while: a room
// that has just come, or could not be moved, stays.
func (h *Host) misplaced(s *slot, ready []dcplane.Node, now time.Time) bool {
	if s.state != running || s.move != nil || s.failed || now.Sub(s.since) < h.cfg.RestFor {
		return false
	}
	first := dcplane.Rank(s.roomID, ready)[0].Name
	link, known := h.cfg.Env.Links.Link(first)
	return first != h.cfg.Env.Node && known && link.Up && !link.Blind && !now.Before(h.distrusted[first]) &&
		h.balance.settling.trusted(first, now)
}

// relocate hands a room over, or lets go of one that nobody uses.
func (h *Host) relocate(rctx *actor.ReceiveContext, s *slot, to string, now time.Time) {
	if s.shared.Idle(now.Add(-usedLately).UnixNano()) {
		h.tally(room.MoveJoin).released++
		h.finish(rctx, s, room.WhyIdle)
		return
	}
	h.beginMove(s, room.MoveJoin, to)
}

// stayPut ends what has not begun to be read ahead. Once rooms may move again, all of them are looked at anew.
func (h *Host) stayPut() {
	h.balance.plan, h.balance.budget, h.balance.nextPlan = nil, 0, time.Time{}
	for _, s := range h.moveQueue {
		if s.move != nil && s.move.phase == moveWaits && s.move.reason == room.MoveJoin {
			h.forgetMove(s)
		}
	}
}

// balanced notes the end of a plan.
func (h *Host) balanced(now time.Time) {
	t := h.tallies[room.MoveJoin]
	if t == nil || len(h.moves) > 0 || len(h.moveQueue) > 0 {
		return
	}
	delete(h.tallies, room.MoveJoin)
	h.logger.Info("rooms moved to nodes that joined", t.attrs(now)...)
}
