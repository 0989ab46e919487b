package member

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/protobuf/proto"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/memory"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/gateway/internal/hub"
	"github.com/parley-rt/parley/services/gateway/internal/ws"
)

func TestWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &window{}
		w.init(nil)
		require.True(t, w.take(10*windowBytes, func() {}), "a frame always fits into an empty window")
		var order []int
		var done sync.WaitGroup
		done.Go(func() {
			require.True(t, w.take(1, func() {}))
			order = append(order, 1)
		})
		synctest.Wait()
		require.Empty(t, order)
		w.give(10 * windowBytes)
		done.Wait()
		for range windowFrames - 1 {
			require.True(t, w.take(1, func() {}))
		}
		waits := 0
		done.Go(func() { require.False(t, w.take(1, func() { waits++ }), "the window was closed") })
		synctest.Wait()
		require.Equal(t, 1, waits, "it was not told before it waits")
		w.close()
		done.Wait()
		require.False(t, w.take(1, func() {}))
	})
}

// socket records what a member writes.
type socket struct {
	mu     sync.Mutex
	frames []*clientv1.Envelope
	code   clientv1.CloseCode
	news   chan struct{}
}

func newSocket() *socket { return &socket{news: make(chan struct{}, 1000)} }

func (s *socket) Codec() codec.Codec { return codec.Binary{} }

func (s *socket) Send(f []byte) bool {
	header := 2
	if f[1] == 126 {
		header = 4
	}
	env, err := codec.DecodeBinary(f[header:])
	if err != nil {
		panic(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frames = append(s.frames, env)
	s.news <- struct{}{}
	return true
}

func (s *socket) SendPaced(f []byte) bool { return s.Send(f) }

func (s *socket) SendAll(fs [][]byte) bool {
	for _, f := range fs {
		s.Send(f)
	}
	return true
}
func (s *socket) Offer([][]byte, int, ws.Waiter) int { return 0 }
func (s *socket) GiveRoom()                          {}
func (s *socket) HasRoom(ws.Waiter) bool             { return true }

func (s *socket) CloseWith(code clientv1.CloseCode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.code == 0 {
		s.code = code
		s.news <- struct{}{}
	}
}

func (s *socket) wait(t testing.TB) *clientv1.Envelope {
	t.Helper()
	select {
	case <-s.news:
	case <-time.After(10 * time.Second):
		require.FailNow(t, "nothing was written")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.frames) == 0 {
		return nil
	}
	f := s.frames[0]
	s.frames = s.frames[1:]
	return f
}

// roomsBy answers requests at once, or panics.
type roomsBy struct {
	registry *Registry
	answer   func(f *roomv1.Frame) *roomv1.Frame
	traces   chan actorkit.Frame
}

func (r *roomsBy) Send(f *roomv1.Frame, trace actorkit.Frame, _ []string) (string, error) {
	a := r.answer(f)
	a.RoomId, a.Connection, a.Request = f.GetRoomId(), f.GetConnection(), f.GetRequest()
	body, err := proto.Marshal(a)
	if err != nil {
		return "", err
	}
	r.traces <- trace
	r.registry.Answer(f.GetConnection(), "rooms-1", actorkit.Frame{Body: body})
	return "rooms-1", nil
}

func (r *roomsBy) SetOwner(string, string) {}

// hubBy writes what attaching writes, and records.
type hubBy struct{ detached chan string }

func (h *hubBy) Attach(sink hub.Sink, _ string, start hub.Start) { sink.SendAll(start.First) }
func (h *hubBy) Rejoin(hub.Sink, string, uint32)                 {}
func (h *hubBy) Detach(_ hub.Sink, room string, _ []byte)        { h.detached <- room }

type shell struct {
	t      testing.TB
	d      *Deps
	router *roomsBy
	hub    *hubBy
	spans  *tracetest.SpanRecorder
}

func newShell(t testing.TB) *shell {
	sys, err := actorkit.StartLocal(context.Background(), "members", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sys.Stop(context.Background())) })
	s := &shell{t: t, hub: &hubBy{detached: make(chan string, 10)}, spans: tracetest.NewSpanRecorder()}
	registry := NewRegistry()
	s.router = &roomsBy{registry: registry, traces: make(chan actorkit.Frame, 100), answer: func(f *roomv1.Frame) *roomv1.Frame {
		if f.GetJoin() != nil {
			return &roomv1.Frame{Kind: &roomv1.Frame_Joined{Joined: &roomv1.Joined{Head: 1, Cursor: 1, Epoch: 1}}}
		}
		return &roomv1.Frame{Kind: &roomv1.Frame_Refused{Refused: refused(clientv1.ErrorCode_ERROR_CODE_BUSY)}}
	}}
	s.d = &Deps{
		System: sys, Router: s.router, Hub: s.hub, Registry: registry, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
		Gate:           NewGate(GateConfig{}, time.Now),
		Sessions:       NewSessions(memory.New(memory.Options{}), time.Hour, NewGuest),
		MeterProvider:  metricnoop.NewMeterProvider(),
		TracerProvider: trace.NewTracerProvider(trace.WithSpanProcessor(s.spans)),
	}
	require.NoError(t, s.d.Init(context.Background()))
	return s
}

// connection is a member without a WebSocket.
type connection struct {
	Member
	s      *shell
	socket *socket
}

func (s *shell) connect() *connection {
	s.t.Helper()
	c := &connection{s: s, socket: newSocket()}
	c.init(s.d, c.socket)
	require.True(s.t, s.d.Registry.add(&c.Member))
	return c
}

func (c *connection) close() { c.tell(&closedMsg{to{&c.Member}}) }

// gone says that the registry has forgotten a connection.
func (c *connection) gone() bool {
	shard := c.s.d.Registry.shard(c.number)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	return shard.byConn[c.number] == nil
}

func (c *connection) send(text string) {
	env, err := codec.DecodeJSON([]byte(text))
	require.NoError(c.s.t, err)
	require.True(c.s.t, c.window.take(1, func() {}))
	msg := &commandMsg{to{&c.Member}, Command{Env: env, Bytes: 1, At: time.Now()}}
	msg.cmd.Span = c.s.d.span(&msg.cmd)
	require.True(c.s.t, c.tell(msg))
}

func TestTracesGoThrough(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	c := s.connect()
	c.send(`{"join_room":{"room_id":"r"}}`)
	require.NotNil(t, c.socket.wait(t).GetSession())
	require.NotNil(t, c.socket.wait(t).GetRoomJoined())
	<-s.router.traces
	const id = "0af7651916cd43dd8448eb211c80319c"
	c.send(`{"message":{"target":"r","traceparent":"00-` + id + `-b7ad6b7169203331-01"}}`)
	e := c.socket.wait(t).GetError()
	require.Equal(t, "BUSY", e.GetCode())
	require.Equal(t, id, e.GetTraceId(), "the client can name the trace of what failed")
	require.Contains(t, (<-s.router.traces).Traceparent, id, "and rooms nodes go on with it")
	require.Eventually(t, func() bool {
		for _, span := range s.spans.Ended() {
			if span.Name() == "client message" && span.SpanContext().TraceID().String() == id {
				return span.Parent().SpanID().String() == "b7ad6b7169203331"
			}
		}
		return false
	}, 10*time.Second, time.Millisecond)
}

// S9: a fault in one member closes its connection to resume; its streams end, and others of the same shard notice nothing.
func TestFaultInAMember(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	c := s.connect()
	other := s.connect()
	for other.shard() != c.shard() {
		other = s.connect()
	}
	c.send(`{"join_room":{"room_id":"r"}}`)
	require.NotNil(t, c.socket.wait(t).GetSession())
	require.NotNil(t, c.socket.wait(t).GetRoomJoined())
	answer := s.router.answer
	s.router.answer = func(f *roomv1.Frame) *roomv1.Frame {
		if f.GetPublish() != nil {
			panic("as if")
		}
		return answer(f)
	}
	c.send(`{"message":{"target":"r"}}`)
	require.Nil(t, c.socket.wait(t))
	require.Equal(t, clientv1.CloseCode_CLOSE_CODE_INTERNAL, c.socket.code)
	require.False(t, c.window.take(1, func() {}))
	c.tell(&tickMsg{to{&c.Member}})
	c.close()
	require.Equal(t, "r", <-s.hub.detached)
	require.Eventually(t, c.gone, 10*time.Second, time.Millisecond)
	other.send(`{"ping":{}}`)
	require.NotNil(t, other.socket.wait(t).GetSession())
	require.NotNil(t, other.socket.wait(t).GetPong())
	other.close()
	require.Eventually(t, func() bool { return len(s.d.Registry.held()) == 0 }, 10*time.Second, time.Millisecond)
}

// storeBy panics where it is told to.
type storeBy struct {
	Store
	open, save bool
}

func (s *storeBy) CreateSession(ctx context.Context, id persistence.SessionID, h persistence.TokenHash, member string, ttl time.Duration) (persistence.Session, error) {
	if s.open {
		panic("as if")
	}
	return s.Store.CreateSession(ctx, id, h, member, ttl)
}

func (s *storeBy) SaveSessionRooms(ctx context.Context, id persistence.SessionID, generation uint64, rooms []string, ttl time.Duration) error {
	if s.save {
		panic("as if")
	}
	return s.Store.SaveSessionRooms(ctx, id, generation, rooms, ttl)
}

// S9: the session store is asked beside the actor; a fault there ends one connection and not the process.
func TestFaultInATask(t *testing.T) {
	t.Parallel()
	for _, store := range []*storeBy{{open: true}, {save: true}} {
		s := newShell(t)
		store.Store = memory.New(memory.Options{})
		s.d.Sessions = NewSessions(store, time.Hour, NewGuest)
		c := s.connect()
		c.send(`{"join_room":{"room_id":"r"}}`)
		if store.save {
			require.NotNil(t, c.socket.wait(t).GetSession())
		}
		require.Nil(t, c.socket.wait(t))
		require.Equal(t, clientv1.CloseCode_CLOSE_CODE_INTERNAL, c.socket.code)
		require.False(t, c.window.take(1, func() {}))
	}
}

// Each connection is told of a drain, also one that is just being opened.
func TestDrainMeetsOpeningConnections(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	r := s.d.Registry
	early := s.connect()
	const opening = 20
	var started, all sync.WaitGroup
	started.Add(opening)
	sockets := make([]*socket, opening)
	for i := range sockets {
		sockets[i] = newSocket()
		all.Go(func() {
			started.Done()
			m := &Member{}
			m.init(s.d, sockets[i])
			if !r.add(m) {
				t.Error("nobody takes turns")
			}
		})
	}
	started.Wait()
	r.Drain(func() uint32 { return 7 }, 1, func() {})
	all.Wait()
	for _, socket := range append(sockets, early.socket) {
		require.Equal(t, uint32(7), socket.wait(t).GetReconnect().GetAfterMs())
		socket.wait(t)
		require.Equal(t, clientv1.CloseCode_CLOSE_CODE_DRAIN, socket.code)
	}
}

// lateStore answers once it is let.
type lateStore struct {
	Store
	asked, answer chan struct{}
}

func (s *lateStore) CreateSession(ctx context.Context, id persistence.SessionID, token persistence.TokenHash, member string, ttl time.Duration) (persistence.Session, error) {
	close(s.asked)
	<-s.answer
	return s.Store.CreateSession(ctx, id, token, member, ttl)
}

// A session that is opened too late for its connection is nobody's: it must not be kept alive for ever.
func TestSessionThatComesTooLateIsNotKept(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	store := &lateStore{Store: memory.New(memory.Options{}), asked: make(chan struct{}), answer: make(chan struct{})}
	s.d.Sessions = NewSessions(store, time.Hour, NewGuest)
	var late atomic.Bool
	s.d.Now = func() time.Time {
		if late.Load() {
			return time.Now().Add(time.Minute)
		}
		return time.Now()
	}
	c := s.connect()
	c.send(`{"ping":{}}`)
	<-store.asked
	late.Store(true)
	c.tell(&tickMsg{to{&c.Member}})
	require.Nil(t, c.socket.wait(t))
	require.Equal(t, clientv1.CloseCode_CLOSE_CODE_INTERNAL, c.socket.code)
	close(store.answer)
	require.Never(t, func() bool { return len(s.d.Registry.held()) > 0 }, 200*time.Millisecond, time.Millisecond, "a closed connection took the session")
	c.close()
	require.Eventually(t, c.gone, 10*time.Second, time.Millisecond)
	require.Empty(t, s.d.Registry.held())
}
