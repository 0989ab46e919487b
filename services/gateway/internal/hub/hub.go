package hub

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/tochemey/goakt/v4/actor"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/protocol/names"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/gateway/internal/route"
)

// nodeReads bounds the pages all shards together may have on their way: at most as many MiB.
const nodeReads = 64

// Router is what the hub needs of route.Router.
type Router interface {
	Send(f *roomv1.Frame, trace actorkit.Frame, avoid []string) (string, error)
	SendTo(node string, f *roomv1.Frame) error
	SetOwner(room, node string)
	Has(node string) bool
	Blind(node string) bool
}

// Deps are the hub's collaborators; all are required.
type Deps struct {
	System         actor.ActorSystem
	Router         Router
	Logger         *slog.Logger
	MeterProvider  metric.MeterProvider
	TracerProvider trace.TracerProvider
	Now            func() time.Time
}

// Hub spreads rooms over shards. Methods are safe for concurrent use and return at once; those of one caller about one
// room take effect in order.
type Hub struct {
	shards  []*actor.PID
	inboxes []*inbox // of the shards
	metrics *metrics
}

// New starts the shards; they stop with the system.
func New(ctx context.Context, cfg Config, deps Deps) (*Hub, error) {
	m, err := newMetrics(deps.MeterProvider)
	if err != nil {
		return nil, fmt.Errorf("create instruments: %w", err)
	}
	cfg = cfg.withDefaults()
	n := runtime.GOMAXPROCS(0)
	h := &Hub{metrics: m}
	for i := range n {
		box := &inbox{limit: int64(cfg.WaitingBytes)}
		s := &Shard{
			inbox: box, cfg: &cfg, router: deps.Router, metrics: m, logger: deps.Logger, now: deps.Now,
			tracer: deps.TracerProvider.Tracer("github.com/parley-rt/parley/services/gateway/internal/hub"),
			reads:  max(1, nodeReads/n),
		}
		pid, err := deps.System.Spawn(ctx, fmt.Sprintf("%s-%d", names.Hub, i), s, actorkit.SpawnOptions()...)
		if err != nil {
			return nil, fmt.Errorf("start hub shard %d: %w", i, err)
		}
		h.shards, h.inboxes = append(h.shards, pid), append(h.inboxes, box)
	}
	return h, nil
}

// Attach begins or restarts a connection's stream in a room.
func (h *Hub) Attach(sink Sink, room string, start Start) {
	h.tell(route.Hash(room), &attachMsg{sink, room, start})
}

// Rejoin answers a join_room that changes nothing.
func (h *Hub) Rejoin(sink Sink, room string, id uint32) {
	h.tell(route.Hash(room), &rejoinMsg{sink, room, id})
}

// Detach ends a connection's stream; last, unless nil, is sent behind it.
func (h *Hub) Detach(sink Sink, room string, last []byte) {
	h.tell(route.Hash(room), &detachMsg{sink, room, last})
}

// Frame implements route.Hub. Messages that find too much waiting are dropped and read again later: see inbox.
func (h *Hub) Frame(hash uint32, from string, f actorkit.Frame) {
	weight, ok, tell := h.inboxes[int(hash%uint32(len(h.inboxes)))].admit(f, from)
	if ok {
		h.tell(hash, &frameMsg{from, f, weight})
		return
	}
	h.metrics.dropped.Add(context.Background(), 1)
	if tell {
		h.tell(hash, &droppedMsg{})
	}
}

// HeadsDiffer implements route.Hub.
func (h *Hub) HeadsDiffer(from string, rooms []string) {
	byShard := make([][]string, len(h.shards))
	for _, room := range rooms {
		i := int(route.Hash(room) % uint32(len(h.shards)))
		byShard[i] = append(byShard[i], room)
	}
	for i, rooms := range byShard {
		if len(rooms) > 0 {
			h.tell(uint32(i), &differMsg{from, rooms})
		}
	}
}

// LinkDown implements route.Hub.
func (h *Hub) LinkDown(node string) { h.all(&goneMsg{node}) }

// LinkLost implements route.Hub.
func (h *Hub) LinkLost(node string) { h.all(&lostMsg{node}) }

// NodesChanged says that the directory's rooms nodes changed.
func (h *Hub) NodesChanged() { h.all(&nodesMsg{}) }

// Tick is the hub's clock; it wants one about every 100 ms.
func (h *Hub) Tick() { h.all(&tickMsg{}) }

// Close ends all subscriptions; it returns when that is queued on the Links, or ctx ends.
func (h *Hub) Close(ctx context.Context) error {
	for i := range h.shards {
		m := &closeMsg{done: make(chan struct{})}
		if err := actor.Tell(ctx, h.shards[i], m); err != nil {
			return fmt.Errorf("close hub shard %d: %w", i, err)
		}
		select {
		case <-m.done:
		case <-ctx.Done():
			return fmt.Errorf("close hub shard %d: %w", i, ctx.Err())
		}
	}
	return nil
}

func (h *Hub) all(m any) {
	for i := range h.shards {
		h.tell(uint32(i), m)
	}
}

// tell gives a message to a shard. It fails only when the system stops, and with it everything that could be told.
func (h *Hub) tell(hash uint32, m any) {
	_ = actor.Tell(context.Background(), h.shards[int(hash%uint32(len(h.shards)))], m)
}
