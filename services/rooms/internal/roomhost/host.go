package roomhost

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/libs/opskit"
	"github.com/parley-rt/parley/libs/protocol/names"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/rooms/internal/room"
)

// Host is the actor.
type Host struct {
	cfg    Config
	logger *slog.Logger
	// limited is for what happens to every room at once.
	limited *slog.Logger

	slots map[string]*slot
	// Slots by the name of their actor, for Terminated.
	byName map[string]*slot
	holds  map[string]*hold
	heads  *heads

	starts, stops           int
	startQueue, finishQueue []*slot
	stopQueue               []*slot
	finishing               int
	// Numbers activations: the name of one that is going away must not be used again yet.
	activations uint64

	draining []chan struct{}
}

// New returns the host of a node.
func New(cfg Config) *Host {
	cfg = cfg.WithDefaults()
	return &Host{
		cfg:     cfg,
		logger:  cfg.Env.Logger,
		limited: opskit.RateLimited(cfg.Env.Logger),
		slots:   make(map[string]*slot),
		byName:  make(map[string]*slot),
		holds:   make(map[string]*hold),
		heads:   newHeads(cfg.Heads),
	}
}

var _ actor.Actor = (*Host)(nil)

// PreStart has nothing to do.
func (h *Host) PreStart(*actor.Context) error { return nil }

// PostStop has nothing to do: the rooms are children and were stopped before.
func (h *Host) PostStop(*actor.Context) error { return nil }

// Receive handles one message. It never blocks.
func (h *Host) Receive(rctx *actor.ReceiveContext) {
	switch m := rctx.Message().(type) {
	case *actor.PostStart:
	case *room.Inbound:
		h.inbound(rctx, m)
	case *startResult:
		h.started(rctx, m)
	case *stopResult:
		h.stopped(rctx, m)
	case *actor.Terminated:
		h.terminated(rctx, m.ActorPath().Name())
	case *room.Stopping:
		h.roomStopping(rctx, m)
	case *room.Finished:
		h.roomFinished(rctx, m)
	case *room.Keep:
		h.roomKept(rctx, m)
	case *room.NodeDown:
		h.broadcast(rctx, m)
	case *room.NodeLost:
		h.broadcast(rctx, m)
	case *Takeovers:
		h.takeovers(rctx, m)
	case *Tick:
		h.tick(rctx)
	case *Drain:
		h.drain(rctx, m)
	default:
		rctx.Unhandled()
	}
}

// inbound routes a frame: to the room when it runs, into its queue while it starts or stops, else it starts the room.
func (h *Host) inbound(rctx *actor.ReceiveContext, in *room.Inbound) {
	if k, ok := in.Frame.Kind.(*roomv1.Frame_CompareHeads); ok {
		h.compareHeads(in, k.CompareHeads)
		return
	}
	s, ok := h.slots[in.Frame.RoomId]
	if !ok {
		if s = h.admit(rctx, in); s == nil {
			return
		}
	}
	if !in.Charge(s.shared) {
		room.Refuse(h.cfg.Env.Links, h.cfg.Env.Metrics, in, codeBusy, "too much is waiting for the room", busyRetryAfter)
		return
	}
	if s.state == running {
		h.hand(rctx, s, in)
		return
	}
	h.enqueue(s, in)
}

// admit makes a slot for a room that is not here, unless the frame is answered another way.
func (h *Host) admit(rctx *actor.ReceiveContext, in *room.Inbound) *slot {
	if len(h.draining) > 0 || in.Unanswered() {
		h.moved(in, "")
		return nil
	}
	if held, ok := h.holds[in.Frame.RoomId]; ok {
		if left := held.until.Sub(h.cfg.Env.Now()); left > 0 {
			if held.fenced {
				h.moved(in, held.owner)
			} else {
				room.Refuse(h.cfg.Env.Links, h.cfg.Env.Metrics, in, codeUnavailable, "the room cannot be started at the moment",
					uint32(left/time.Millisecond)+1)
			}
			return nil
		}
	}
	s := &slot{roomID: in.Frame.RoomId, shared: room.NewSlot(h.cfg.QueueBytes, h.heads.of(in.Frame.RoomId))}
	h.slots[s.roomID] = s
	h.startQueue = append(h.startQueue, s)
	h.startMore(rctx)
	return s
}

func (h *Host) enqueue(s *slot, in *room.Inbound) {
	if len(s.queue) >= h.cfg.StartQueue {
		room.Refuse(h.cfg.Env.Links, h.cfg.Env.Metrics, in, codeBusy, "too much is waiting for the room to start", busyRetryAfter)
		return
	}
	s.queue = append(s.queue, in)
}

func (h *Host) hand(rctx *actor.ReceiveContext, s *slot, in *room.Inbound) {
	s.shared.Touch(h.cfg.Env.Now().UnixNano())
	if err := rctx.Self().Tell(context.Background(), s.pid, in); err != nil {
		// It has crashed and Terminated is on its way.
		h.enqueue(s, in)
	}
}

// startMore starts what waits for a place.
func (h *Host) startMore(rctx *actor.ReceiveContext) {
	for h.starts < h.cfg.Starts && len(h.startQueue) > 0 {
		s := h.startQueue[0]
		h.startQueue = h.startQueue[1:]
		h.starts++
		s.state = starting
		h.activations++
		name := names.Room(s.roomID) + "." + strconv.FormatUint(h.activations, 36)
		self, cfg := rctx.Self(), h.cfg
		h.pipe(rctx, func() any { return start(self, cfg, s, name) }, func(err error) any { return &startResult{slot: s, err: err} })
	}
}

// started goes on after the task that looked at the room.
func (h *Host) started(rctx *actor.ReceiveContext, m *startResult) {
	s := m.slot
	h.starts--
	h.startMore(rctx)
	switch {
	case m.moved:
		h.remove(s)
		for _, in := range s.queue {
			h.moved(in, m.owner)
		}
	case m.err != nil:
		h.startFailed(s, m.err)
	default:
		// A hold stays in memory for a while: a room that starts and crashes again waits longer each time.
		s.state, s.pid = running, m.pid
		h.byName[m.pid.Name()] = s
		rctx.Watch(m.pid)
		s.shared.Touch(h.cfg.Env.Now().UnixNano())
		h.flush(rctx, s)
		if s.drain {
			h.finish(rctx, s, room.WhyDrain)
		}
		if !m.pid.IsRunning() {
			// It died before it was watched: no Terminated will come.
			h.terminated(rctx, m.pid.Name())
		}
	}
	h.drained()
}

func (h *Host) startFailed(s *slot, err error) {
	h.remove(s)
	wait, logger := h.holdOff(s.roomID, h.retryMax(err)), h.logger
	if journalAway(err) {
		logger = h.limited
	}
	logger.Warn("room cannot be started", slog.String("room_id", s.roomID), slog.Duration("retry_after", wait), slog.Any("err", err))
	code, text := startRefusal(err)
	for _, in := range s.queue {
		room.Refuse(h.cfg.Env.Links, h.cfg.Env.Metrics, in, code, text, uint32(wait/time.Millisecond))
	}
}

// retryMax bounds the wait for another try after a start that failed with err.
func (h *Host) retryMax(err error) time.Duration {
	if journalAway(err) {
		return h.cfg.JournalRetryMax
	}
	return h.cfg.RetryMax
}

// holdOff notes a failure to run the room and returns for how long it is not tried again: limit at most, which is also as far
// as the wait grows.
func (h *Host) holdOff(roomID string, limit time.Duration) time.Duration {
	held, ok := h.holds[roomID]
	if !ok || held.fenced {
		held = &hold{}
		h.holds[roomID] = held
	}
	wait := min(h.cfg.RetryMin<<min(held.failures, 20), limit)
	if wait < limit {
		held.failures++
	}
	held.until = h.cfg.Env.Now().Add(wait)
	return wait
}

func (h *Host) holdFenced(roomID, owner string) {
	wait := h.cfg.FencedMin
	if spread := h.cfg.FencedMax - h.cfg.FencedMin; spread > 0 {
		wait += rand.N(spread)
	}
	h.holds[roomID] = &hold{until: h.cfg.Env.Now().Add(wait), fenced: true, owner: owner}
}

// flush hands the queue to the running room.
func (h *Host) flush(rctx *actor.ReceiveContext, s *slot) {
	queue := s.queue
	s.queue = nil
	for _, in := range queue {
		h.hand(rctx, s, in)
	}
}

func (h *Host) remove(s *slot) {
	h.heads.remember(s.roomID, s.shared.Acknowledged())
	delete(h.slots, s.roomID)
	if s.pid != nil {
		delete(h.byName, s.pid.Name())
	}
}

func (h *Host) moved(in *room.Inbound, owner string) {
	room.Moved(h.cfg.Env.Links, h.cfg.Env.Metrics, in, owner)
}

func (h *Host) broadcast(rctx *actor.ReceiveContext, message any) {
	for _, s := range h.slots {
		if s.state == running {
			_ = rctx.Self().Tell(context.Background(), s.pid, message) // a room that is gone needs no news
		}
	}
}

// pipe runs work in a task and brings its result back: failed's, should work panic. Neither returns an error, which GoAkt
// would lose.
func (h *Host) pipe(rctx *actor.ReceiveContext, work func() any, failed func(error) any) {
	self := rctx.Self()
	err := self.PipeTo(context.Background(), self, func() (result any, _ error) {
		defer func() {
			if p := recover(); p != nil {
				result = failed(fmt.Errorf("panic: %v", p))
			}
		}()
		return work(), nil
	})
	if err != nil {
		h.logger.Debug("host is stopping, task not started", slog.Any("err", err))
	}
}
