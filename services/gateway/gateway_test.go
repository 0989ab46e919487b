package gateway

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/actorkit/actorkittest"
	"github.com/parley-rt/parley/libs/dcplane"
	dcmemory "github.com/parley-rt/parley/libs/dcplane/memory"
	"github.com/parley-rt/parley/libs/opskit"
	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/memory"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// bundle is a gateway between real clients and scripted rooms nodes.
type bundle struct {
	t       testing.TB
	service *Service
	rooms   []*fakeRooms
	journal *journal
	backend persistence.Backend
	plane   *dcmemory.Plane
	dir     dcplane.Directory
	health  *opskit.Health
	logger  *slog.Logger // nil: nothing is logged
	http    *http.Client
	scheme  string // ws or wss; empty: ws
	stopped bool
	over    chan struct{} // of a gateway with a life: closed when it is stopped
}

func setup(t testing.TB, nodes int, edit ...func(*Config)) *bundle {
	t.Helper()
	return setupWith(t, nodes, memory.New(memory.Options{}), edit...)
}

func setupWith(t testing.TB, nodes int, backend persistence.Backend, edit ...func(*Config)) *bundle {
	t.Helper()
	return setupLogged(t, nodes, backend, nil, edit...)
}

func setupLogged(t testing.TB, nodes int, backend persistence.Backend, logger *slog.Logger, edit ...func(*Config)) *bundle {
	t.Helper()
	ctx := context.Background()
	plane := dcmemory.NewPlane()
	dir, err := plane.Open(ctx, dcmemory.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dir.Close(ctx)) })
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	g := &bundle{
		t: t, plane: plane, dir: dir, journal: &journal{rooms: map[string]*fakeRoom{}}, backend: backend, logger: logger,
		health: opskit.NewHealth(), http: &http.Client{Transport: transport},
	}
	for i := range nodes {
		g.rooms = append(g.rooms, startRooms(t, fmt.Sprintf("rooms-%d", i+1), dir, g.journal))
	}
	g.service = g.start("gateway-1", edit...)
	for _, r := range g.rooms {
		actorkittest.WaitUp(t, r.node, "gateway-1")
		actorkittest.WaitUp(t, g.service.node, r.node.Self().Node)
	}
	return g
}

func (g *bundle) start(node string, edit ...func(*Config)) *Service {
	g.t.Helper()
	cfg := Config{
		DC: "local", Node: node, DataDir: g.t.TempDir(), Listen: "127.0.0.1:0", Auth: noAuth,
		FirstFrameWait: 50 * time.Millisecond, DrainTimeout: 2 * time.Second,
	}
	for _, e := range edit {
		e(&cfg)
	}
	s, err := New(cfg, Deps{Backend: g.backend, Directory: g.dir, Health: g.health, Logger: g.logger})
	require.NoError(g.t, err)
	require.NoError(g.t, s.Start(context.Background()))
	g.t.Cleanup(func() {
		if !g.stopped {
			g.stop(s)
		}
	})
	return s
}

func (g *bundle) stop(s *Service) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(g.t, s.Stop(ctx))
}

func TestTwoClientsTalk(t *testing.T) {
	t.Parallel()
	g := setup(t, 1)
	alice, bob := g.join("room-1"), g.join("room-1")
	require.Regexp(t, `^[a-z]+-[a-z]+-[a-z2-9]{5}$`, alice.session.GetMemberId())
	require.NotEqual(t, alice.session.GetMemberId(), bob.session.GetMemberId())
	require.Equal(t, "gateway-1", alice.session.GetNode())
	require.Equal(t, "local", alice.session.GetDc())

	const trace = "0af7651916cd43dd8448eb211c80319c"
	alice.send(`{"id":3,"message":{"target":"room-1","content":"hello","message_id":"m1","traceparent":"00-` + trace + `-b7ad6b7169203331-01"}}`)
	ack := alice.find("ack")
	require.Equal(t, uint32(3), ack.GetId())
	require.Equal(t, `{"target":"room-1","message_id":"m1","seq":1}`, text(ack.GetAck()))
	require.True(t, g.rooms[0].traced(trace), "the message's trace goes with it on the Link")
	got := bob.find("message").GetMessage()
	require.Equal(t, "hello", got.GetContent())
	require.Equal(t, alice.session.GetMemberId(), got.GetSender())
	require.Equal(t, uint64(1), got.GetSeq())
	require.True(t, got.GetSentAt().IsValid())

	bob.send(`{"signal":{"target":"room-1","type":"typing","content":"yes"}}`)
	signal := alice.find("signal").GetSignal()
	require.Equal(t, bob.session.GetMemberId(), signal.GetSender())

	require.Eventually(t, func() bool { // reports of who is online are collected for a moment
		alice.send(`{"presence":{"room_id":"room-1"}}`)
		return alice.find("presence_state").GetPresenceState().GetCount() == 2
	}, patience, 20*time.Millisecond)

	alice.send(`{"id":5,"history":{"room_id":"room-1"}}`)
	page := alice.find("history_page")
	require.Equal(t, uint32(5), page.GetId())
	require.Len(t, page.GetHistoryPage().GetMessages(), 1)

	bob.send(`{"leave_room":{"room_id":"room-1"}}`)
	bob.find("room_left")
	bob.send(`{"message":{"target":"room-1","content":"x"}}`)
	require.Equal(t, "NOT_JOINED", bob.expect("error").GetError().GetCode())
}

func TestSilentClientGetsASession(t *testing.T) {
	t.Parallel()
	g := setup(t, 1)
	c := g.dial()
	require.NotEmpty(t, c.expect("session").GetSession().GetToken())
	c.send(`{"id":1,"ping":{}}`)
	c.expect("pong")
}

// Who says that hello follows gets the time for it; a session that nobody asked for would be another member's.
func TestPromisedHelloIsWaitedFor(t *testing.T) {
	t.Parallel()
	g := setup(t, 1) // waits 50 ms for others
	token := g.connect("").session.GetToken()
	slow, never := g.dialAt("/ws?hello=1"), g.dialAt("/ws?hello")
	other := g.dial()
	require.False(t, other.expect("session").GetSession().GetResumed())
	slow.send(`{"id":3,"hello":{"session_token":%q}}`, token)
	session := slow.expect("session")
	require.Equal(t, uint32(3), session.GetId())
	require.True(t, session.GetSession().GetResumed())
	never.expectClose(clientv1.CloseCode_CLOSE_CODE_INTERNAL)
}

// S4: what one connection sends in a room arrives in that order, whatever happens to batches on the way.
func TestOrderIsKept(t *testing.T) {
	t.Parallel()
	g := setup(t, 2)
	alice, bob := g.join("r"), g.join("r")
	n := 0
	for i, r := range g.rooms {
		r.script(func(f *roomv1.Frame) ([]*roomv1.Frame, bool) {
			if f.GetPublish() == nil {
				return nil, false
			}
			switch n++; (n + i) % 5 {
			case 0: // refused while the room changes hands
				return []*roomv1.Frame{refusal(clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE, 0)}, true
			case 1: // done, but the answer is of somebody who stopped in the middle
				g.rooms[i].handle("nobody", f)
				return []*roomv1.Frame{refusal(clientv1.ErrorCode_ERROR_CODE_UNKNOWN_OUTCOME, 0)}, true
			default:
				return nil, false
			}
		})
	}
	var want []string
	for i := range 300 {
		want = append(want, fmt.Sprint(i))
		alice.send(`{"message":{"target":"r","content":"%d","message_id":"m%d"}}`, i, i)
	}
	require.Equal(t, want, bob.messages(300))
	acked := 0
	for acked < 300 {
		if env := alice.frame("acks"); env.GetAck() != nil {
			acked++
		} else {
			require.Nil(t, env.GetError(), "%v", env)
		}
	}
}

// S5, L2: the owner dies; the room goes on at another node, and nobody misses or repeats a message.
func TestOwnerDies(t *testing.T) {
	t.Parallel()
	g := setup(t, 2)
	alice, bob := g.join("r"), g.join("r")
	alice.send(`{"message":{"target":"r","content":"one"}}`)
	require.Equal(t, []string{"one"}, bob.messages(1))
	g.journal.mu.Lock()
	first := g.journal.rooms["r"].owner
	g.journal.mu.Unlock()
	for i, r := range g.rooms {
		if r.node.Self().Node == first {
			g.journal.takeover("r", g.rooms[1-i].node.Self().Node)
			r.die()
		}
	}
	alice.send(`{"message":{"target":"r","content":"two"}}`)
	require.Equal(t, []string{"two"}, bob.messages(1))
	require.Equal(t, []string{"one", "two"}, alice.messages(2))
}

// L1: a rooms node that is not in the directory any more and answers is still asked for the rooms that it runs, and gets no
// others.
func TestOwnerWithoutARecordIsAsked(t *testing.T) {
	t.Parallel()
	g := setup(t, 2)
	alice, bob := g.join("r"), g.join("r")
	alice.send(`{"message":{"target":"r","content":"one"}}`)
	require.Equal(t, []string{"one"}, bob.messages(1))
	g.journal.mu.Lock()
	first := g.journal.rooms["r"].owner
	g.journal.mu.Unlock()
	owner, other := g.rooms[0], g.rooms[1]
	if owner.node.Self().Node != first {
		owner, other = other, owner
	}
	require.NoError(t, owner.reg.Deregister(context.Background()))
	require.Eventually(t, func() bool {
		states := map[string]dcplane.NodeState{}
		for _, n := range g.service.router.Nodes() {
			states[n.Name] = n.State
		}
		return states[first] == dcplane.StateDraining && states[other.node.Self().Node] == dcplane.StateReady
	}, patience, 5*time.Millisecond)
	alice.send(`{"message":{"target":"r","content":"two"}}`)
	require.Equal(t, []string{"two"}, bob.messages(1))
	for i := range 20 {
		g.join(fmt.Sprint("new-", i))
	}
	require.Zero(t, owner.count(func(f *roomv1.Frame) bool { return strings.HasPrefix(f.GetRoomId(), "new-") }))

	// When it does not answer any more either, it is gone.
	actorkittest.StopNode(t, owner.node)
	require.Eventually(t, func() bool { return !g.service.router.Has(first) }, patience, 5*time.Millisecond)
	g.journal.takeover("r", other.node.Self().Node)
	alice.send(`{"message":{"target":"r","content":"three"}}`)
	require.Equal(t, []string{"three"}, bob.messages(1))
}

// L2: a delivery that got lost without anybody noticing is found by comparing heads.
func TestLostDeliveryIsFound(t *testing.T) {
	t.Parallel()
	g := setup(t, 1)
	alice, bob := g.join("r"), g.join("r")
	alice.send(`{"message":{"target":"r","content":"one"}}`)
	require.Equal(t, []string{"one"}, bob.messages(1))
	r := g.rooms[0]
	r.mu.Lock()
	delete(r.subscribers["r"], "gateway-1")
	r.mu.Unlock()
	alice.send(`{"message":{"target":"r","content":"two"}}`)
	require.Equal(t, []string{"two"}, bob.messages(1))
}

func TestResume(t *testing.T) {
	t.Parallel()
	g := setup(t, 1)
	alice, bob := g.join("r"), g.join("r")
	for i := range 5 {
		alice.send(`{"message":{"target":"r","content":"%d"}}`, i)
	}
	bob.messages(5)
	require.NoError(t, bob.ws.CloseNow())
	for i := range 1500 { // more than a page and more than the ring holds
		alice.send(`{"message":{"target":"r","content":"%d"}}`, i+5)
	}
	alice.messages(1505)

	back := g.dialAt("/ws?hello=1")
	back.send(`{"id":7,"hello":{"session_token":%q,"rooms":[{"room_id":"r","after_seq":"3"}]}}`, bob.session.GetToken())
	session := back.expect("session")
	require.Equal(t, uint32(7), session.GetId())
	require.True(t, session.GetSession().GetResumed())
	require.Equal(t, bob.session.GetMemberId(), session.GetSession().GetMemberId())
	require.Equal(t, []string{"r"}, session.GetSession().GetRooms())
	require.NotEqual(t, bob.session.GetToken(), session.GetSession().GetToken())
	joined := back.expect("room_joined")
	require.Zero(t, joined.GetId())
	require.True(t, joined.GetRoomJoined().GetRecovered())
	for i := range 1502 {
		m := back.expect("message").GetMessage()
		require.Equal(t, uint64(i+4), m.GetSeq())
		require.Equal(t, uint64(i+3), m.GetPrevSeq())
	}
	alice.send(`{"message":{"target":"r","content":"live"}}`)
	require.Equal(t, "live", back.expect("message").GetMessage().GetContent())
}

func TestResumeReplacesTheOlderConnection(t *testing.T) {
	t.Parallel()
	g := setup(t, 1)
	first := g.join("r")
	second := g.connect(first.session.GetToken())
	require.True(t, second.session.GetResumed())
	first.expectClose(clientv1.CloseCode_CLOSE_CODE_SESSION_REPLACED)
	second.expect("room_joined")

	// At another gateway node the older one learns of it at its next change of rooms …
	other := &bundle{t: t, service: g.start("gateway-2"), backend: g.backend, dir: g.dir, http: g.http}
	third := other.connect(second.session.GetToken())
	require.True(t, third.session.GetResumed())
	second.send(`{"join_room":{"room_id":"another"}}`)
	second.expectClose(clientv1.CloseCode_CLOSE_CODE_SESSION_REPLACED)

	// … or within seconds.
	fourth := g.connect(third.session.GetToken())
	require.True(t, fourth.session.GetResumed())
	third.expectClose(clientv1.CloseCode_CLOSE_CODE_SESSION_REPLACED)
	fourth.send(`{"id":1,"ping":{}}`)
	fourth.find("pong")
}

func TestUnknownTokensGiveNewSessions(t *testing.T) {
	t.Parallel()
	g := setup(t, 1)
	known := g.connect("")
	token := known.session.GetToken()
	for _, bad := range []string{"", "x", strings.Repeat("A", 64), token[:len(token)-1], token + "A", strings.ToUpper(token)} {
		c := g.connect(bad)
		require.False(t, c.session.GetResumed(), bad)
		require.NotEqual(t, known.session.GetMemberId(), c.session.GetMemberId(), bad)
	}
}

func TestStoreAwayClosesWithRetry(t *testing.T) {
	t.Parallel()
	g := setup(t, 1)
	token := g.connect("").session.GetToken()
	require.NoError(t, g.backend.Close(context.Background()))
	c := g.dial()
	c.send(`{"hello":{"session_token":%q}}`, token)
	c.expectClose(clientv1.CloseCode_CLOSE_CODE_INTERNAL)
}

// L1: a publish that nobody answers is answered by the gateway within 5 s.
func TestPublishIsAnsweredWhenRoomsAreNot(t *testing.T) {
	t.Parallel()
	g := setup(t, 1)
	alice := g.join("r")
	g.rooms[0].script(func(f *roomv1.Frame) ([]*roomv1.Frame, bool) { return nil, f.GetPublish() != nil })
	begin := time.Now()
	alice.send(`{"message":{"target":"r","message_id":"m"}}`)
	e := alice.expect("error").GetError()
	require.Less(t, time.Since(begin), 5*time.Second)
	require.Equal(t, "UNKNOWN_OUTCOME", e.GetCode())
	require.Equal(t, "m", e.GetMessageId())
	require.True(t, e.GetRetryable())
	sent := g.rooms[0].count(func(f *roomv1.Frame) bool { return f.GetPublish() != nil })
	require.Equal(t, 3, sent, "it was resent after 2 s and after 4 s")
	g.rooms[0].script(nil)
	alice.send(`{"message":{"target":"r","message_id":"m"}}`)
	alice.find("ack")
}

// S9: a client that does not read is closed to resume, and others notice nothing.
func TestSlowClient(t *testing.T) {
	t.Parallel()
	g := setup(t, 1, func(c *Config) { c.OutboxBytes, c.WriteTimeout = 64<<10, 100*time.Millisecond })
	alice, bob := g.join("r"), g.join("r")
	slow := g.dialSlow("r")
	content := strings.Repeat("x", 30_000)
	sent := 0
	for slow.connected() && sent < 2000 {
		alice.send(`{"message":{"target":"r","content":%q}}`, content)
		alice.find("message")
		bob.find("message")
		sent++
	}
	require.False(t, slow.connected(), "the slow client was not closed")
	require.Equal(t, 4001, slow.finish())
	alice.send(`{"message":{"target":"r","content":"on"}}`)
	require.Equal(t, []string{"on"}, bob.messages(1))
}

// L5 and L1: see also drain_test.go.
func TestDrain(t *testing.T) {
	t.Parallel()
	g := setup(t, 1, func(c *Config) { c.DrainTimeout = patience })
	alice := g.join("r")
	release := make(chan struct{})
	held := make(chan struct{})
	g.rooms[0].script(func(f *roomv1.Frame) ([]*roomv1.Frame, bool) {
		if f.GetPublish() != nil {
			close(held)
			<-release
		}
		return nil, false
	})
	alice.send(`{"message":{"target":"r","message_id":"m"}}`)
	<-held
	done := make(chan struct{})
	g.stopped = true
	go func() {
		defer close(done)
		g.stop(g.service)
	}()
	reconnect := alice.expect("reconnect").GetReconnect()
	require.Equal(t, "DRAIN", reconnect.GetReason())
	require.NotZero(t, reconnect.GetAfterMs())
	ok, _ := g.health.Ready(t.Context())
	require.False(t, ok)
	require.Equal(t, opskit.StateDraining, g.health.State())
	close(release)
	require.Equal(t, "m", alice.find("ack").GetAck().GetMessageId(), "what was in flight is answered first")
	alice.expectClose(clientv1.CloseCode_CLOSE_CODE_DRAIN)
	<-done
}

func TestStartsWithoutRooms(t *testing.T) {
	t.Parallel()
	g := setup(t, 0)
	c := g.connect("")
	c.send(`{"id":1,"join_room":{"room_id":"r"}}`)
	e := c.expect("error")
	require.Equal(t, "UNAVAILABLE", e.GetError().GetCode())
	require.Equal(t, uint32(1), e.GetId())
	require.True(t, e.GetError().GetRetryable())

	g.rooms = append(g.rooms, startRooms(t, "rooms-1", g.dir, g.journal))
	c.send(`{"id":2,"join_room":{"room_id":"r"}}`)
	require.Equal(t, uint32(2), c.expect("room_joined").GetId())
}

func TestChatPageAndHealth(t *testing.T) {
	t.Parallel()
	g := setup(t, 1)
	res := get(t, g.http, "http://"+g.service.Addr()+"/")
	require.Equal(t, http.StatusOK, res.StatusCode)
	page, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Contains(t, strings.ToLower(string(page)), "<!doctype html>")
	g.health.SetStarted()
	ok, details := g.health.Ready(t.Context())
	require.True(t, ok, "%v", details)
}

func TestListenAddressInUse(t *testing.T) {
	t.Parallel()
	g := setup(t, 0)
	s, err := New(Config{DC: "local", Node: "gateway-2", DataDir: t.TempDir(), Listen: g.service.Addr(), Auth: noAuth}, Deps{Backend: g.backend, Directory: g.dir})
	require.NoError(t, err)
	require.ErrorContains(t, s.Start(context.Background()), "listen on "+g.service.Addr()+": address in use: set PARLEY_LISTEN or --listen")
	require.ErrorIs(t, s.Start(context.Background()), ErrState)
	require.Empty(t, s.Addr())
}
