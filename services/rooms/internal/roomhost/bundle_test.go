package roomhost

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tochemey/goakt/v4/actor"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/protobuf/proto"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/libs/persistence"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/rooms/internal/room"
)

const patience = 15 * time.Second

// fakeLinks are Links to gateways that are always up. Answers go to who waits for their request number.
type fakeLinks struct {
	mu      sync.Mutex
	waiting map[uint64]chan *roomv1.Frame
	// hook may panic or fail a send.
	hook func(*roomv1.Frame) error
}

func (l *fakeLinks) Send(_ string, f actorkit.Frame) error {
	frame := new(roomv1.Frame)
	if err := proto.Unmarshal(f.Body, frame); err != nil {
		return err
	}
	l.mu.Lock()
	hook, ch := l.hook, l.waiting[frame.Request]
	delete(l.waiting, frame.Request)
	l.mu.Unlock()
	if hook != nil {
		if err := hook(frame); err != nil {
			return err
		}
	}
	if ch != nil {
		ch <- frame
	}
	return nil
}

func (l *fakeLinks) Link(string) (actorkit.LinkStatus, bool) {
	return actorkit.LinkStatus{Up: true, LastHeard: time.Now()}, true
}

func (l *fakeLinks) onSend(hook func(*roomv1.Frame) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hook = hook
}

// fakeDirectory knows every node that is looked up and lists those it is given.
type fakeDirectory struct {
	mu    sync.Mutex
	nodes []dcplane.Node
	stale bool
}

func (d *fakeDirectory) Nodes() ([]dcplane.Node, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.nodes), !d.stale
}

func (d *fakeDirectory) Lookup(string) (bool, time.Time) { return true, time.Now() }

// bundle is a host in a local system, asked directly.
type bundle struct {
	t     testing.TB
	links *fakeLinks
	meter *room.Meter
	host  *actor.PID
	next  atomic.Uint64
}

func setup(t testing.TB, journal persistence.Journal, edit ...func(*Config)) *bundle {
	t.Helper()
	b := &bundle{t: t, links: &fakeLinks{waiting: make(map[uint64]chan *roomv1.Frame)}, meter: room.NewMeter(64 << 20)}
	metrics, err := room.NewMetrics(metricnoop.NewMeterProvider(), b.meter)
	require.NoError(t, err)
	cfg := Config{
		Env: room.Env{
			Node:    "rooms-1",
			Journal: journal,
			Links:   b.links,
			Logger:  slog.New(slog.DiscardHandler),
			Metrics: metrics,
			Tracer:  tracenoop.NewTracerProvider().Tracer(""),
			Reads:   make(chan struct{}, 64),
			Now:     time.Now,
		},
		Node:      b.meter,
		Directory: &fakeDirectory{},
	}
	for _, e := range edit {
		e(&cfg)
	}
	local, err := actorkit.StartLocal(context.Background(), "rooms", nil)
	require.NoError(t, err)
	b.host, err = local.Spawn(context.Background(), "roomhost", New(cfg), actorkit.SpawnOptions()...)
	require.NoError(t, err)
	t.Cleanup(func() {
		done := make(chan struct{})
		b.tell(&Drain{Done: done})
		select {
		case <-done:
		case <-time.After(patience):
			t.Error("rooms were not drained")
		}
		require.NoError(t, local.Stop(context.Background()))
	})
	return b
}

func (b *bundle) tell(message any) {
	if err := actor.Tell(context.Background(), b.host, message); err != nil {
		b.t.Errorf("host does not take messages: %v", err)
	}
}

// start sends a request as the door does and returns where its answer will come.
func (b *bundle) start(roomID string, frame *roomv1.Frame) <-chan *roomv1.Frame {
	ch := make(chan *roomv1.Frame, 1)
	frame.RoomId, frame.Connection, frame.Request = roomID, 1, b.next.Add(1)
	b.links.mu.Lock()
	b.links.waiting[frame.Request] = ch
	b.links.mu.Unlock()
	size := proto.Size(frame)
	b.meter.Add(size)
	b.tell(room.NewInbound(actorkit.Peer{Node: "gw-1"}, frame, actorkit.Frame{}, size, b.meter, time.Now()))
	return ch
}

func (b *bundle) ask(roomID string, frame *roomv1.Frame) *roomv1.Frame {
	b.t.Helper()
	select {
	case answer := <-b.start(roomID, frame):
		return answer
	case <-time.After(patience):
		require.FailNow(b.t, "no answer")
		return nil
	}
}

func (b *bundle) join(roomID, member string) {
	b.t.Helper()
	answer := b.ask(roomID, &roomv1.Frame{Kind: &roomv1.Frame_Join{Join: &roomv1.Join{MemberId: member, SessionId: "s", Operation: 1}}})
	require.NotNil(b.t, answer.GetJoined(), "answered by %v", answer)
}

func publishFrame(member, id, content string) *roomv1.Frame {
	return &roomv1.Frame{Kind: &roomv1.Frame_Publish{Publish: &roomv1.Publish{
		MemberId: member, Drafts: []*roomv1.Draft{{MessageId: id, Content: content}},
	}}}
}
