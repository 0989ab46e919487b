package member

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/memory"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
)

func TestBlockedMemberIsToldWhy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.client(`{"id":3,"hello":{"session_token":"old"}}`)
	w.core.SessionOpened(w.now, Opened{Blocked: &persistence.Block{Reason: "spam", Until: w.now.Add(time.Minute)}})
	e := w.expectError("BANNED", "", "")
	require.Equal(t, "spam", e.GetMessage())
	require.Equal(t, uint32(60_000), e.GetRetryAfterMs())
	require.Equal(t, clientv1.CloseCode_CLOSE_CODE_BANNED, w.closed)
	w.core.Stop()
	require.Zero(t, w.window)
	require.Equal(t, []bool{false}, w.blocked)

	w = newWorld(t, Config{})
	w.open()
	w.core.Blocked(w.now, &persistence.Block{})
	require.Equal(t, blockedText, w.expectError("BANNED", "", "").GetMessage())
	require.Equal(t, clientv1.CloseCode_CLOSE_CODE_BANNED, w.closed)
	w.core.Blocked(w.now, &persistence.Block{})
	w.expect()
	require.Equal(t, []bool{true}, w.blocked, "once for each connection")
}

// A blocked member gets no session, its sessions stay as they are, and it resumes when the block ends.
func TestBlockedMemberOpensNothing(t *testing.T) {
	t.Parallel()
	for _, member := range []string{"ada", ""} { // one who has a token, and a guest
		backend := memory.New(memory.Options{})
		s := NewSessions(backend, time.Hour, func() string { return "ada" })
		first := s.open(t.Context(), member, "", 0)
		require.NoError(t, first.Err)
		_, err := backend.BlockMember(t.Context(), "ada", 0, "spam", "root")
		require.NoError(t, err)
		// A guest's token is exchanged before it is known whose it is. The new one is told to nobody, so the old one stays good, however
		// often it is tried.
		for attempt := range uint64(5) {
			again := s.open(t.Context(), member, first.Token, attempt+1)
			require.NoError(t, again.Err)
			require.Equal(t, "spam", again.Blocked.Reason)
			require.Empty(t, again.Token)
		}
		_, err = backend.UnblockMember(t.Context(), "ada")
		require.NoError(t, err)
		back := s.open(t.Context(), member, first.Token, 6)
		require.NoError(t, back.Err)
		require.Nil(t, back.Blocked)
		require.Equal(t, "ada", back.Member)
		require.True(t, back.Resumed, "the token it has is still one of the two")
	}
}

// blockedCount is parley.gateway.blocked by state.
func blockedCount(t *testing.T, reader sdkmetric.Reader) map[string]int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &all))
	counts := map[string]int64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Name != "parley.gateway.blocked" {
				continue
			}
			for _, p := range m.Data.(metricdata.Sum[int64]).DataPoints {
				state, _ := p.Attributes.Value("state")
				require.Equal(t, 1, p.Attributes.Len(), "no member")
				counts[state.AsString()] = p.Value
			}
		}
	}
	return counts
}

// awayStore cannot be asked for as long as it is away.
type awayStore struct {
	Store
	away atomic.Bool
}

func (s *awayStore) BlocksSince(ctx context.Context, since uint64, limit int) ([]persistence.Block, uint64, error) {
	if s.away.Load() {
		return nil, 0, errors.New("away")
	}
	return s.Store.BlocksSince(ctx, since, limit)
}

// Connections stay while the store is away, those of the blocked member and no others are closed when it is back, and one that was
// unblocked may come back at once.
func TestBlockedMembersConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	reader := sdkmetric.NewManualReader()
	counted, err := newMetrics(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)))
	require.NoError(t, err)
	s.d.metrics = counted
	store := &awayStore{Store: memory.New(memory.Options{})}
	sessions := NewSessions(store, time.Hour, NewGuest)
	s.d.Sessions = sessions
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		sessions.KeepOut(ctx, s.d.Registry, slog.New(slog.DiscardHandler))
	}()
	defer func() { cancel(); <-done }()
	open := func(token string) (*connection, *clientv1.Session) {
		c := s.connect()
		c.send(`{"hello":{"session_token":"` + token + `"}}`)
		session := c.socket.wait(t).GetSession()
		require.NotNil(t, session)
		return c, session
	}
	bad, session := open("")
	good, _ := open("")
	store.away.Store(true)
	_, err = store.BlockMember(t.Context(), session.GetMemberId(), 0, "spam", "root")
	require.NoError(t, err)
	require.Never(t, func() bool { return len(bad.socket.news) > 0 }, 1500*time.Millisecond, 10*time.Millisecond)
	store.away.Store(false)
	require.Equal(t, "BANNED", bad.socket.wait(t).GetError().GetCode())
	require.Nil(t, bad.socket.wait(t))
	require.Equal(t, clientv1.CloseCode_CLOSE_CODE_BANNED, bad.socket.code)

	refused := s.connect()
	refused.send(`{"hello":{"session_token":"` + session.GetToken() + `"}}`)
	require.Equal(t, "BANNED", refused.socket.wait(t).GetError().GetCode())
	require.Equal(t, map[string]int64{"connected": 1, "connecting": 1}, blockedCount(t, reader))

	_, err = store.UnblockMember(t.Context(), session.GetMemberId())
	require.NoError(t, err)
	back, again := open(session.GetToken())
	require.Equal(t, session.GetMemberId(), again.GetMemberId())
	require.Never(t, func() bool { return len(back.socket.news)+len(good.socket.news) > 0 }, 2500*time.Millisecond, 10*time.Millisecond)
}
