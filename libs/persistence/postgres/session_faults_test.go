package postgres_test

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/postgres"
)

func token(name string) persistence.TokenHash { return sha256.Sum256([]byte(name)) }

// TestLostAnswersOfSessions: the server stores a change of a session and its answer is lost. The change is answered as made,
// and the tokens are worth what they would have been.
func TestLostAnswersOfSessions(t *testing.T) {
	t.Parallel()
	proxy, url := proxied(t, shared)
	b := opened(t, url, postgres.Options{})
	lose := func(tag string, change func()) {
		require.Eventually(t, func() bool { return b.Ping(t.Context()) == nil }, 20*time.Second, 10*time.Millisecond,
			"so many faults open the breaker, and only a stored event closes it")
		before := proxy.Counts().LostAnswers
		proxy.LoseAnswers(1, tag)
		change()
		require.Equal(t, before+1, proxy.Counts().LostAnswers, "the fault happened to %s", tag)
	}
	for i, presented := range []string{"first", "second"} { // afterwards; both are good
		id := persistence.SessionID{byte(i + 1)}
		var s persistence.Session
		var err error
		lose("INSERT", func() {
			s, err = b.CreateSession(within(t, 20*time.Second), id, token("first"), "ada", time.Minute)
			require.NoError(t, err)
		})
		require.Equal(t, "ada", s.Member)
		require.EqualValues(t, 1, s.Generation)
		lose("UPDATE", func() {
			s, err = b.ResumeSession(within(t, 20*time.Second), id, token("first"), token("second"), 0, time.Minute)
			require.NoError(t, err)
		})
		lose("UPDATE", func() {
			require.NoError(t, b.SaveSessionRooms(within(t, 20*time.Second), id, s.Generation, []string{"b", "a"}, time.Minute))
		})
		again, err := b.ResumeSession(t.Context(), id, token(presented), token("third"), 0, time.Minute)
		require.NoError(t, err, presented)
		require.Equal(t, []string{"a", "b"}, again.Rooms)
		require.Equal(t, s.Generation+1, again.Generation)
		_, err = b.CreateSession(t.Context(), id, token("third"), "ada", time.Minute)
		require.ErrorIs(t, err, persistence.ErrConflict, "only a repeated creation finds its own session")
	}
}

// TestSavesOfOneSessionKeepTheirOrder: several wait for the same moment. All are made, and the last one stays.
func TestSavesOfOneSessionKeepTheirOrder(t *testing.T) {
	t.Parallel()
	url := shared.SchemaURL(t)
	b := opened(t, url, postgres.Options{})
	id := persistence.SessionID{1}
	s, err := b.CreateSession(t.Context(), id, token("first"), "ada", time.Minute)
	require.NoError(t, err)

	holder, watcher := connect(t, url), connect(t, url)
	held, err := holder.Begin(t.Context())
	require.NoError(t, err)
	_, err = held.Exec(t.Context(), "SELECT FROM session FOR UPDATE")
	require.NoError(t, err)

	const saves = 6
	done := make(chan error, saves)
	for i := range saves {
		go func() {
			done <- b.SaveSessionRooms(within(t, 20*time.Second), id, s.Generation, []string{fmt.Sprint(i)}, time.Minute)
		}()
		require.Eventually(t, func() bool {
			if i > 0 {
				return b.QueuedSessions() == i
			}
			var waits bool // the first one is under way
			err := watcher.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid)))",
				int32(holder.PgConn().PID())).Scan(&waits)
			return err == nil && waits
		}, 10*time.Second, time.Millisecond)
	}
	require.NoError(t, held.Commit(t.Context()))
	for range saves {
		require.NoError(t, <-done)
	}
	s, err = b.ResumeSession(t.Context(), id, token("first"), token("second"), 0, time.Minute)
	require.NoError(t, err)
	require.Equal(t, []string{fmt.Sprint(saves - 1)}, s.Rooms)
}
