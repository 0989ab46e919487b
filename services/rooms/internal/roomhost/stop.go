package roomhost

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/services/rooms/internal/room"
)

// finish asks a running room to end. From here on its frames queue.
func (h *Host) finish(rctx *actor.ReceiveContext, s *slot, why room.Why) {
	s.state = finishing
	if why == room.WhyDrain {
		h.finishing++
		s.drain = true
	}
	if err := rctx.Self().Tell(context.Background(), s.pid, &room.Finish{Why: why}); err != nil {
		h.logger.Debug("room to finish is gone", slog.String("room_id", s.roomID), slog.Any("err", err))
	}
}

// roomStopping: the room cannot go on.
func (h *Host) roomStopping(rctx *actor.ReceiveContext, m *room.Stopping) {
	s, ok := h.slots[m.RoomID]
	if !ok || s.shared != m.Slot {
		return
	}
	s.failed, s.fenced, s.owner = true, m.Fenced, m.Owner
	if s.state == running {
		h.finish(rctx, s, room.WhyFailed)
	}
}

// roomKept: the room is in use again.
func (h *Host) roomKept(rctx *actor.ReceiveContext, m *room.Keep) {
	s, ok := h.slots[m.RoomID]
	if !ok || s.shared != m.Slot || s.state != finishing {
		return
	}
	s.state = running
	s.shared.Touch(h.cfg.Env.Now().UnixNano())
	h.catchUp(rctx, s)
	h.flush(rctx, s)
	switch {
	case s.failed:
		h.finish(rctx, s, room.WhyFailed)
	case len(h.draining) > 0:
		h.giveAway(s)
		h.giveMore(rctx)
	}
}

// roomFinished: nothing is in flight in the room any more.
func (h *Host) roomFinished(rctx *actor.ReceiveContext, m *room.Finished) {
	s, ok := h.slots[m.RoomID]
	if ok && s.shared == m.Slot && s.state == waitingAnswer && s.gone {
		h.stopSlot(rctx, s) // it has told its subscribers where the room is
		return
	}
	if !ok || s.shared != m.Slot || s.state != finishing {
		return
	}
	switch {
	case s.move == nil:
		h.stopSlot(rctx, s)
	case m.Epoch == 0: // its streams are lost
		h.forgetMove(s)
		h.stopSlot(rctx, s)
	default:
		h.handOver(rctx, s, m)
	}
}

// stopSlot lets a room that has finished wait for its shutdown.
func (h *Host) stopSlot(rctx *actor.ReceiveContext, s *slot) {
	s.state = waitingStop
	h.stopQueue = append(h.stopQueue, s)
	h.stopMore(rctx)
}

func (h *Host) stopMore(rctx *actor.ReceiveContext) {
	for h.stops < h.cfg.Stops && len(h.stopQueue) > 0 {
		s := h.stopQueue[0]
		h.stopQueue = h.stopQueue[1:]
		s.state = stopping
		h.stops++
		timeout := h.cfg.StopTimeout
		h.pipe(rctx, func() any {
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			defer cancel()
			if err := s.pid.Shutdown(ctx); err != nil {
				return &stopResult{slot: s, err: fmt.Errorf("shut down room %s: %w", s.roomID, err)}
			}
			return &stopResult{slot: s}
		}, func(err error) any { return &stopResult{slot: s, err: err} })
	}
}

func (h *Host) stopped(rctx *actor.ReceiveContext, m *stopResult) {
	h.stops--
	if m.err != nil {
		h.logger.Warn("room did not stop cleanly", slog.String("room_id", m.slot.roomID), slog.Any("err", m.err))
	}
	h.stopMore(rctx)
	// Shutdown has returned, so the activation is over whether or not Terminated arrives.
	h.terminated(rctx, m.slot.pid.Name())
}

// terminated ends a slot and gives its queue to the next activation, or to whom the room went.
func (h *Host) terminated(rctx *actor.ReceiveContext, name string) {
	s, ok := h.byName[name]
	if !ok {
		return
	}
	if s.state == waitingStop || s.state == stopping {
		h.leaveQueues(s)
	} else {
		wait := h.holdOff(s.roomID, h.cfg.RetryMax)
		h.logger.Error("room crashed", slog.String("room_id", s.roomID), slog.Duration("retry_after", wait))
	}
	h.remove(s)
	h.forgetMove(s)
	if s.drain {
		h.finishing--
	}
	if len(h.draining) > 0 && !s.gone {
		h.tally(room.MoveDrain).released++
	}
	h.giveMore(rctx)
	switch {
	case s.gone:
		h.holdOn(s.roomID, heldGiven, s.owner, 0)
	case s.fenced:
		h.holdOn(s.roomID, heldFenced, s.owner, s.shared.Acknowledged())
	}
	queue := s.queue
	s.queue = nil
	for _, in := range queue {
		in.Discharge()
	}
	// What the activation took to its grave is not waiting any more; the askers ask again.
	h.cfg.Node.Add(-int(s.shared.Queue.Used()))
	for _, in := range queue {
		h.inbound(rctx, in)
	}
	h.drained()
}

// leaveQueues takes a slot out of the queue for stopping, when its actor ended by itself.
func (h *Host) leaveQueues(s *slot) {
	for i, q := range h.stopQueue {
		if q == s {
			h.stopQueue = append(h.stopQueue[:i], h.stopQueue[i+1:]...)
			return
		}
	}
}
