package hub

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/tochemey/goakt/v4/actor"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/parley-rt/parley/libs/actorkit"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/gateway/internal/route"
)

const (
	// compareEvery is how often owners are asked whether we are behind: what only the answer shows must still be read within the 5 s
	// in which members reach the head (L2). compareMost bounds the rooms in one question.
	compareEvery = 3 * time.Second
	compareMost  = 2000
	// blindEvery is how often another node is asked for the rooms of one that may have lost them.
	blindEvery = 2 * time.Second
)

// Messages to a Shard.
type (
	attachMsg struct {
		sink  Sink
		room  string
		start Start
	}
	rejoinMsg struct {
		sink Sink
		room string
		id   uint32
	}
	detachMsg struct {
		sink Sink
		room string
		last []byte
	}
	frameMsg struct {
		from   string
		frame  actorkit.Frame
		weight int64 // in the inbox
	}
	differMsg struct {
		from  string
		rooms []string
	}
	goneMsg  struct{ node string }
	lostMsg  struct{ node string }
	nodesMsg struct{}
	// droppedMsg says that the inbox has lost rooms.
	droppedMsg struct{}
	tickMsg    struct{}
	closeMsg   struct{ done chan struct{} }

	resumeMsg struct {
		topic *Topic
		sub   *sub
	}
)

// Shard is the actor that holds the topics of a share of all rooms.
type Shard struct {
	inbox   *inbox
	cfg     *Config
	router  Router
	metrics *metrics
	tracer  trace.Tracer
	logger  *slog.Logger
	now     func() time.Time
	reads   int // places for pages that are free

	self        *actor.PID
	topics      map[string]*Topic
	active      map[*Topic]struct{} // that want ticks
	waiting     []*Topic            // for a place for a page
	queued      map[*Topic]struct{} // those in waiting
	number      uint64
	nextCompare time.Time
	nextBlind   time.Time
}

// PreStart implements actor.Actor.
func (s *Shard) PreStart(*actor.Context) error {
	s.topics, s.active = map[string]*Topic{}, map[*Topic]struct{}{}
	s.queued = map[*Topic]struct{}{}
	s.number = rand.Uint64() >> 1 // late answers to another life of this node must not meet a question here
	// Nodes that start together should not ask together for ever.
	s.nextCompare = s.now().Add(time.Duration(rand.Int64N(int64(compareEvery))))
	return nil
}

// PostStop implements actor.Actor. It may run beside Receive, so whatever is to be ended is ended by closeMsg.
func (s *Shard) PostStop(*actor.Context) error { return nil }

// Receive implements actor.Actor.
func (s *Shard) Receive(rctx *actor.ReceiveContext) {
	switch m := rctx.Message().(type) {
	case *actor.PostStart:
		s.self = rctx.Self()
	case *frameMsg:
		s.inbox.release(m.weight)
		s.frame(m)
	case *droppedMsg:
		for room, from := range s.inbox.take() {
			if t := s.topics[room]; t != nil {
				s.in(t, func() { t.Lost(s.now(), from) })
			}
		}
	case *attachMsg:
		s.attach(m)
	case *detachMsg:
		s.detach(m)
	case *rejoinMsg:
		if t := s.topics[m.room]; t != nil {
			s.in(t, func() { t.Rejoin(m.sink, m.id) })
		}
	case *resumeMsg:
		s.in(m.topic, func() { m.topic.Resume(s.now(), m.sub) })
	case *tickMsg:
		s.tick()
	case *differMsg:
		for _, room := range m.rooms {
			if t := s.topics[room]; t != nil {
				s.in(t, func() { t.Differs(s.now(), m.from) })
			}
		}
	case *lostMsg:
		s.each(func(t *Topic) { t.Lost(s.now(), m.node) })
	case *goneMsg:
		s.each(func(t *Topic) { t.Gone(s.now(), m.node) })
	case *closeMsg:
		for _, t := range s.topics {
			s.drop(t)
		}
		close(m.done)
	case *nodesMsg:
		s.each(func(t *Topic) {
			if n := t.Node(); n != "" && !s.router.Has(n) {
				t.Gone(s.now(), n)
			}
		})
	default:
		rctx.Unhandled()
	}
}

// in runs something on one topic. A fault in it costs the connections of that room a reconnect and nobody else (S9).
func (s *Shard) in(t *Topic, do func()) {
	defer func() {
		if p := recover(); p != nil {
			s.metrics.failed.Add(context.Background(), 1)
			s.logger.Error("fault in a room's fan-out; its connections are closed to resume", "room_id", t.room, "err", fmt.Sprint(p), "stack", string(debug.Stack()))
			t.Fail()
			s.drop(t)
		}
	}()
	do()
	if t.sent > 0 {
		s.metrics.delivered(t.sent)
		t.sent = 0
	}
	if t.Busy() {
		s.active[t] = struct{}{}
	}
}

func (s *Shard) each(do func(t *Topic)) {
	for _, t := range s.topics {
		s.in(t, func() { do(t) })
	}
}

func (s *Shard) attach(m *attachMsg) {
	t := s.topics[m.room]
	if t == nil {
		t = NewTopic(m.room, s.cfg, s)
		s.topics[m.room] = t
		s.metrics.topics.Add(context.Background(), 1)
	}
	s.in(t, func() { t.Attach(s.now(), m.sink, m.start) })
}

func (s *Shard) detach(m *detachMsg) {
	t := s.topics[m.room]
	if t == nil {
		if m.last != nil {
			m.sink.Send(m.last)
		}
		return
	}
	s.in(t, func() { t.Detach(s.now(), m.sink, m.last) })
}

// drop forgets a topic. Its connections that are still there would get nothing any more: see Topic.Fail.
func (s *Shard) drop(t *Topic) {
	if s.topics[t.room] != t {
		return
	}
	t.Close()
	delete(s.topics, t.room)
	delete(s.active, t)
	s.metrics.topics.Add(context.Background(), -1)
}

func (s *Shard) frame(m *frameMsg) {
	f, err := route.Decode(m.frame)
	if err != nil {
		s.logger.Warn("frame of a rooms node cannot be read", "peer", m.from, "err", err)
		return
	}
	t := s.topics[f.GetRoomId()]
	if t == nil {
		s.stray(m.from, f)
		return
	}
	now := s.now()
	s.in(t, func() {
		switch k := f.GetKind().(type) {
		case *roomv1.Frame_Deliver:
			s.deliver(now, t, m, k.Deliver)
		case *roomv1.Frame_Signalled:
			s.metrics.signalled(t.Signal(k.Signalled))
		case *roomv1.Frame_Page:
			t.Page(now, f.GetRequest(), k.Page)
		case *roomv1.Frame_Subscribed:
			t.Subscribed(now, m.from, f.GetRequest(), k.Subscribed)
		case *roomv1.Frame_MembersChanged:
			s.metrics.came(t.MembersChanged(k.MembersChanged))
		case *roomv1.Frame_Evicted:
			s.evicted(k.Evicted, t.Evicted(now, m.from, f.GetRequest(), k.Evicted))
		case *roomv1.Frame_Closed:
			t.Closed(now, m.from, k.Closed)
		case *roomv1.Frame_Moved:
			t.Moved(now, m.from, f.GetRequest(), k.Moved.GetOwner())
		case *roomv1.Frame_Refused:
			t.Refused(now, f.GetRequest(), k.Refused)
		}
	})
}

func (s *Shard) deliver(now time.Time, t *Topic, m *frameMsg, d *roomv1.Deliver) {
	_, span := actorkit.StartFrameSpan(context.Background(), s.tracer, "deliver", m.frame)
	made := t.Deliver(now, m.from, d)
	if span.IsRecording() {
		span.SetAttributes(attribute.String("messaging.destination.name", t.room), attribute.Int("parley.deliveries", made))
	}
	span.End()
	if at := d.GetAcceptedAt(); at != nil && made > 0 {
		s.metrics.delayed(s.now().Sub(at.AsTime()))
	}
}

func (s *Shard) evicted(e *roomv1.Evicted, out map[clientv1.EvictionReason]int) {
	for reason, n := range out {
		s.metrics.evictions.Add(context.Background(), int64(n), s.metrics.evictedFor[reason])
	}
	if at := e.GetRuledAt(); at != nil && len(out) > 0 {
		s.metrics.eviction.Record(context.Background(), max(s.now().Sub(at.AsTime()), 0).Seconds())
	}
}

// stray deals with a frame for a room that nobody here is in: a subscription that survived its Unsubscribe is ended.
func (s *Shard) stray(from string, f *roomv1.Frame) {
	if f.GetDeliver() != nil || f.GetSubscribed() != nil {
		_ = s.router.SendTo(from, &roomv1.Frame{RoomId: f.GetRoomId(), Kind: &roomv1.Frame_Unsubscribe{Unsubscribe: &roomv1.Unsubscribe{}}})
	}
}

func (s *Shard) tick() {
	now := s.now()
	for t := range s.active {
		if t.Empty(now) {
			s.drop(t)
			continue
		}
		s.in(t, func() { t.Tick(now) })
		if !t.Busy() {
			delete(s.active, t)
		}
	}
	if !now.Before(s.nextCompare) {
		s.nextCompare = now.Add(compareEvery)
		s.compare()
	}
	if !now.Before(s.nextBlind) {
		s.nextBlind = now.Add(blindEvery)
		s.leaveBlind(now)
	}
}

// compare asks every owner whether its rooms are ahead of what we have (L2). Rooms that changed are always named; the
// others as far as there is place, in turns.
func (s *Shard) compare() {
	byNode := map[string][]*roomv1.RoomHead{}
	quiet := map[string][]*roomv1.RoomHead{}
	for _, t := range s.topics {
		node := t.Node()
		if node == "" {
			continue
		}
		if head, changed := t.Compare(); changed {
			byNode[node] = append(byNode[node], head)
		} else {
			quiet[node] = append(quiet[node], head)
		}
	}
	for node, heads := range quiet {
		// Map order is random, which is turn enough.
		room := max(0, compareMost-len(byNode[node]))
		byNode[node] = append(byNode[node], heads[:min(len(heads), room)]...)
	}
	for node, heads := range byNode {
		// A question that is lost is asked again with the next.
		_ = s.router.SendTo(node, &roomv1.Frame{Kind: &roomv1.Frame_CompareHeads{CompareHeads: &roomv1.CompareHeads{Rooms: heads}}})
	}
}

// leaveBlind asks other nodes for the rooms of nodes that may have lost them without knowing.
func (s *Shard) leaveBlind(now time.Time) {
	blind := map[string]bool{}
	for _, t := range s.topics {
		node := t.Node()
		if node == "" {
			continue
		}
		is, known := blind[node]
		if !known {
			is = s.router.Blind(node)
			blind[node] = is
		}
		if is {
			s.in(t, func() { t.Gone(now, node) })
		}
	}
}
