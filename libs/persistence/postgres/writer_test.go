package postgres_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/postgres"
)

// TestTwoEpochsInOneBatch: an old and a new activation of one stream meet in a transaction, and the old one's events would
// be in nobody's way. The winner does not let them in.
func TestTwoEpochsInOneBatch(t *testing.T) {
	t.Parallel()
	url := shared.SchemaURL(t)
	b := opened(t, url, postgres.Options{})
	reader := connect(t, url)
	for key, oldFirst := range map[persistence.StreamKey]bool{"room/old-first": true, "room/new-first": false} {
		old, now := claim(t, b, key), claim(t, b, key)
		loser := postgres.TogetherAppend{Claim: old, Expected: 1, Events: event("loser")}
		batch := []postgres.TogetherAppend{{Claim: now, Expected: 0, Events: event("winner")}, loser}
		if oldFirst {
			slices.Reverse(batch)
		}
		errs, err := b.StoreTogether(batch...)
		require.NoError(t, err)
		for i, err := range errs {
			if batch[i].Claim == now {
				require.NoError(t, err, key)
			} else {
				require.ErrorIs(t, err, persistence.ErrFenced, key)
			}
		}
		rows, err := reader.Query(t.Context(), "SELECT convert_from(payload, 'UTF8') FROM journal_event WHERE stream_id = $1", now.StreamID)
		require.NoError(t, err)
		stored, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		require.Equal(t, []string{"winner"}, stored, key)
	}
}

// TestWriterSettings: whatever the database, the role or the URL says, a connection that writes has the settings that its
// promises rest on.
func TestWriterSettings(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"synchronous_commit":                  "on",
		"statement_timeout":                   "0",
		"lock_timeout":                        "2s",
		"idle_in_transaction_session_timeout": "5s",
		"tcp_keepalives_idle":                 "5",
		"tcp_keepalives_interval":             "2",
		"tcp_keepalives_count":                "3",
		"tcp_user_timeout":                    "10000",
		"client_connection_check_interval":    "2s",
		"enable_seqscan":                      "off",
		"enable_hashjoin":                     "off",
		"enable_mergejoin":                    "off",
		"plan_cache_mode":                     "force_generic_plan",
		"jit":                                 "off",
	}
	url := shared.SchemaURL(t)
	weak := url + "&synchronous_commit=off&statement_timeout=60000&lock_timeout=0&idle_in_transaction_session_timeout=0" +
		"&tcp_keepalives_idle=600&tcp_keepalives_interval=60&tcp_keepalives_count=9&tcp_user_timeout=0" +
		"&client_connection_check_interval=0&enable_seqscan=on&enable_hashjoin=on&enable_mergejoin=on&plan_cache_mode=auto&jit=on"
	for _, at := range []string{url, weak} {
		got, err := opened(t, at, postgres.Options{}).WriterSettings(t.Context(), slices.Collect(maps.Keys(want))...)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	strict, err := opened(t, url+"&synchronous_commit=remote_apply", postgres.Options{}).WriterSettings(t.Context(), "synchronous_commit")
	require.NoError(t, err)
	require.Equal(t, "remote_apply", strict["synchronous_commit"], "what is stricter stays")
}

// TestLostAnswerOfAClaim: the server made the claim and its answer is lost. With a guard nobody can say what became of it;
// without one it is made again.
func TestLostAnswerOfAClaim(t *testing.T) {
	t.Parallel()
	proxy, url := proxied(t, shared)
	b := opened(t, url, postgres.Options{})
	require.EqualValues(t, 1, claim(t, b, "room/1").Epoch)
	before := proxy.Counts().LostAnswers

	proxy.LoseAnswers(1, "INSERT")
	_, err := b.Claim(within(t, 20*time.Second), "room/1", "node-b", persistence.ClaimOptions{Guard: persistence.GuardEpoch{Epoch: 1}})
	require.ErrorIs(t, err, persistence.ErrUnknown)
	require.Equal(t, before+1, proxy.Counts().LostAnswers, "the fault happened")
	head, err := b.Head(t.Context(), "room/1")
	require.NoError(t, err)
	require.EqualValues(t, 2, head.Epoch)
	require.Equal(t, "node-b", head.Owner)

	proxy.LoseAnswers(1, "INSERT")
	c, err := b.Claim(within(t, 20*time.Second), "room/1", "node-c", persistence.ClaimOptions{})
	require.NoError(t, err)
	require.Equal(t, before+2, proxy.Counts().LostAnswers, "the fault happened")
	require.EqualValues(t, 4, c.Epoch, "it was made twice")
	_, err = b.Append(t.Context(), c, 0, event("x"))
	require.NoError(t, err)
}

// TestPingStoresAnEvent: when nothing was stored of late, the proof that the journal takes writes is one.
func TestPingStoresAnEvent(t *testing.T) {
	t.Parallel()
	url := shared.SchemaURL(t)
	b := opened(t, url, postgres.Options{})
	watcher := connect(t, url)
	probes := func() (events int, positions int64) {
		err := watcher.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM journal_event), (SELECT sum(pos)::bigint FROM journal_lane)").
			Scan(&events, &positions)
		require.NoError(t, err)
		return events, positions
	}
	for n := 1; n <= 2; n++ {
		require.Eventually(t, func() bool {
			require.NoError(t, b.Ping(t.Context()))
			events, positions := probes()
			require.EqualValues(t, events, positions, "each has a position of its own")
			return events == n
		}, 10*time.Second, 20*time.Millisecond, "probe %d", n)
	}
}
