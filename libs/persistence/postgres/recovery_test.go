package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/postgres"
)

// heavyStreams claims streams with events of so many bytes.
func heavyStreams(t *testing.T, b *postgres.Backend, url string, streams, events, size int) []persistence.Claim {
	t.Helper()
	claims := make([]persistence.Claim, streams)
	for i := range claims {
		claims[i] = claim(t, b, persistence.StreamKey(fmt.Sprintf("room/%d", i)))
	}
	execIn(t, url, `INSERT INTO {schema}.journal_event (stream_id, seq, pos, epoch, part, lane, codec, message_id, manifest, payload)
		SELECT s.stream_id, g, s.stream_id * 10000 + g, 1, 0, s.lane, 0, gen_random_uuid(), 'x', convert_to(repeat('x', $2), 'UTF8')
		FROM {schema}.journal_stream s, generate_series(1, $1::int) g`, events, size)
	execIn(t, url, `UPDATE {schema}.journal_stream SET last_seq = $1`, events)
	execIn(t, url, `UPDATE {schema}.journal_lane SET pos = 100000000`)
	for i := range claims {
		claims[i] = claim(t, b, claims[i].Key)
		require.EqualValues(t, events, claims[i].LastSeq)
	}
	return claims
}

// recoverAll recovers them at the same time.
func recoverAll(t *testing.T, b *postgres.Backend, claims []persistence.Claim) []persistence.Recovery {
	t.Helper()
	recovered, errs := make([]persistence.Recovery, len(claims)), make([]error, len(claims))
	var wg sync.WaitGroup
	for i := range claims {
		wg.Go(func() { recovered[i], errs[i] = b.Recover(t.Context(), claims[i]) })
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	return recovered
}

// TestRecoverHeavyTails: tails that are too much for one trip come in part, or each in a trip of its own, and are read on.
func TestRecoverHeavyTails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ streams, events, size int }{
		{64, 300, 16 << 10},
		{64, 3, 300 << 10}, // one event is more than a stream's share
		{2, 3, 5 << 20},    // and more than a page
	} {
		t.Run(fmt.Sprintf("%d x %d x %d", c.streams, c.events, c.size), func(t *testing.T) {
			t.Parallel()
			url := shared.SchemaURL(t)
			b := opened(t, url, postgres.Options{})
			claims := heavyStreams(t, b, url, c.streams, c.events, c.size)
			for i, rec := range recoverAll(t, b, claims) {
				size, seq, more := 0, uint64(0), rec.More
				for _, e := range rec.Tail {
					seq++
					require.Equal(t, seq, e.Seq)
					size += len(e.Payload)
				}
				require.NotZero(t, seq)
				require.LessOrEqual(t, size, max(c.size, persistence.MaxReadBytes))
				require.Equal(t, seq < claims[i].LastSeq, more)
				for more {
					events, err := b.Read(t.Context(), claims[i].Key, seq+1, 1000)
					require.NoError(t, err)
					require.NotEmpty(t, events)
					require.Equal(t, seq+1, events[0].Seq)
					seq = events[len(events)-1].Seq
					more = seq < claims[i].LastSeq
				}
				require.EqualValues(t, c.events, seq)
			}
		})
	}
}

// TestRecoverHeavySnapshots: snapshots that are too much for one trip come in several, each with the one before it.
func TestRecoverHeavySnapshots(t *testing.T) {
	t.Parallel()
	url := shared.SchemaURL(t)
	b := opened(t, url, postgres.Options{})
	claims := heavyStreams(t, b, url, 40, 3, 10)
	execIn(t, url, `INSERT INTO {schema}.journal_snapshot (stream_id, seq, epoch, codec, manifest, payload)
		SELECT s.stream_id, g, 1, 0, 'x', convert_to(repeat('x', 1000000), 'UTF8') FROM {schema}.journal_stream s, generate_series(1, 2) g`)
	execIn(t, url, `UPDATE {schema}.journal_stream SET snap_seq = 2`)
	for i := range claims {
		claims[i] = claim(t, b, claims[i].Key)
	}
	for _, rec := range recoverAll(t, b, claims) {
		require.EqualValues(t, 2, rec.Snapshot.Seq)
		require.Len(t, rec.Snapshot.Payload, 1000000)
		require.EqualValues(t, 1, rec.Previous.Seq)
		require.Len(t, rec.Previous.Payload, 1000000)
		require.Len(t, rec.Tail, 1)
		require.False(t, rec.More)
	}
}

// TestRecoverUpToASnapshot: a snapshot at the claim's head, saved since, leaves nothing to read.
func TestRecoverUpToASnapshot(t *testing.T) {
	t.Parallel()
	url := shared.SchemaURL(t)
	b := opened(t, url, postgres.Options{})
	c := heavyStreams(t, b, url, 1, 2500, 10)[0]
	require.NoError(t, b.SaveSnapshot(t.Context(), c, persistence.Snapshot{Seq: 2500, Payload: []byte("state")}))
	rec, err := b.Recover(t.Context(), c)
	require.NoError(t, err)
	require.EqualValues(t, 2500, rec.Snapshot.Seq)
	require.Empty(t, rec.Tail)
	require.False(t, rec.More)
}

// TestRecoverLosesATailsEnd: a tail without its end is no tail that was cut.
func TestRecoverLosesATailsEnd(t *testing.T) {
	t.Parallel()
	url := shared.SchemaURL(t)
	b := opened(t, url, postgres.Options{})
	c := heavyStreams(t, b, url, 1, 10, 10)[0]
	execIn(t, url, `DELETE FROM {schema}.journal_event WHERE seq > 7`)
	_, err := b.Recover(t.Context(), c)
	require.ErrorIs(t, err, persistence.ErrCorrupt)
}

// TestRecoverFromAServerWithoutTheClaim: what a server tells that was passed over by a failover is no state.
func TestRecoverFromAServerWithoutTheClaim(t *testing.T) {
	t.Parallel()
	url := shared.SchemaURL(t)
	b := opened(t, url, postgres.Options{})
	claim(t, b, "room/1")
	c := claim(t, b, "room/1")
	execIn(t, url, `UPDATE {schema}.journal_stream SET epoch = epoch - 1`)
	_, err := b.Recover(t.Context(), c)
	require.ErrorIs(t, err, persistence.ErrUnavailable)
	require.ErrorContains(t, err, "lacks the claim")
}

// holdSnapshots keeps every recovery waiting until release.
func holdSnapshots(t *testing.T, url string) (release func()) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close(context.WithoutCancel(t.Context()))) })
	_, err = conn.Exec(t.Context(), `BEGIN; LOCK TABLE journal_snapshot`)
	require.NoError(t, err)
	return func() {
		_, err := conn.Exec(t.Context(), `ROLLBACK`)
		require.NoError(t, err)
	}
}

// TestRecoverOverloaded: who finds too many waiting is refused, and those who leave make room at once.
func TestRecoverOverloaded(t *testing.T) {
	t.Parallel()
	url := shared.SchemaURL(t)
	b := opened(t, url, postgres.Options{})
	c := claim(t, b, "room/1")
	release := holdSnapshots(t, url)
	const queue, trips = 16 << 10, 2 * 64
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	errs := make(chan error, queue+trips+1)
	for range cap(errs) {
		go func() {
			_, err := b.Recover(ctx, c)
			errs <- err
		}()
	}
	require.ErrorIs(t, <-errs, persistence.ErrOverloaded)
	leave()
	for range cap(errs) - 1 {
		require.Error(t, <-errs)
	}
	done := make(chan error, 1)
	go func() {
		_, err := b.Recover(t.Context(), c)
		done <- err
	}()
	release()
	require.NoError(t, <-done)
}

// TestRecoverAfterASlowTrip: the streams of a trip that ran out of time are tried again in two halves; a single one fails.
func TestRecoverAfterASlowTrip(t *testing.T) {
	t.Parallel()
	url := shared.SchemaURL(t)
	b := opened(t, url, postgres.Options{})
	claims := heavyStreams(t, b, url, 8, 3, 10)
	release := holdSnapshots(t, url)
	seen := map[int]bool{}
	// trips waits for so many new trips that wait for the table.
	trips := func(n int) {
		var pids []int
		require.Eventually(t, func() bool {
			require.NoError(t, shared.QueryRow(t.Context(), `SELECT coalesce(array_agg(pid), '{}') FROM pg_locks
				WHERE NOT granted AND relation = $1::regclass`, schemaOf(t, url)+".journal_snapshot").Scan(&pids))
			pids = slices.DeleteFunc(pids, func(pid int) bool { return seen[pid] })
			return len(pids) == n
		}, 30*time.Second, 5*time.Millisecond)
		for _, pid := range pids {
			seen[pid] = true
		}
	}
	single, many := make(chan error, 2), make(chan error, 6)
	recoverTo := func(c persistence.Claim, errs chan<- error) {
		go func() {
			_, err := b.Recover(t.Context(), c)
			errs <- err
		}()
	}
	for i := range 2 {
		recoverTo(claims[i], single)
		trips(1)
	}
	for _, c := range claims[2:] {
		recoverTo(c, many)
	}
	require.ErrorIs(t, <-single, persistence.ErrUnavailable)
	trips(1)
	require.ErrorIs(t, <-single, persistence.ErrUnavailable)
	trips(2)
	require.Empty(t, many)
	release()
	for range cap(many) {
		require.NoError(t, <-many)
	}
}
