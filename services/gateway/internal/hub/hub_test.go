package hub

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-rt/parley/libs/actorkit"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/gateway/internal/route"
	"github.com/parley-rt/parley/services/gateway/internal/ws"
)

const patience = 10 * time.Second

// upstream answers for all rooms nodes and records what the hub says.
type upstream struct {
	hub   *Hub
	mu    sync.Mutex
	seen  []*roomv1.Frame
	to    []string
	gone  map[string]bool
	blind map[string]bool
	epoch atomic.Uint64
	last  atomic.Uint64 // of the room's messages; pages are made up as far as that
}

func (u *upstream) Send(f *roomv1.Frame, _ actorkit.Frame, avoid []string) (string, error) {
	node := "rooms-1"
	if len(avoid) > 0 && avoid[0] == node || u.is(u.gone, node) {
		node = "rooms-2"
	}
	return node, u.SendTo(node, f)
}

func (u *upstream) is(what map[string]bool, node string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return what[node]
}

func (u *upstream) SendTo(node string, f *roomv1.Frame) error {
	u.mu.Lock()
	u.seen = append(u.seen, proto.CloneOf(f))
	u.to = append(u.to, node)
	u.mu.Unlock()
	if f.GetSubscribe() != nil {
		u.say(node, &roomv1.Frame{RoomId: f.GetRoomId(), Request: f.GetRequest(), Kind: &roomv1.Frame_Subscribed{Subscribed: &roomv1.Subscribed{
			Epoch: u.epoch.Add(1), Incarnation: 1, Head: u.last.Load(), LastMessageSeq: u.last.Load(),
		}}})
	}
	if r := f.GetRead(); r != nil && u.last.Load() > 0 {
		p := &roomv1.Page{Epoch: u.epoch.Load(), Incarnation: 1, Head: u.last.Load()}
		for seq := r.GetAfterSeq() + 1; seq <= u.last.Load() && len(p.Messages) < int(r.GetLimit()); seq++ {
			p.Messages = append(p.Messages, &roomv1.Message{Seq: seq, PrevSeq: seq - 1, Content: strconv.FormatUint(seq, 10)})
		}
		u.say(node, &roomv1.Frame{RoomId: f.GetRoomId(), Request: f.GetRequest(), Kind: &roomv1.Frame_Page{Page: p}})
	}
	return nil
}

func (u *upstream) SetOwner(string, string) {}
func (u *upstream) Has(node string) bool    { return !u.is(u.gone, node) }
func (u *upstream) Blind(node string) bool  { return u.is(u.blind, node) }

func (u *upstream) say(node string, f *roomv1.Frame) {
	body, err := proto.Marshal(f)
	if err != nil {
		panic(err)
	}
	u.hub.Frame(route.Hash(f.GetRoomId()), node, actorkit.Frame{Body: body})
}

// subscribed waits until the nth Subscribe and says where it went.
func (u *upstream) subscribed(t testing.TB, n int) (node string) {
	t.Helper()
	require.Eventually(t, func() bool {
		u.mu.Lock()
		defer u.mu.Unlock()
		found := 0
		for i, f := range u.seen {
			if f.GetSubscribe() != nil {
				if found++; found == n {
					node = u.to[i]
				}
			}
		}
		return found >= n
	}, patience, time.Millisecond)
	return node
}

// saw waits for a frame.
func (u *upstream) saw(t testing.TB, ok func(f *roomv1.Frame) bool) {
	t.Helper()
	require.Eventually(t, func() bool {
		u.mu.Lock()
		defer u.mu.Unlock()
		for _, f := range u.seen {
			if ok(f) {
				return true
			}
		}
		return false
	}, patience, time.Millisecond)
}

// live waits until a room's subscription was answered: the report of who is online follows it.
func (u *upstream) live(t testing.TB, room string) {
	t.Helper()
	u.saw(t, func(f *roomv1.Frame) bool { return f.GetOnline().GetFull() && f.GetRoomId() == room })
}

// messages is a Sink that hands messages to a channel.
type messages struct {
	got   chan string
	fault bool
	code  atomic.Int32
	// hold, unless nil, keeps the shard in Offer until it is closed; entered is told of the first.
	hold, entered chan struct{}
}

func (m *messages) Codec() codec.Codec { return codec.JSON{} }

func (m *messages) Send(f []byte) bool {
	if m.fault {
		panic("as if")
	}
	env, err := codec.DecodeJSON(unframe(f))
	if err != nil {
		panic(err)
	}
	m.got <- codec.Kind(env) + " " + env.GetMessage().GetContent() + env.GetSignal().GetContent()
	return true
}

func (m *messages) SendAll(fs [][]byte) bool {
	for _, f := range fs {
		m.Send(f)
	}
	return true
}

func (m *messages) Offer(fs [][]byte, _ int, _ ws.Waiter) int {
	if m.hold != nil {
		select {
		case m.entered <- struct{}{}:
		default:
		}
		<-m.hold
	}
	m.SendAll(fs)
	return len(fs)
}

func (m *messages) CloseWith(code clientv1.CloseCode) { m.code.Store(int32(code)) }

func (m *messages) expect(t testing.TB, want string) {
	t.Helper()
	select {
	case got := <-m.got:
		require.Equal(t, want, got)
	case <-time.After(patience):
		require.FailNow(t, "did not come", want)
	}
}

// clock is set by hand.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(0, c.at.Load()) }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }

func startHub(t testing.TB, cfg ...Config) (*Hub, *upstream, *clock) {
	t.Helper()
	return startMeasuredHub(t, metricnoop.NewMeterProvider(), cfg...)
}

func startMeasuredHub(t testing.TB, meters metric.MeterProvider, cfg ...Config) (*Hub, *upstream, *clock) {
	t.Helper()
	sys, err := actorkit.StartLocal(context.Background(), "hub", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sys.Stop(context.Background())) })
	u := &upstream{gone: map[string]bool{}, blind: map[string]bool{}}
	c := &clock{}
	c.at.Store(1e18)
	u.hub, err = New(context.Background(), append(cfg, Config{})[0], Deps{
		System: sys, Router: u, Logger: slog.New(slog.DiscardHandler), Now: c.now,
		MeterProvider: meters, TracerProvider: tracenoop.NewTracerProvider(),
	})
	require.NoError(t, err)
	return u.hub, u, c
}

func (u *upstream) deliver(room string, epoch, seq uint64, content string) {
	u.say("rooms-1", &roomv1.Frame{RoomId: room, Kind: &roomv1.Frame_Deliver{Deliver: &roomv1.Deliver{
		Epoch: epoch, Messages: []*roomv1.Message{{Seq: seq, PrevSeq: seq - 1, Content: content}}, AcceptedAt: timestamppb.Now(),
	}}})
}

func attach(h *Hub, room, member string) *messages {
	m := &messages{got: make(chan string, 100)}
	h.Attach(m, room, Start{Member: member, Incarnation: 1})
	return m
}

func TestHubDelivers(t *testing.T) {
	t.Parallel()
	h, u, _ := startHub(t)
	a, b := attach(h, "r", "a"), attach(h, "r", "b")
	u.live(t, "r")
	u.deliver("r", 1, 1, "one")
	a.expect(t, "message one")
	b.expect(t, "message one")
	u.say("rooms-1", &roomv1.Frame{RoomId: "r", Kind: &roomv1.Frame_Signalled{Signalled: &roomv1.Signalled{Epoch: 1, Sender: "a", Content: "sig"}}})
	b.expect(t, "signal sig")
	h.Rejoin(a, "r", 3)
	a.expect(t, "room_joined ")
	h.Detach(a, "r", joinedFrame(codec.JSON{}, 1, "r", 1, 1))
	a.expect(t, "room_joined ")
	h.Detach(a, "nobody", joinedFrame(codec.JSON{}, 1, "r", 1, 1))
	a.expect(t, "room_joined ")
	u.say("rooms-1", &roomv1.Frame{RoomId: "r", Kind: &roomv1.Frame_Closed{Closed: &roomv1.Closed{Epoch: 1, Owner: "rooms-1"}}})
	u.subscribed(t, 2)
	u.say("rooms-1", &roomv1.Frame{RoomId: "elsewhere", Kind: &roomv1.Frame_Deliver{Deliver: &roomv1.Deliver{Epoch: 1}}})
	u.saw(t, func(f *roomv1.Frame) bool { return f.GetUnsubscribe() != nil && f.GetRoomId() == "elsewhere" })
	require.NoError(t, h.Close(t.Context()))
	u.saw(t, func(f *roomv1.Frame) bool { return f.GetUnsubscribe() != nil && f.GetRoomId() == "r" })
}

// S9: a fault in one room closes its connections to resume, and other rooms go on.
func TestFaultInARoom(t *testing.T) {
	t.Parallel()
	h, u, _ := startHub(t)
	bad, other := attach(h, "bad", "a"), attach(h, "other", "b")
	u.live(t, "bad")
	u.live(t, "other")
	beside := attach(h, "bad", "c")
	h.Attach(&messages{fault: true, got: make(chan string)}, "bad", Start{First: [][]byte{{}}, Incarnation: 1})
	require.Eventually(t, func() bool {
		return bad.code.Load() == 4004 && beside.code.Load() == 4004
	}, patience, time.Millisecond)
	u.mu.Lock()
	epochs := u.epoch.Load()
	u.mu.Unlock()
	for epoch := range epochs {
		u.deliver("other", epoch+1, 1, "on")
	}
	other.expect(t, "message on")
	again := attach(h, "bad", "a")
	u.subscribed(t, 3)
	u.say("rooms-1", &roomv1.Frame{RoomId: "bad", Kind: &roomv1.Frame_Signalled{Signalled: &roomv1.Signalled{Epoch: 99, Content: "x"}}})
	again.expect(t, "signal x")
}

func TestHubLeavesNodes(t *testing.T) {
	t.Parallel()
	h, u, c := startHub(t)
	attach(h, "r", "a")
	u.live(t, "r")
	require.Equal(t, "rooms-1", u.subscribed(t, 1))

	h.LinkLost("rooms-1")
	require.Equal(t, "rooms-1", u.subscribed(t, 2), "frames are missing, the node is there")
	h.LinkDown("rooms-1")
	require.Equal(t, "rooms-2", u.subscribed(t, 3))

	u.mu.Lock()
	u.gone["rooms-2"] = true
	u.mu.Unlock()
	h.NodesChanged()
	require.Equal(t, "rooms-1", u.subscribed(t, 4))

	u.mu.Lock()
	u.blind["rooms-1"] = true
	u.mu.Unlock()
	c.advance(blindEvery)
	h.Tick()
	require.Equal(t, "rooms-2", u.subscribed(t, 5))

	h.HeadsDiffer("rooms-2", []string{"r", "unknown"})
	u.subscribed(t, 6)
}

// L2: owners are asked whether they are ahead, about every room in turn and about changed ones each time.
func TestHeadsAreCompared(t *testing.T) {
	t.Parallel()
	h, u, c := startHub(t)
	for i := range 10 {
		attach(h, strconv.Itoa(i), "a")
		u.live(t, strconv.Itoa(i))
	}
	c.advance(compareEvery)
	h.Tick()
	require.Eventually(t, func() bool {
		u.mu.Lock()
		defer u.mu.Unlock()
		rooms := map[string]bool{}
		for _, f := range u.seen {
			for _, head := range f.GetCompareHeads().GetRooms() {
				rooms[head.GetRoomId()] = true
			}
		}
		return len(rooms) == 10
	}, patience, time.Millisecond)
}
