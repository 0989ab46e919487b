package member

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"math"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/memory"
)

func TestTokens(t *testing.T) {
	t.Parallel()
	a := newToken(newSessionID())
	b, ok := parseToken(a.String())
	require.True(t, ok)
	require.Equal(t, a, b)
	require.Equal(t, a.hash(""), b.hash(""))
	require.NotEqual(t, a.hash(""), newToken(a.id).hash(""))
	for _, bad := range []string{
		"", "x", a.String() + "A", a.String()[1:], strings.Repeat("=", 64), strings.Repeat("\x00", 64), a.String()[:63] + "+",
		base64.StdEncoding.EncodeToString(make([]byte, 47)), " " + a.String()[1:], a.String()[:63] + "\n",
	} {
		_, ok := parseToken(bad)
		require.False(t, ok, "%q", bad)
	}
}

func TestGuests(t *testing.T) {
	t.Parallel()
	shape := regexp.MustCompile(`^[a-z]+-[a-z]+-[a-z2-9]{5}$`)
	seen := map[string]bool{}
	for range 5000 {
		g := NewGuest()
		require.Regexp(t, shape, g)
		require.False(t, seen[g], "%s came twice", g)
		seen[g] = true
	}
}

func TestSessionsOpen(t *testing.T) {
	t.Parallel()
	backend := memory.New(memory.Options{})
	s := NewSessions(backend, time.Hour, func() string { return NewGuest() })
	first := s.open(t.Context(), "", "", 0)
	require.NoError(t, first.Err)
	require.False(t, first.Resumed)
	require.Equal(t, uint64(1), first.Generation)
	require.NoError(t, s.saveRooms(t.Context(), first, []string{"b", "a"}))

	second := s.open(t.Context(), "", first.Token, 0)
	require.True(t, second.Resumed)
	require.Equal(t, first.Member, second.Member)
	require.Equal(t, first.ID, second.ID)
	require.Equal(t, []string{"a", "b"}, second.Rooms)
	require.Equal(t, uint64(2), second.Generation)
	require.NotEqual(t, first.Token, second.Token)
	require.ErrorIs(t, s.saveRooms(t.Context(), first, nil), persistence.ErrSessionReplaced)

	// The answer with the new token may have been lost: the old one still resumes, until the new one was used.
	third := s.open(t.Context(), "", first.Token, 0)
	require.True(t, third.Resumed)
	fourth := s.open(t.Context(), "", third.Token, 0)
	require.True(t, fourth.Resumed)
	require.False(t, s.open(t.Context(), "", first.Token, 0).Resumed)

	stranger := newToken(newSessionID())
	require.False(t, s.open(t.Context(), "", stranger.String(), 0).Resumed)
	guessed, _ := parseToken(fourth.Token)
	guessed.secret[0] ^= 1
	require.False(t, s.open(t.Context(), "", guessed.String(), 0).Resumed)

	require.NoError(t, backend.Close(t.Context()))
	require.ErrorIs(t, s.open(t.Context(), "", fourth.Token, 0).Err, persistence.ErrClosed)
	require.ErrorIs(t, s.open(t.Context(), "", "", 0).Err, persistence.ErrClosed)
}

// A session is there an hour after its connection ended, to the moment, for another gateway too and when nobody could extend it
// for as long as is allowed; after that it is another one. The clock is the store's.
func TestSessionsLastForAnHour(t *testing.T) {
	t.Parallel()
	for _, late := range []time.Duration{0, time.Nanosecond} {
		now := time.Now()
		backend := memory.New(memory.Options{Now: func() time.Time { return now }})
		s := NewSessions(backend, time.Hour, NewGuest)
		opened := s.open(t.Context(), "", "", 0)
		require.NoError(t, s.saveRooms(t.Context(), opened, []string{"lobby"}))
		now = now.Add(2*s.extendEvery() - time.Nanosecond) // its connection ends after a round of extending that failed
		now = now.Add(time.Hour + late)
		back := NewSessions(backend, time.Hour, NewGuest).open(t.Context(), "", opened.Token, 0)
		require.NoError(t, back.Err)
		if late == 0 {
			require.True(t, back.Resumed)
			require.Equal(t, opened.Member, back.Member)
			require.Equal(t, []string{"lobby"}, back.Rooms)
		} else {
			require.False(t, back.Resumed)
			require.NotEqual(t, opened.Member, back.Member)
			require.Empty(t, back.Rooms)
		}
	}
}

// extending tells how many sessions were extended, and fails from the fourth call on.
type extending struct {
	Store
	calls chan int
	n     int
}

func (e *extending) ExtendSessions(_ context.Context, ids []persistence.SessionID, _ time.Duration) error {
	e.calls <- len(ids)
	if e.n++; e.n > 3 {
		return errors.New("away")
	}
	return nil
}

func (e *extending) LostSessions(context.Context, []persistence.HeldSession) ([]persistence.HeldSession, error) {
	return nil, nil
}

func TestOpenSessionsAreExtended(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		store := &extending{calls: make(chan int)}
		s := NewSessions(store, 40*time.Minute, NewGuest)
		r := NewRegistry()
		for range 2500 {
			require.True(t, r.claim(newSessionID(), 1, "", &Member{}))
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.Keep(ctx, r, slog.New(slog.DiscardHandler))
		}()
		for _, want := range []int{1000, 1000, 500, 1000, 1000, 500} {
			require.Equal(t, want, <-store.calls)
		}
		require.Equal(t, 20*time.Minute, time.Since(begin), "twice in half of their life, also after a failure")
		cancel()
		<-done
	})
}

// calls notes which accesses a store got.
type calls struct {
	Store
	got []string
}

func (c *calls) CreateSession(ctx context.Context, id persistence.SessionID, h persistence.TokenHash, member string, ttl time.Duration) (persistence.Session, error) {
	c.got = append(c.got, "create")
	return c.Store.CreateSession(ctx, id, h, member, ttl)
}

func (c *calls) ResumeSession(ctx context.Context, id persistence.SessionID, presented, next persistence.TokenHash, attempt uint64, ttl time.Duration) (persistence.Session, error) {
	c.got = append(c.got, "resume")
	return c.Store.ResumeSession(ctx, id, presented, next, attempt, ttl)
}

// Neither the answer nor what it takes to find it says why a token opens nothing: whether it is spent, forged, or names a
// session that never was.
func TestBadTokensLookAlike(t *testing.T) {
	t.Parallel()
	store := &calls{Store: memory.New(memory.Options{})}
	s := NewSessions(store, time.Hour, NewGuest)
	spent := s.open(t.Context(), "", "", 0).Token
	newest := s.open(t.Context(), "", s.open(t.Context(), "", spent, 0).Token, 0)
	forged, ok := parseToken(newest.Token)
	require.True(t, ok)
	forged.secret[31] ^= 1
	for name, token := range map[string]string{"spent": spent, "forged": forged.String(), "unknown": newToken(newSessionID()).String()} {
		store.got = nil
		o := s.open(t.Context(), "", token, 0)
		require.NoError(t, o.Err, name)
		require.False(t, o.Resumed, name)
		require.Empty(t, o.Rooms, name)
		require.Equal(t, []string{"resume", "create"}, store.got, name)
	}
	require.True(t, s.open(t.Context(), "", newest.Token, 0).Resumed, "and they harm nobody")
}

// Of two attempts with one token, the later one of the client's keeps the session, whichever the store gets last.
func TestLateAttemptTakesNothing(t *testing.T) {
	t.Parallel()
	s := NewSessions(memory.New(memory.Options{}), time.Hour, NewGuest)
	token := s.open(t.Context(), "", "", 0).Token
	kept := s.open(t.Context(), "", token, 8)
	require.True(t, kept.Resumed)
	require.False(t, s.open(t.Context(), "", token, 7).Resumed)
	require.NoError(t, s.saveRooms(t.Context(), kept, []string{"r"}))
	require.True(t, s.open(t.Context(), "", token, 9).Resumed, "its answer was lost")
	require.True(t, s.open(t.Context(), "", token, math.MaxUint64).Resumed, "any number will do")
}

// A session can be resumed for its TTL from the end of its connection, however long ago it was extended.
func TestSessionsOutliveTheirConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const ttl = time.Hour
		s := NewSessions(memory.New(memory.Options{}), ttl, NewGuest)
		r := NewRegistry()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.Keep(ctx, r, slog.New(slog.DiscardHandler))
		}()
		o := s.open(t.Context(), "", "", 0)
		require.WithinDuration(t, time.Now().Add(ttl), o.ExpiresAt, time.Second)
		e := &Member{}
		require.True(t, r.claim(o.id, o.Generation, "", e))
		<-time.After(5*ttl + 14*time.Minute) // the moment before the next round
		r.release(o.id, e)
		<-time.After(ttl)
		back := s.open(t.Context(), "", o.Token, 0)
		require.True(t, back.Resumed)
		require.Equal(t, o.Member, back.Member)
		<-time.After(ttl + ttl/2)
		require.False(t, s.open(t.Context(), "", back.Token, 0).Resumed, "after that it is over")
		cancel()
		<-done
	})
}
