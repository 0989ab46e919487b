package roomhost

import (
	"context"
	"strings"

	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/libs/protocol/names"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/rooms/internal/room"
)

// tick looks for rooms that are idle or want to be woken, for frames that waited too long, and for holds that are over.
func (h *Host) tick(rctx *actor.ReceiveContext) {
	now := h.cfg.Env.Now()
	idleSince := now.Add(-h.cfg.IdleAfter).UnixNano()
	tooOld := now.Add(-h.cfg.QueueTimeout)
	for _, s := range h.slots {
		h.expireQueue(s, func(in *room.Inbound) bool { return in.At.Before(tooOld) })
		if s.state != running {
			continue
		}
		if s.shared.Due(now.UnixNano()) {
			_ = rctx.Self().Tell(context.Background(), s.pid, &room.Tick{}) // a room that is gone needs no tick
		}
		if s.shared.Idle(idleSince) && s.move == nil {
			h.finish(rctx, s, room.WhyIdle)
		}
	}
	h.warm.expire(now)
	h.moveNoMore(rctx, now)
	h.expireMoves(rctx, now)
	h.rebalance(rctx, now)
	for id, held := range h.holds {
		// A failure is remembered a while longer, so that the wait grows only for rooms that keep failing.
		if now.Sub(held.until) > h.cfg.RetryMax {
			delete(h.holds, id)
		}
	}
}

func (h *Host) expireQueue(s *slot, tooOld func(*room.Inbound) bool) {
	n := 0
	for n < len(s.queue) && tooOld(s.queue[n]) {
		room.Refuse(h.cfg.Env.Links, h.cfg.Env.Metrics, s.queue[n], codeUnavailable, "the room takes too long to start", busyRetryAfter)
		n++
	}
	if n > 0 {
		s.queue = append([]*room.Inbound(nil), s.queue[n:]...)
	}
}

// takeovers tells rooms that lost a stream.
func (h *Host) takeovers(rctx *actor.ReceiveContext, m *Takeovers) {
	for _, t := range m.List {
		kind, id, ok := names.ParseStream(string(t.Key))
		if !ok || kind != names.StreamRoom && kind != names.StreamMembers {
			continue
		}
		if strings.Contains(id, "/") {
			// A further members shard; the first one tells the same.
			continue
		}
		s, ok := h.slots[id]
		if !ok {
			continue
		}
		lost := &room.Lost{Epoch: t.Epoch, Owner: t.Owner, Members: kind == names.StreamMembers}
		if s.state == running {
			_ = rctx.Self().Tell(context.Background(), s.pid, lost) // a room that is gone needs no news
			continue
		}
		// It may be about to serve, with a claim that is older than this one. The journal tells only once.
		if len(s.lost) == lostKept {
			s.lost = s.lost[1:]
		}
		s.lost = append(s.lost, lost)
	}
}

// catchUp tells a room that begins to serve, or goes on, what was heard of its streams meanwhile.
func (h *Host) catchUp(rctx *actor.ReceiveContext, s *slot) {
	for _, lost := range s.lost {
		_ = rctx.Self().Tell(context.Background(), s.pid, lost) // as in takeovers
	}
	s.lost = nil
}

// compareHeads answers a hub that wants to know whether it is behind.
func (h *Host) compareHeads(in *room.Inbound, c *roomv1.CompareHeads) {
	var differ []string
	for _, believed := range c.Rooms {
		s, ok := h.slots[believed.RoomId]
		if !ok || s.state != running {
			differ = append(differ, believed.RoomId)
			continue
		}
		if epoch, last := s.shared.Head(); epoch != believed.Epoch || last > believed.LastMessageSeq {
			differ = append(differ, believed.RoomId)
		}
	}
	if len(differ) == 0 && in.Frame.Request == 0 {
		in.Release()
		return
	}
	room.Reply(h.cfg.Env.Links, h.cfg.Env.Metrics, in, &roomv1.Frame{Kind: &roomv1.Frame_HeadsDiffer{HeadsDiffer: &roomv1.HeadsDiffer{RoomIds: differ}}})
}
