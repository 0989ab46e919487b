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
	// disowning are the askers for rooms that are looked at before they are sent on; the node's meter counts their frames.
	disowning map[string][]*room.Inbound
	heads     *heads

	starts, stops int
	startQueue    startQueue
	finishQueue   []*slot
	stopQueue     []*slot
	finishing     int
	// Numbers activations: the name of one that is going away must not be used again yet.
	activations uint64

	// Rooms on their way to other nodes: those that were offered, by number, and those that wait for a place.
	moves                 map[uint64]*slot
	moveQueue, pauseQueue []*slot
	preloading, paused    int
	moveNumber            uint64
	pacer                 pacer
	// distrusted nodes let a hand-over hang; until when they get no more.
	distrusted map[string]time.Time
	tallies    map[room.MoveReason]*tally
	balance    balance
	// calmUntil is how long rooms stay where they are after something went wrong.
	calmUntil time.Time

	// Rooms on their way to this node.
	warm    *warmStore
	reading int

	draining []chan struct{}
	// moveUntil is when a drain stops to hand rooms over and releases them.
	moveUntil time.Time
}

// New returns the host of a node.
func New(cfg Config) *Host {
	cfg = cfg.WithDefaults()
	return &Host{
		cfg:       cfg,
		logger:    cfg.Env.Logger,
		limited:   opskit.RateLimited(cfg.Env.Logger),
		slots:     make(map[string]*slot),
		byName:    make(map[string]*slot),
		holds:     make(map[string]*hold),
		disowning: make(map[string][]*room.Inbound),
		heads:     newHeads(cfg.Heads),

		moves:      make(map[uint64]*slot),
		distrusted: make(map[string]time.Time),
		tallies:    make(map[room.MoveReason]*tally),
		balance:    newBalance(cfg),
		pacer:      newPacer(cfg.Pauses),
		warm:       newWarmStore(cfg.WarmRooms, cfg.WarmBytes, cfg.WarmFor),
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
	case *disowned:
		for _, in := range h.disowning[m.roomID] {
			h.sendOn(in, "")
		}
		delete(h.disowning, m.roomID)
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
		h.peerLost(rctx, m.Node)
	case *room.NodeLost:
		h.broadcast(rctx, m)
		h.peerLost(rctx, m.Node)
	case *room.PeerFrame:
		h.peerFrame(rctx, m)
	case *preloadResult:
		h.wasRead(rctx, m)
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
	switch {
	case s.state == running:
		h.hand(rctx, s, in)
	case s.gone:
		h.sendOn(in, s.owner)
	default:
		h.enqueue(s, in)
	}
}

// admit makes a slot for a room that is not here, unless the frame is answered another way.
func (h *Host) admit(rctx *actor.ReceiveContext, in *room.Inbound) *slot {
	held := h.held(in.Frame.RoomId)
	switch {
	case held != nil && held.why != heldFailed:
		h.sendOn(in, held.owner)
		return nil
	case in.Unanswered():
		h.sendOn(in, "")
		return nil
	case len(h.draining) > 0:
		h.disown(rctx, in)
		return nil
	case held != nil:
		room.Refuse(h.cfg.Env.Links, h.cfg.Env.Metrics, in, codeUnavailable, "the room cannot be started at the moment",
			uint32(held.until.Sub(h.cfg.Env.Now())/time.Millisecond)+1)
		return nil
	}
	s := h.newSlot(in.Frame.RoomId)
	h.startQueue.push(s, urgencyOf(in))
	h.startMore(rctx)
	return s
}

// held returns what keeps a room from being started now; nil: nothing.
func (h *Host) held(roomID string) *hold {
	held, ok := h.holds[roomID]
	if !ok || !held.until.After(h.cfg.Env.Now()) {
		return nil
	}
	if held.why == heldGiven {
		if link, known := h.cfg.Env.Links.Link(held.owner); !known || !link.Up || link.Blind {
			return nil
		}
	}
	return held
}

func (h *Host) newSlot(roomID string) *slot {
	s := &slot{roomID: roomID, shared: room.NewSlot(h.cfg.QueueBytes, h.heads.of(roomID))}
	h.slots[roomID] = s
	return s
}

// urgencyOf tells how soon a room should start for the sake of a frame.
func urgencyOf(in *room.Inbound) urgency {
	if _, ok := in.Frame.Kind.(*roomv1.Frame_Subscribe); ok {
		return subscribedOnly
	}
	return askedFor
}

func (h *Host) enqueue(s *slot, in *room.Inbound) {
	if len(s.queue) >= h.cfg.StartQueue {
		room.Refuse(h.cfg.Env.Links, h.cfg.Env.Metrics, in, codeBusy, "too much is waiting for the room to start", busyRetryAfter)
		return
	}
	s.queue = append(s.queue, in)
	if s.state == waitingStart {
		h.startQueue.raise(s, urgencyOf(in))
	}
}

func (h *Host) hand(rctx *actor.ReceiveContext, s *slot, in *room.Inbound) {
	s.shared.Touch(h.cfg.Env.Now().UnixNano())
	if err := rctx.Self().Tell(context.Background(), s.pid, in); err != nil {
		// It has crashed and Terminated is on its way.
		h.enqueue(s, in)
	}
}

// startMore starts what waits for a place. Rooms that were handed over have some more places: their number is bounded by
// what the nodes that give them have under way.
func (h *Host) startMore(rctx *actor.ReceiveContext) {
	for h.starts < h.cfg.Starts || h.starts < h.cfg.Starts+h.cfg.Pauses && h.startQueue.first() == givenFirst {
		s := h.startQueue.pop()
		if s == nil {
			return
		}
		h.starts++
		s.state = starting
		h.activations++
		name := names.Room(s.roomID) + "." + strconv.FormatUint(h.activations, 36)
		w := wish{slot: s, name: name, gift: s.gift, warm: h.warm.take(s.roomID)}
		if held, ok := h.holds[s.roomID]; ok && held.why == heldFenced {
			w.rival, w.rivalSeq = held.owner, held.seq
		}
		if s.gift != nil {
			s.shared.RaiseAcknowledged(s.gift.acknowledged)
		}
		self, cfg := rctx.Self(), h.cfg
		h.pipe(rctx, func() any { return start(self, cfg, w) }, func(err error) any { return &startResult{wish: w, err: err} })
	}
}

// started goes on after the task that looked at the room.
func (h *Host) started(rctx *actor.ReceiveContext, m *startResult) {
	s := m.slot
	h.starts--
	switch {
	case m.moved && s.gift != nil && s.gift != m.gift:
		// It was handed over meanwhile.
		s.state = waitingStart
		h.startQueue.push(s, givenFirst)
	case m.moved:
		h.answerGift(s, errNotOurs)
		h.remove(s)
		if m.writes > 0 {
			h.holdOn(s.roomID, heldFenced, m.owner, m.writes)
		}
		for _, in := range s.queue {
			h.sendOn(in, m.owner)
		}
	case m.err != nil:
		h.answerGift(s, m.err)
		h.startFailed(s, m.err)
	default:
		// A hold stays in memory for a while: a room that starts and crashes again waits longer each time.
		s.state, s.pid = running, m.pid
		h.byName[m.pid.Name()] = s
		rctx.Watch(m.pid)
		s.since = h.cfg.Env.Now()
		s.shared.Touch(s.since.UnixNano())
		h.catchUp(rctx, s)
		h.answerGift(s, nil)
		h.flush(rctx, s)
		if len(h.draining) > 0 {
			h.giveAway(s)
		}
		if !m.pid.IsRunning() {
			// It died before it was watched: no Terminated will come.
			h.terminated(rctx, m.pid.Name())
		}
	}
	h.startMore(rctx)
	h.giveMore(rctx)
	h.drained()
}

func (h *Host) startFailed(s *slot, err error) {
	h.remove(s)
	wait, logger := h.holdOff(s.roomID, h.retryMax(err)), h.logger
	if journalAway(err) {
		logger = h.limited
		h.calm()
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
	if !ok || held.why != heldFailed {
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

// holdOn leaves a room to its new owner for a random while, so that two nodes do not take it from each other in turns (L6).
func (h *Host) holdOn(roomID string, why holdReason, owner string, seq uint64) {
	wait := h.cfg.FencedMin
	if spread := h.cfg.FencedMax - h.cfg.FencedMin; spread > 0 {
		wait += rand.N(spread)
	}
	h.holds[roomID] = &hold{why: why, until: h.cfg.Env.Now().Add(wait), owner: owner, seq: seq}
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

// sendOn answers a frame for a room that is not here.
func (h *Host) sendOn(in *room.Inbound, owner string) {
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
