package roomhost

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/libs/opskit/failpoint"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/rooms/internal/room"
)

// distrustFor is how long a node that let a hand-over hang is given no further room.
const distrustFor = 10 * time.Second

type movePhase int

const (
	// moveWaits: for a place among those that are preloaded.
	moveWaits movePhase = iota
	// preloading: the other node was asked to read the room ahead; the room serves.
	preloading
	// preloaded: it has; the room serves until there is a place among those that pause.
	preloaded
	// pausing: the room was told Finish; from here on its frames queue.
	pausing
	// handing: the room was handed over; the answer decides.
	handing
)

// move is a room on its way to another node. It goes on serving until the other one has read nearly all of it, and only
// pauses for the claim and what came since.
//
//	        Preload            Preloaded          Finish           HandOver           TakenOver
//	waits ───────────► preloading ──────► preloaded ──────► pausing ──────► handing ───────────► the other's
//	  ▲                    │ NotTaken, silence, link down                      │ NotTaken, silence, link down
//	  │                    ▼                                                   ▼
//	  └──next node──── none left: it stays or, in a drain, is released     it stays, or is released
type move struct {
	number uint64
	reason room.MoveReason
	// only is the one node that the room may go to; empty: any.
	only  string
	to    string
	phase movePhase
	// since is when the phase began, paused when the room stopped to take frames.
	since, paused time.Time
	// tried are the nodes that would not have it.
	tried []string
}

// targets lists the nodes that can be given rooms now.
func (h *Host) targets() []dcplane.Node {
	nodes, _ := h.cfg.Directory.Nodes()
	now := h.cfg.Env.Now()
	return slices.DeleteFunc(nodes, func(n dcplane.Node) bool {
		link, known := h.cfg.Env.Links.Link(n.Name)
		return n.Name == h.cfg.Env.Node || n.State != dcplane.StateReady || !known || !link.Up || link.Blind ||
			now.Before(h.distrusted[n.Name])
	})
}

// beginMove lets a running room wait for its move.
func (h *Host) beginMove(s *slot, reason room.MoveReason, only string) {
	s.move = &move{reason: reason, only: only}
	h.moveQueue = append(h.moveQueue, s)
}

// moveMore brings moves on, as far as there are places.
func (h *Host) moveMore(rctx *actor.ReceiveContext) {
	for h.paused < h.pausePlaces() && len(h.pauseQueue) > 0 {
		s := h.pauseQueue[0]
		h.pauseQueue = h.pauseQueue[1:]
		switch {
		case s.move == nil || s.move.phase != preloaded: // it ended while it waited
		case h.cfg.Env.Now().Before(h.distrusted[s.move.to]):
			h.tryNext(s)
		default:
			h.pause(rctx, s)
		}
	}
	// What is read ahead should not get old, and takes the journal's time from the rooms that pause.
	for h.preloading < h.cfg.Preloads && h.preloading+len(h.pauseQueue) < 2*h.cfg.Preloads && len(h.moveQueue) > 0 {
		s := h.moveQueue[0]
		h.moveQueue = h.moveQueue[1:]
		if s.move == nil || s.move.phase != moveWaits {
			continue
		}
		if !h.offer(s) {
			h.endMove(rctx, s, "refused")
		}
	}
}

// pausePlaces returns how many rooms may pause at a time.
func (h *Host) pausePlaces() int {
	if len(h.draining) == 0 {
		return h.pacer.places(0, 0)
	}
	return h.pacer.places(len(h.moveQueue)+h.preloading+len(h.pauseQueue)+h.paused, h.moveUntil.Sub(h.cfg.Env.Now()))
}

// tryNext lets a room wait to be offered to another node than the one that had it last.
func (h *Host) tryNext(s *slot) {
	s.move.tried = append(s.move.tried, s.move.to)
	h.enter(s, moveWaits)
	h.moveQueue = append(h.moveQueue, s)
}

// offer asks the best node that was not tried yet to read the room ahead. False: there is none.
func (h *Host) offer(s *slot) bool {
	m := s.move
	for _, n := range dcplane.Rank(s.roomID, h.targets()) {
		if slices.Contains(m.tried, n.Name) || m.only != "" && n.Name != m.only {
			continue
		}
		h.moveNumber++
		m.number, m.to = h.moveNumber, n.Name
		frame := &roomv1.Frame{Kind: &roomv1.Frame_Preload{Preload: &roomv1.Preload{
			WeightBytes: uint64(s.shared.Weight()), MayStay: m.reason == room.MoveJoin,
		}}}
		if h.sendPeer(n.Name, s.roomID, m.number, frame) {
			h.enter(s, preloading)
			return true
		}
		m.tried = append(m.tried, n.Name)
	}
	return false
}

// enter changes a move's phase and keeps count.
func (h *Host) enter(s *slot, p movePhase) {
	m := s.move
	h.count(m.phase, -1)
	h.count(p, 1)
	m.phase, m.since = p, h.cfg.Env.Now()
	if p == moveWaits {
		delete(h.moves, m.number)
	} else {
		h.moves[m.number] = s
	}
}

func (h *Host) count(p movePhase, by int) {
	switch p {
	case preloading:
		h.preloading += by
	case pausing, handing:
		h.paused += by
	}
}

// forgetMove takes a slot out of everything that moves are kept in, except the queues, where it is passed over.
func (h *Host) forgetMove(s *slot) {
	if s.move != nil {
		h.enter(s, moveWaits)
		s.move = nil
	}
}

// pause ends the taking of frames. What the room has in flight is finished first.
func (h *Host) pause(rctx *actor.ReceiveContext, s *slot) {
	h.enter(s, pausing)
	s.move.paused = h.cfg.Env.Now()
	s.state = finishing
	if err := rctx.Self().Tell(context.Background(), s.pid, &room.Finish{Why: room.WhyMove}); err != nil {
		h.logger.Debug("room to move is gone", slog.String("room_id", s.roomID), slog.Any("err", err))
	}
}

// handOver gives a room that has finished to the other node.
func (h *Host) handOver(rctx *actor.ReceiveContext, s *slot, f *room.Finished) {
	s.state = waitingAnswer
	h.enter(s, handing)
	failpoint.Hit("roomhost.before-hand-over")
	sent := h.sendPeer(s.move.to, s.roomID, s.move.number, &roomv1.Frame{Kind: &roomv1.Frame_HandOver{HandOver: &roomv1.HandOver{
		Epoch: f.Epoch, MembersEpochs: f.MembersEpochs, Acknowledged: s.shared.Acknowledged(),
	}}})
	failpoint.Hit("roomhost.after-hand-over")
	if !sent {
		h.moveFailed(rctx, s, "link")
	}
}

// answered takes the other node's answer to Preload or HandOver. One that comes too late is of a number that is not known.
func (h *Host) answered(rctx *actor.ReceiveContext, m *room.PeerFrame) {
	s, ok := h.moves[m.Frame.Request]
	if !ok || s.roomID != m.Frame.RoomId || s.move.to != m.From.Node {
		return
	}
	switch k := m.Frame.Kind.(type) {
	case *roomv1.Frame_Preloaded:
		if s.move.phase == preloading {
			h.enter(s, preloaded)
			h.pauseQueue = append(h.pauseQueue, s)
		}
	case *roomv1.Frame_TakenOver:
		if s.move.phase == handing {
			h.moved(rctx, s)
		}
	case *roomv1.Frame_NotTaken:
		h.logger.Debug("room not taken", slog.String("room_id", s.roomID), slog.String("peer", m.From.Node),
			slog.String("reason", k.NotTaken.GetReason()))
		h.moveFailed(rctx, s, "refused")
	}
	h.moveMore(rctx)
}

// moved: the room runs at the other node. Its subscribers and whoever waits here are told at once.
func (h *Host) moved(rctx *actor.ReceiveContext, s *slot) {
	m := s.move
	pause := h.cfg.Env.Now().Sub(m.paused)
	h.cfg.Env.Metrics.Moved(m.reason, "moved", pause)
	h.tally(m.reason).addMoved(pause)
	h.pacer.took(pause)
	h.forgetMove(s)
	s.gone, s.owner = true, m.to
	for _, in := range s.queue {
		h.sendOn(in, m.to)
	}
	s.queue = nil
	// It is shut down once it has heard of it: PostStop runs beside a turn.
	if err := rctx.Self().Tell(context.Background(), s.pid, &room.HandedOver{Owner: m.to}); err != nil {
		h.logger.Debug("room that moved is gone", slog.String("room_id", s.roomID), slog.Any("err", err))
		h.stopSlot(rctx, s)
	}
}

// moveFailed: the other node does not take the room, or nobody knows whether it does.
func (h *Host) moveFailed(rctx *actor.ReceiveContext, s *slot, why string) {
	m := s.move
	if why != "refused" {
		h.distrusted[m.to] = h.cfg.Env.Now().Add(distrustFor)
	}
	switch m.phase {
	case preloading, preloaded:
		h.tryNext(s)
	case handing:
		h.endMove(rctx, s, why)
	}
}

// endMove ends a move that did not succeed. In a drain the room is released; so it is when it was handed over without an
// answer, since the other node may have claimed it. Otherwise it stays here, and is left alone for a while.
func (h *Host) endMove(rctx *actor.ReceiveContext, s *slot, why string) {
	m := s.move
	handed := m.phase == handing
	h.forgetMove(s)
	s.since = h.cfg.Env.Now()
	h.cfg.Env.Metrics.Moved(m.reason, why, 0)
	if m.reason == room.MoveJoin {
		h.calm() // where one room is not taken, others are not, either
	}
	switch {
	case handed && (m.reason == room.MoveDrain || why != "refused" || s.failed):
		h.stopSlot(rctx, s)
	case handed:
		s.state = running
		if err := rctx.Self().Tell(context.Background(), s.pid, &room.GoOn{}); err != nil {
			h.logger.Debug("room that stays is gone", slog.String("room_id", s.roomID), slog.Any("err", err))
		}
		h.catchUp(rctx, s)
		h.flush(rctx, s)
	case m.reason == room.MoveDrain:
		h.finishQueue = append(h.finishQueue, s)
		h.finishMore(rctx)
	}
}

// expireMoves ends what takes too long.
func (h *Host) expireMoves(rctx *actor.ReceiveContext, now time.Time) {
	for _, s := range h.moves {
		switch m := s.move; {
		case m.phase == preloading && now.Sub(m.since) >= h.cfg.PreloadTimeout:
			h.moveFailed(rctx, s, "refused") // a large room, or a slow journal: no fault of the node's
		case m.phase == handing && now.Sub(m.since) >= h.cfg.HandOverTimeout:
			h.moveFailed(rctx, s, "timeout")
		}
	}
	for node, until := range h.distrusted {
		if now.After(until) {
			delete(h.distrusted, node)
		}
	}
	h.moveMore(rctx)
}

// peerLost: the other node cannot be reached, or its answers are missing.
func (h *Host) peerLost(rctx *actor.ReceiveContext, node string) {
	for _, s := range h.moves {
		if s.move.to == node {
			h.moveFailed(rctx, s, "link")
		}
	}
	h.moveMore(rctx)
}

// sendPeer sends a frame to another rooms node.
func (h *Host) sendPeer(node, roomID string, number uint64, frame *roomv1.Frame) bool {
	frame.Request = number
	if err := room.Send(h.cfg.Env.Links, node, roomID, frame); err != nil {
		h.logger.Debug("frame to a rooms node not sent", slog.String("room_id", roomID), slog.String("peer", node), slog.Any("err", err))
		return false
	}
	return true
}
