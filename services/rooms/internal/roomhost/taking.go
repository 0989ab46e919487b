package roomhost

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/libs/opskit/failpoint"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/rooms/internal/room"
)

// gift is a room that its owner hands over: where the answer goes, and what the owner held.
type gift struct {
	from          string
	number        uint64
	epoch         uint64
	membersEpochs []uint64
	acknowledged  uint64
}

// preloadResult reports the task that read a room ahead.
type preloadResult struct {
	entry *warmEntry
	warm  *room.Warm
	err   error
}

// peerFrame handles what other rooms nodes say about moves.
func (h *Host) peerFrame(rctx *actor.ReceiveContext, m *room.PeerFrame) {
	switch k := m.Frame.Kind.(type) {
	case *roomv1.Frame_Preload:
		h.preload(rctx, m, k.Preload)
	case *roomv1.Frame_HandOver:
		h.take(rctx, m, k.HandOver)
	default:
		h.answered(rctx, m)
	}
}

// preload reads a room ahead that its owner means to hand over. Where that is not to be had for memory or places, the room
// may come all the same: it is then read when it comes.
func (h *Host) preload(rctx *actor.ReceiveContext, m *room.PeerFrame, p *roomv1.Preload) {
	if why := h.unwilling(m.Frame.RoomId, p.GetMayStay()); why != "" {
		h.notTaken(m.From.Node, m.Frame.RoomId, m.Frame.Request, why)
		return
	}
	e, ok := h.warm.admit(m.Frame.RoomId, int64(min(p.GetWeightBytes(), 1<<40)), h.cfg.Env.Now())
	if !ok {
		h.sendPeer(m.From.Node, m.Frame.RoomId, m.Frame.Request, preloadedFrame())
		return
	}
	e.from, e.number = m.From.Node, m.Frame.Request
	if e.warm != nil {
		h.sendPeer(e.from, e.roomID, e.number, preloadedFrame())
		return
	}
	h.readAhead(rctx)
}

// readAhead starts to read what waits for it.
func (h *Host) readAhead(rctx *actor.ReceiveContext) {
	for h.reading < h.cfg.Preloads {
		e := h.warm.next()
		if e == nil {
			return
		}
		h.reading++
		env := h.cfg.Env
		h.pipe(rctx, func() any {
			warm, err := room.Preload(context.Background(), env, e.roomID)
			return &preloadResult{entry: e, warm: warm, err: err}
		}, func(err error) any { return &preloadResult{entry: e, err: err} })
	}
}

func (h *Host) wasRead(rctx *actor.ReceiveContext, m *preloadResult) {
	h.reading--
	e := m.entry
	switch {
	case m.err != nil:
		h.warm.drop(e)
		h.logger.Debug("room cannot be read ahead", slog.String("room_id", e.roomID), slog.Any("err", m.err))
		if journalAway(m.err) {
			h.calm()
		}
		h.notTaken(e.from, e.roomID, e.number, "it cannot be read")
	default:
		h.warm.ready(e, m.warm, h.cfg.Env.Now())
		h.sendPeer(e.from, e.roomID, e.number, preloadedFrame())
	}
	h.readAhead(rctx)
}

// unwilling says why this node takes no room now; empty: it does.
func (h *Host) unwilling(roomID string, mayStay bool) string {
	s, here := h.slots[roomID]
	held := h.held(roomID)
	switch {
	case len(h.draining) > 0:
		return "draining"
	case here && s.state != waitingStart && s.state != starting:
		return "the room is here"
	case held != nil && held.why == heldFailed:
		return "the room cannot be started"
	case mayStay && h.overloaded():
		return "overloaded"
	default:
		return ""
	}
}

// take starts a room that its owner has handed over. It goes before rooms that merely want to be started.
func (h *Host) take(rctx *actor.ReceiveContext, m *room.PeerFrame, o *roomv1.HandOver) {
	roomID := m.Frame.RoomId
	g := &gift{
		from: m.From.Node, number: m.Frame.Request,
		epoch: o.GetEpoch(), membersEpochs: o.GetMembersEpochs(), acknowledged: o.GetAcknowledged(),
	}
	s, here := h.slots[roomID]
	switch {
	case here && s.state == running:
		if epoch, _ := s.shared.Head(); epoch > g.epoch {
			h.takenOver(s, g)
			return
		}
		h.notTaken(g.from, roomID, g.number, "the room is here")
	case here && (s.state == waitingStart || s.state == starting):
		// Somebody asked for it just before; it would have been sent on.
		s.gift = g
		if s.state == waitingStart {
			h.startQueue.raise(s, givenFirst) // it pauses until it runs here
		}
	case here, len(h.draining) > 0:
		h.notTaken(g.from, roomID, g.number, "not now")
	default:
		delete(h.holds, roomID) // its owner wants it to be here
		s := h.newSlot(roomID)
		s.gift = g
		h.startQueue.push(s, givenFirst)
	}
	h.startMore(rctx)
}

// takenOver tells the former owner that the room runs here.
func (h *Host) takenOver(s *slot, g *gift) {
	failpoint.Hit("roomhost.before-taken-over")
	epoch, _ := s.shared.Head()
	h.sendPeer(g.from, s.roomID, g.number, &roomv1.Frame{Kind: &roomv1.Frame_TakenOver{TakenOver: &roomv1.TakenOver{Epoch: epoch}}})
}

// answerGift tells the former owner of a room what became of the start.
func (h *Host) answerGift(s *slot, err error) {
	g := s.gift
	if g == nil {
		return
	}
	s.gift = nil
	if err == nil {
		h.takenOver(s, g)
		return
	}
	h.notTaken(g.from, s.roomID, g.number, err.Error())
}

var errNotOurs = errors.New("another node has the room")

func (h *Host) notTaken(node, roomID string, number uint64, why string) {
	h.sendPeer(node, roomID, number, &roomv1.Frame{Kind: &roomv1.Frame_NotTaken{NotTaken: &roomv1.NotTaken{Reason: why}}})
}

func preloadedFrame() *roomv1.Frame {
	return &roomv1.Frame{Kind: &roomv1.Frame_Preloaded{Preloaded: &roomv1.Preloaded{}}}
}

// calmFor is how long rooms stay where they are after something went wrong.
const calmFor = 10 * time.Second

// calm lets rooms stay where they are for a while: the journal is away, or another node does not take them.
func (h *Host) calm() { h.calmUntil = h.cfg.Env.Now().Add(calmFor) }

// overloaded tells whether this node has enough to do with the rooms that it has.
func (h *Host) overloaded() bool {
	return h.cfg.Node.HalfFull() || h.startQueue.len() > 0 || h.cfg.Env.Now().Before(h.calmUntil)
}
