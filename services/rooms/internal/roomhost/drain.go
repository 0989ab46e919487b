package roomhost

import (
	"context"
	"time"

	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/protocol/names"
	"github.com/parley-rt/parley/services/rooms/internal/room"
)

// usedLately is how long ago a room without subscribers may have got its last frame for a hand-over to be worth while. The
// others are released: whoever wants them next starts them where they belong.
const usedLately = 10 * time.Second

// drain gives all rooms away.
func (h *Host) drain(rctx *actor.ReceiveContext, m *Drain) {
	h.draining = append(h.draining, m.Done)
	if len(h.draining) == 1 {
		h.moveUntil = m.MoveUntil
		h.tally(room.MoveDrain)
		for _, s := range h.slots {
			if s.state == running {
				h.giveAway(s)
			}
		}
		h.giveMore(rctx)
	}
	h.drained()
}

// disownTimeout bounds the look at a room that is not here: its asker waits no longer than two seconds. disownMost is how many rooms
// are looked at beside each other; who asks for another one is sent on at once and comes back if nobody else has it.
const (
	disownTimeout = time.Second
	disownMost    = 1024
)

// disown sends an asker on whose room is not here. An earlier life of this node, or a release that failed, may have left it with
// this node's name in the journal: nobody else would take it as long as this node lives, so it is released first.
func (h *Host) disown(rctx *actor.ReceiveContext, in *room.Inbound) {
	roomID := in.Frame.RoomId
	if _, under := h.disowning[roomID]; !under && len(h.disowning) >= disownMost {
		h.sendOn(in, "")
		return
	}
	h.disowning[roomID] = append(h.disowning[roomID], in)
	if len(h.disowning[roomID]) > 1 { // the look that is under way is for all
		return
	}
	env, key := h.cfg.Env, persistence.StreamKey(names.RoomStream(roomID))
	h.pipe(rctx, func() any {
		ctx, cancel := context.WithTimeout(context.Background(), disownTimeout)
		defer cancel()
		select {
		case env.Reads <- struct{}{}:
			defer func() { <-env.Reads }()
		case <-ctx.Done():
			return &disowned{roomID}
		}
		// What fails is tried again for the next asker.
		if head, err := env.Journal.Head(ctx, key); err == nil && head.Owner == env.Node {
			_ = env.Journal.Release(ctx, persistence.Claim{
				Key: key, Owner: head.Owner, StreamID: head.StreamID, Epoch: head.Epoch, Incarnation: head.Incarnation,
			})
		}
		return &disowned{roomID}
	}, func(error) any { return &disowned{roomID} })
}

// giveAway lets a running room wait for its turn to leave this node.
func (h *Host) giveAway(s *slot) {
	now := h.cfg.Env.Now()
	switch {
	case s.move != nil:
		s.move.reason, s.move.only = room.MoveDrain, ""
	case now.Before(h.moveUntil) && !s.shared.Idle(now.Add(-usedLately).UnixNano()) && len(h.targets()) > 0:
		h.beginMove(s, room.MoveDrain, "")
	default:
		h.finishQueue = append(h.finishQueue, s)
	}
}

// giveMore goes on with giving rooms away.
func (h *Host) giveMore(rctx *actor.ReceiveContext) {
	h.moveMore(rctx)
	h.finishMore(rctx)
}

// finishMore lets the next rooms end, a few more than can be shut down at once so that none of those places is idle.
func (h *Host) finishMore(rctx *actor.ReceiveContext) {
	for h.finishing < 2*h.cfg.Stops && len(h.finishQueue) > 0 {
		s := h.finishQueue[0]
		h.finishQueue = h.finishQueue[1:]
		if s.state == running && h.slots[s.roomID] == s {
			h.finish(rctx, s, room.WhyDrain)
		}
	}
}

// moveNoMore lets a drain release what it has not handed over when its time for that is up (L5).
func (h *Host) moveNoMore(rctx *actor.ReceiveContext, now time.Time) {
	if len(h.draining) == 0 || now.Before(h.moveUntil) {
		return
	}
	for _, s := range h.slots {
		if s.move != nil && s.state == running {
			h.endMove(rctx, s, "deadline")
		}
	}
}

// drained tells who waits for it that no room is left.
func (h *Host) drained() {
	if len(h.slots) > 0 {
		return
	}
	for i, done := range h.draining {
		if done == nil {
			continue
		}
		close(done)
		h.draining[i] = nil
		if t := h.tallies[room.MoveDrain]; t != nil {
			delete(h.tallies, room.MoveDrain)
			h.logger.Info("rooms given away", t.attrs(h.cfg.Env.Now())...)
		}
	}
}

// tally returns the count of what is given away for a reason, begun now if it was not.
func (h *Host) tally(reason room.MoveReason) *tally {
	t := h.tallies[reason]
	if t == nil {
		t = &tally{began: h.cfg.Env.Now()}
		h.tallies[reason] = t
	}
	return t
}
