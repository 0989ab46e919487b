package postgres_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/persistencetest/pgtest"
	"github.com/parley-rt/parley/libs/persistence/postgres"
)

// replicated is a primary whose commits wait for its standby.
func replicated(t *testing.T) (primary, standby *pgtest.Cluster) {
	t.Helper()
	primary = pgtest.Start(t, pgtest.Options{})
	standby, err := primary.Standby(t.Context(), "s1", pgtest.Options{})
	require.NoError(t, err)
	require.NoError(t, primary.Exec(t.Context(), "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (s1)'"))
	require.NoError(t, primary.Exec(t.Context(), "SELECT pg_reload_conf()"))
	require.Eventually(t, func() bool {
		var state string
		err := primary.QueryRow(t.Context(), "SELECT sync_state FROM pg_stat_replication").Scan(&state)
		return err == nil && state == "quorum"
	}, 20*time.Second, 20*time.Millisecond)
	return primary, standby
}

// waitingCommits is how many sessions wait for the standby.
func waitingCommits(t *testing.T, c *pgtest.Cluster) (n int) {
	t.Helper()
	require.NoError(t, c.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'").Scan(&n))
	return n
}

// TestStandbyAway: while the standby is away nothing is acknowledged and nothing becomes visible, whatever runs out on the
// client's side; when it is back, the commit counts.
func TestStandbyAway(t *testing.T) {
	t.Parallel()
	primary, standby := replicated(t)
	b := opened(t, primary.URL(), postgres.Options{})
	c := claim(t, b, "room/1")
	_, err := b.Append(within(t, 10*time.Second), c, 0, event("before"))
	require.NoError(t, err)

	require.NoError(t, standby.Pause())
	_, err = b.Append(within(t, 4*time.Second), c, 1, event("during"))
	require.ErrorIs(t, err, persistence.ErrUnknown)
	require.Positive(t, waitingCommits(t, primary))
	h, err := b.Head(t.Context(), "room/1")
	require.NoError(t, err)
	require.EqualValues(t, 1, h.LastSeq, "a commit that is not replicated is not seen")
	_, err = b.Claim(within(t, 2*time.Second), "room/1", "node-b", persistence.ClaimOptions{})
	require.Error(t, err, "a claim does not get past it")

	require.NoError(t, standby.Resume())
	again, err := b.Claim(within(t, 20*time.Second), "room/1", "node-b", persistence.ClaimOptions{})
	require.NoError(t, err)
	require.EqualValues(t, 2, again.LastSeq)
}

// TestCanceledWait: an operator cancels the sessions that wait for the standby. The server then reports success, with a
// warning. The append must not be acknowledged before it is replicated.
func TestCanceledWait(t *testing.T) {
	t.Parallel()
	primary, standby := replicated(t)
	b := opened(t, primary.URL(), postgres.Options{})
	c := claim(t, b, "room/1")
	for i, cancel := range []string{"pg_cancel_backend", "pg_terminate_backend"} {
		require.NoError(t, standby.Pause())
		acked := make(chan error, 1)
		go func() {
			_, err := b.Append(within(t, 60*time.Second), c, uint64(i), event(cancel))
			acked <- err
		}()
		// Whatever is canceled, another attempt waits again.
		for range 3 {
			require.Eventually(t, func() bool { return waitingCommits(t, primary) > 0 }, 20*time.Second, 5*time.Millisecond)
			require.NoError(t, primary.Exec(t.Context(), fmt.Sprintf(
				"SELECT %s(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'", cancel)))
			require.Empty(t, acked, "acknowledged before it was replicated")
		}
		h, err := b.Head(t.Context(), "room/1")
		require.NoError(t, err)
		require.EqualValues(t, i+1, h.LastSeq, "the canceled commit is visible: that is the danger")
		require.Empty(t, acked)
		require.NoError(t, standby.Resume())
		require.NoError(t, <-acked)
		require.Eventually(t, func() bool { // it has the commit, and shows it in its own time
			var replicated int
			err := standby.QueryRow(t.Context(), "SELECT last_seq FROM parley.journal_stream WHERE stream_key = 'room/1'").Scan(&replicated)
			return err == nil && replicated == i+1
		}, 10*time.Second, 10*time.Millisecond)
	}
}

// TestFailover: the primary dies and its standby is promoted. A journal that was opened with both hosts goes on there, with
// everything that was acknowledged.
func TestFailover(t *testing.T) {
	t.Parallel()
	primary, standby := replicated(t)
	url := fmt.Sprintf("postgres://parley@%s,%s/parley?sslmode=disable", primary.Addr(), standby.Addr())
	b := opened(t, url, postgres.Options{})
	c := claim(t, b, "room/1")
	for i := range 20 {
		_, err := b.Append(within(t, 10*time.Second), c, uint64(i), event(fmt.Sprint(i)))
		require.NoError(t, err)
	}
	require.NoError(t, primary.Kill9())
	require.NoError(t, standby.Promote(t.Context()))
	require.NoError(t, standby.Exec(t.Context(), "ALTER SYSTEM SET synchronous_standby_names = ''"))
	require.NoError(t, standby.Exec(t.Context(), "SELECT pg_reload_conf()"))
	require.Eventually(t, func() bool {
		last, err := b.Append(within(t, 5*time.Second), c, 20, event("20"))
		return err == nil && last == 21
	}, 30*time.Second, 50*time.Millisecond)
	events, err := b.Read(t.Context(), "room/1", 1, 100)
	require.NoError(t, err)
	require.Len(t, events, 21)
}

// TestOpenNeedsAPrimary: a standby alone is no journal.
func TestOpenNeedsAPrimary(t *testing.T) {
	t.Parallel()
	_, standby := replicated(t)
	_, err := postgres.Open(within(t, 10*time.Second), standby.URL(), postgres.Options{})
	require.ErrorIs(t, err, persistence.ErrUnavailable)
	require.ErrorContains(t, err, "read only")
}

// TestPasswordStaysOut: whatever is wrong with a URL, its password is in no error.
func TestPasswordStaysOut(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		strings.Replace(shared.URL(), "parley@", "parley:sesame@", 1) + "&search_path=no-name",
		"postgres://parley:sesame@127.0.0.1:1/parley?sslmode=disable",
		"postgres://parley:sesame@127.0.0.1:1/parley?sslmode=nonsense",
		"postgres://parley:sesame@[::1/parley",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_, err := postgres.Open(ctx, url, postgres.Options{})
		cancel()
		require.Error(t, err, url)
		require.NotContains(t, err.Error(), "sesame")
	}
}
