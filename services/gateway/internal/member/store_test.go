package member

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
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
	require.Equal(t, a.hash(), b.hash())
	require.NotEqual(t, a.hash(), newToken(a.id).hash())
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
	first := s.open(t.Context(), "")
	require.NoError(t, first.Err)
	require.False(t, first.Resumed)
	require.Equal(t, uint64(1), first.Generation)
	require.NoError(t, s.saveRooms(t.Context(), first, []string{"b", "a"}))

	second := s.open(t.Context(), first.Token)
	require.True(t, second.Resumed)
	require.Equal(t, first.Member, second.Member)
	require.Equal(t, first.ID, second.ID)
	require.Equal(t, []string{"a", "b"}, second.Rooms)
	require.Equal(t, uint64(2), second.Generation)
	require.NotEqual(t, first.Token, second.Token)
	require.ErrorIs(t, s.saveRooms(t.Context(), first, nil), persistence.ErrSessionReplaced)

	// The answer with the new token may have been lost: the old one still resumes, until the new one was used.
	third := s.open(t.Context(), first.Token)
	require.True(t, third.Resumed)
	fourth := s.open(t.Context(), third.Token)
	require.True(t, fourth.Resumed)
	require.False(t, s.open(t.Context(), first.Token).Resumed)

	stranger := newToken(newSessionID())
	require.False(t, s.open(t.Context(), stranger.String()).Resumed)
	guessed, _ := parseToken(fourth.Token)
	guessed.secret[0] ^= 1
	require.False(t, s.open(t.Context(), guessed.String()).Resumed)

	require.NoError(t, backend.Close(t.Context()))
	require.ErrorIs(t, s.open(t.Context(), fourth.Token).Err, persistence.ErrClosed)
	require.ErrorIs(t, s.open(t.Context(), "").Err, persistence.ErrClosed)
}

// extending tells how many sessions were extended, and fails from the fourth call on.
type extending struct {
	persistence.SessionStore
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

func TestOpenSessionsAreExtended(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		store := &extending{calls: make(chan int)}
		s := NewSessions(store, 40*time.Minute, NewGuest)
		r := NewRegistry()
		for range 2500 {
			require.True(t, r.claim(newSessionID(), 1, &entry{}))
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
