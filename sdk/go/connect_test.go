package parley_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/sdk/go"
)

func TestDialSendsHelloFirst(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	states := make(chan parley.StateChange, 16)
	sessions := make(chan parley.Session, 16)
	cfg := fast()
	cfg.GetToken = func(context.Context) (string, error) { return "jwt", nil }
	cfg.SessionToken = "stored"
	cfg.Header = http.Header{"X-Test": {"yes"}}
	cfg.OnState = func(c parley.StateChange) { states <- c }
	cfg.OnSession = func(s parley.Session) { sessions <- s }
	go func() {
		p := s.accept()
		hello := p.hello()
		if hello.GetToken() != "jwt" || hello.GetSessionToken() != "stored" || p.path != "/ws" || p.query != "hello=1" || p.header.Get("X-Test") != "yes" {
			t.Errorf("hello %v at %s with %v", hello, p.path, p.header)
		}
		p.session("token-1", "me", true)
	}()
	client, err := parley.Dial(t.Context(), s.url(), cfg)
	require.NoError(t, err)
	require.Equal(t, parley.Connected, client.State())
	require.Equal(t, "me", client.MemberID())
	require.Equal(t, "token-1", client.SessionToken())
	require.Equal(t, parley.StateChange{State: parley.Connecting}, await(t, states))
	require.Equal(t, parley.StateChange{State: parley.Connected}, await(t, states))
	session := await(t, sessions)
	require.True(t, session.Resumed)
	require.Equal(t, "gateway-1", session.Node)
	require.NoError(t, client.Close(t.Context()))
	require.Equal(t, parley.StateChange{State: parley.Disconnected}, await(t, states))
	require.ErrorIs(t, client.Err(), parley.ErrClosed)
	_, err = client.Join(t.Context(), "room", parley.JoinOptions{})
	require.ErrorIs(t, err, parley.ErrClosed)
}

func TestDialRefusals(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "localhost:8080", "ftp://host", "ws://", "ws://host:port", "ws://[::1"} {
		_, err := parley.Dial(t.Context(), url, parley.Config{})
		require.Error(t, err, url)
	}
	_, err := parley.Dial(t.Context(), "ws://localhost", parley.Config{BackoffMin: -1, MaxPending: -1})
	require.ErrorContains(t, err, "BackoffMin")
	require.ErrorContains(t, err, "MaxPending")

	for _, status := range []int{400, 401, 403, 404} {
		s := newServer(t)
		s.refuseNext(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		_, err := parley.Dial(t.Context(), s.url(), fast())
		var handshake *parley.HandshakeError
		require.ErrorAs(t, err, &handshake)
		require.Equal(t, status, handshake.Status)
	}
}

func TestDialTriesUntilItsContextEnds(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.http.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cfg := fast()
	attempts := 0
	cfg.OnState = func(parley.StateChange) {
		if attempts++; attempts == 4 {
			cancel()
		}
	}
	_, err := parley.Dial(ctx, s.url(), cfg)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "connection refused")
}

func TestRetryAfterOfTheHandshake(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.refuseNext(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	states := make(chan parley.StateChange, 16)
	cfg := fast()
	cfg.OnState = func(c parley.StateChange) { states <- c }
	dial(t, s, cfg)
	require.Zero(t, await(t, states).RetryIn)
	refused := await(t, states)
	require.GreaterOrEqual(t, refused.RetryIn, time.Second)
	require.Less(t, refused.RetryIn, 2*time.Second)
	var handshake *parley.HandshakeError
	require.ErrorAs(t, refused.Err, &handshake)
	require.Equal(t, 429, handshake.Status)
}

func TestTerminalClose(t *testing.T) {
	t.Parallel()
	for _, code := range []clientv1.CloseCode{
		clientv1.CloseCode_CLOSE_CODE_UNAUTHENTICATED, clientv1.CloseCode_CLOSE_CODE_AUTH_TIMEOUT,
		clientv1.CloseCode_CLOSE_CODE_BANNED, clientv1.CloseCode_CLOSE_CODE_SESSION_REPLACED,
		clientv1.CloseCode_CLOSE_CODE_ABUSE, 4999, 1009,
	} {
		s := newServer(t)
		client, p := dial(t, s, fast())
		room := enter(t, client, p, parley.JoinOptions{})
		got := consume(t, room)
		result := publish(t.Context(), room, "hello", "")
		p.message()
		p.close(code)
		<-client.Done()
		var closed *parley.CloseError
		require.ErrorAs(t, client.Err(), &closed)
		require.Equal(t, parley.CloseCode(code), closed.Code)
		out := await(t, result)
		require.ErrorAs(t, out.err, &closed)
		var failed *parley.PublishError
		require.ErrorAs(t, out.err, &failed)
		require.True(t, failed.MaybeStored)
		require.ErrorAs(t, await(t, got).err, &closed)
		require.Equal(t, parley.Disconnected, client.State())
		_, err := room.History(t.Context(), parley.HistoryOptions{})
		require.ErrorAs(t, err, &closed)
		require.ErrorAs(t, room.Signal(t.Context(), "typing", ""), &closed)
		require.NoError(t, room.Leave(t.Context()))
	}
}

func TestTerminalCloseDuringTheHandshakeTellsWhatTheServerSaid(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	go func() {
		p := s.accept()
		p.hello()
		p.send(refusal(0, parley.CodeUnauthenticated, "", "", false, 0))
		p.close(clientv1.CloseCode_CLOSE_CODE_UNAUTHENTICATED)
	}()
	_, err := parley.Dial(t.Context(), s.url(), fast())
	var closed *parley.CloseError
	require.ErrorAs(t, err, &closed)
	var said *parley.Error
	require.ErrorAs(t, err, &said)
	require.Equal(t, parley.CodeUnauthenticated, said.Code)
}

func TestRetryableClosesReconnect(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, p := dial(t, s, fast())
	for _, code := range []int{4000, 4001, 4002, 4003, 4004, 4499, 1000, 1001, 1011, 1012, 1013} {
		p.closeWith(code, "")
		p, _ = resume(t, s, "token-1")
	}
	require.NoError(t, client.Err())
}

func TestSessionTokenRotation(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, p := dial(t, s, fast())
	p.cut()

	// The server rotates the token, and the session frame is lost with the connection.
	p = s.accept()
	require.Equal(t, "token-1", p.hello().GetSessionToken())
	p.cut()

	// So the client presents the one it knows again.
	p, hello := resume(t, s, "token-3")
	require.Equal(t, "token-1", hello.GetSessionToken())
	p.cut()

	p, hello = resume(t, s, "token-4")
	require.Equal(t, "token-3", hello.GetSessionToken())
	require.Eventually(t, func() bool { return client.SessionToken() == "token-4" }, patience, time.Millisecond)
	p.cut()

	p, hello = resume(t, s, "token-5")
	require.Equal(t, "token-4", hello.GetSessionToken())
	p.cut()
	s.accept()
}

func TestGetTokenIsAskedForEveryConnection(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	cfg := fast()
	calls := 0
	cfg.GetToken = func(context.Context) (string, error) {
		calls++
		if calls == 2 {
			return "", errors.New("identity provider is away")
		}
		return string(rune('a' + calls)), nil
	}
	_, p := dial(t, s, cfg)
	p.close(clientv1.CloseCode_CLOSE_CODE_TOKEN_EXPIRED)
	_, hello := resume(t, s, "token-2")
	require.Equal(t, "d", hello.GetToken())
}

func TestReconnectFrameIsFollowedAfterItsDelay(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, p := dial(t, s, fast())
	room := enter(t, client, p, parley.JoinOptions{})
	const delay = 500 * time.Millisecond
	asked := time.Now()
	p.send(&clientv1.Envelope{Kind: &clientv1.Envelope_Reconnect{Reconnect: &clientv1.Reconnect{
		AfterMs: uint32(delay.Milliseconds()), Reason: "DRAIN",
	}}})
	// Until then the connection is used.
	result := publish(t.Context(), room, "hello", "")
	m, id := p.message()
	p.send(ack(id, m, 11, false))
	require.NoError(t, await(t, result).err)
	p.ended()
	next, _ := resume(t, s, "token-2")
	require.GreaterOrEqual(t, next.at.Sub(asked), delay)
}

func TestReconnectFrameAndAnEarlierClose(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	_, p := dial(t, s, fast())
	const delay = 150 * time.Millisecond
	asked := time.Now()
	p.send(&clientv1.Envelope{Kind: &clientv1.Envelope_Reconnect{Reconnect: &clientv1.Reconnect{
		AfterMs: uint32(delay.Milliseconds()), Reason: "DRAIN",
	}}})
	p.close(clientv1.CloseCode_CLOSE_CODE_DRAIN)
	next, _ := resume(t, s, "token-2")
	require.GreaterOrEqual(t, next.at.Sub(asked), delay)
}

func TestDeadServerIsLeft(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	cfg := fast()
	cfg.PingInterval, cfg.PingTimeout = 50*time.Millisecond, time.Second
	states := make(chan parley.StateChange, 64)
	cfg.OnState = func(c parley.StateChange) { states <- c }
	_, p := dial(t, s, cfg)
	// Answered pings keep the connection.
	for range 3 {
		require.NotNil(t, p.next().GetPing())
		p.send(&clientv1.Envelope{Kind: &clientv1.Envelope_Pong{Pong: &clientv1.Pong{}}})
	}
	require.NotNil(t, p.next().GetPing())
	s.accept()
	require.Equal(t, parley.Connecting, await(t, states).State)
	require.Equal(t, parley.Connected, await(t, states).State)
	lost := await(t, states)
	require.Equal(t, parley.Connecting, lost.State)
	require.ErrorContains(t, lost.Err, "silent")
}

func TestCloseFailsWhatWaits(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, p := dial(t, s, fast())
	room := enter(t, client, p, parley.JoinOptions{})
	result := publish(t.Context(), room, "hello", "")
	p.message()
	got := consume(t, room)
	require.NoError(t, client.Close(t.Context()))
	require.ErrorIs(t, await(t, result).err, parley.ErrClosed)
	require.ErrorIs(t, await(t, got).err, parley.ErrClosed)
	require.NoError(t, client.Close(t.Context()))
}

func TestCloseWhileTheServerIsAway(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	cfg := fast()
	cfg.BackoffMin, cfg.BackoffMax = time.Hour, time.Hour
	client, p := dial(t, s, cfg)
	p.cut()
	require.Eventually(t, func() bool { return client.State() == parley.Connecting }, patience, time.Millisecond)
	require.NoError(t, client.Close(t.Context()))

	// And in the middle of a handshake.
	client, p = dial(t, s, fast())
	p.cut()
	s.accept().hello()
	require.NoError(t, client.Close(t.Context()))
}

func TestUnknownFramesOfANewerServer(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, p := dial(t, s, fast())
	p.raw(`{"confetti":{"color":"red"}}`)
	p.raw(`{"ack":{"target":"nowhere","message_id":"x","seq":"5","shiny":true}}`)
	p.raw(`{"message":{"target":"nowhere","seq":"5"}}`)
	enter(t, client, p, parley.JoinOptions{})
	// What is not JSON ends the connection, and the next one goes on.
	p.raw(`{`)
	resume(t, s, "token-2")
}

func TestCloseIsCutWhenItsContextEnds(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, p := dial(t, s, fast())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, client.Close(ctx), context.Canceled)
	<-client.Done()
	p.ended()
}

func TestLostConnectionsAreNamed(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	states := make(chan parley.StateChange, 16)
	cfg := fast()
	cfg.OnState = func(c parley.StateChange) { states <- c }
	_, p := dial(t, s, cfg)
	p.cut()
	for _, want := range []string{"connecting", "connected", "connecting"} {
		change := await(t, states)
		require.Equal(t, want, change.State.String())
		if change.Err != nil {
			require.EqualError(t, change.Err, "connection lost")
		}
	}
	p = s.accept()
	p.hello()
	p.close(clientv1.CloseCode_CLOSE_CODE_BANNED)
	require.ErrorContains(t, await(t, states).Err, "BANNED (4503)")
	require.Equal(t, "disconnected", parley.Disconnected.String())
}

// A frozen server may carry out an attempt long after the client has given it up: their numbers tell which came last.
func TestAttemptsAreNumbered(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	_, p := dial(t, s, fast())
	var last uint64
	for range 4 {
		p.cut()
		p = s.accept()
		hello := p.hello()
		require.Equal(t, "token-1", hello.GetSessionToken())
		require.Greater(t, hello.GetAttempt(), last)
		last = hello.GetAttempt()
	}
	p.session("token-2", "me", true)
}

// A gateway that has no time for a client says when to come back, even before it has opened a session.
func TestServerToldDelayBeforeTheSession(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	_, p := dial(t, s, fast())
	for _, code := range []clientv1.CloseCode{clientv1.CloseCode_CLOSE_CODE_OVERLOADED, clientv1.CloseCode_CLOSE_CODE_DRAIN} {
		p.cut()
		p = s.accept()
		p.hello()
		p.send(&clientv1.Envelope{Kind: &clientv1.Envelope_Reconnect{Reconnect: &clientv1.Reconnect{AfterMs: 300}}})
		told := time.Now()
		p.close(code)
		p = s.accept()
		require.GreaterOrEqual(t, p.at.Sub(told), 290*time.Millisecond)
		p.hello()
		p.session("token-2", "me", true)
	}
}

// With several gateways a client goes on to the next one when its own fails, drains, or refuses it for a while, and keeps
// session and rooms.
func TestSeveralGateways(t *testing.T) {
	t.Parallel()
	first, second := newServer(t), newServer(t)
	dialed := make(chan *parley.Client, 1)
	go func() {
		client, err := parley.Dial(context.Background(), first.url()+","+second.url(), fast())
		if err != nil {
			t.Error(err)
		}
		dialed <- client
	}()
	var p *peer
	select { // it begins at either
	case p = <-first.peers:
	case p = <-second.peers:
		first, second = second, first
	case <-time.After(patience):
		t.Fatal("no connection came")
	}
	p.hello()
	p.session("token-1", "me", false)
	client := <-dialed
	t.Cleanup(func() { require.NoError(t, client.Close(context.Background())) })
	room := enter(t, client, p, parley.JoinOptions{})
	result := publish(t.Context(), room, "hello", "id-1")
	p.message()

	p.cut()
	p, hello := resume(t, second, "token-2")
	require.Equal(t, "token-1", hello.GetSessionToken())
	m, id := p.message()
	require.Equal(t, "id-1", m.GetMessageId())
	p.send(ack(id, m, 11, false))
	require.NoError(t, await(t, result).err)

	p.send(&clientv1.Envelope{Kind: &clientv1.Envelope_Reconnect{Reconnect: &clientv1.Reconnect{AfterMs: 10, Reason: "DRAIN"}}})
	p.ended()
	p, _ = resume(t, first, "token-3")

	second.refuseNext(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	p.cut()
	p, hello = resume(t, first, "token-4")
	require.Equal(t, "token-3", hello.GetSessionToken())
	p.cut()
	_, hello = resume(t, first, "token-5") // the second one still wants to be left alone
	require.Equal(t, "token-4", hello.GetSessionToken())
}

// A gateway that lives and serves nothing, for instance because it reaches no rooms node, is left for another one (L1).
func TestHelplessGatewayIsLeft(t *testing.T) {
	t.Parallel()
	first, second := newServer(t), newServer(t)
	cfg := fast()
	cfg.InOrder, cfg.HelplessTimeout = true, 20*time.Millisecond
	dialed := make(chan *parley.Client, 1)
	go func() {
		client, err := parley.Dial(context.Background(), first.url()+","+second.url(), cfg)
		if err != nil {
			t.Error(err)
		}
		dialed <- client
	}()
	p := first.accept()
	p.hello()
	p.session("token-1", "me", false)
	client := <-dialed
	t.Cleanup(func() { require.NoError(t, client.Close(context.Background())) })
	room := enter(t, client, p, parley.JoinOptions{})
	result := publish(t.Context(), room, "hello", "id-1")
	for env := range p.frames { // until the client goes
		if m := env.GetMessage(); m != nil {
			p.send(refusal(env.GetId(), parley.CodeUnavailable, "room", m.GetMessageId(), true, time.Millisecond))
		}
	}
	p, hello := resume(t, second, "token-2")
	require.Equal(t, "token-1", hello.GetSessionToken())
	m, id := p.message()
	require.Equal(t, "id-1", m.GetMessageId())
	p.send(ack(id, m, 11, false))
	require.NoError(t, await(t, result).err)
}

// A server that waited too long for hello has opened a session for somebody else: the client does not become that member, but
// comes back with its own token.
func TestSessionThatDoesNotAnswerHelloIsNotTaken(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client, p := dial(t, s, fast())
	p.cut()
	p = s.accept()
	require.Equal(t, "token-1", p.hello().GetSessionToken())
	p.helloID = 0
	p.session("token-of-nobody", "somebody-else", false)
	p.ended()
	p = s.accept()
	require.Equal(t, "token-1", p.hello().GetSessionToken())
	p.session("token-2", "me", true)
	require.Eventually(t, func() bool { return client.SessionToken() == "token-2" }, patience, time.Millisecond)
	require.Equal(t, "me", client.MemberID())
}
