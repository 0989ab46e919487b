package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/postgres"
)

// TestOnlyAStoredEventProvesThatEventsAreStored: on a disk that is full for events, other statements go on. They must neither
// keep the breaker closed nor satisfy Ping.
func TestOnlyAStoredEventProvesThatEventsAreStored(t *testing.T) {
	t.Parallel()
	url := shared.SchemaURL(t)
	b := opened(t, url, postgres.Options{})
	c := claim(t, b, "room/1")
	operator := connect(t, url)
	_, err := operator.Exec(t.Context(), `
		CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS
			$$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$;
		CREATE TRIGGER no_room BEFORE INSERT ON journal_event FOR EACH ROW EXECUTE FUNCTION no_room()`)
	require.NoError(t, err)
	lost := persistence.Lease{Name: "scheduler", Owner: "n", Epoch: 1}
	for range 4 {
		_, err := b.Append(within(t, 5*time.Second), c, 0, event("x"))
		require.ErrorIs(t, err, persistence.ErrUnavailable)
		_, err = b.RenewLease(within(t, 5*time.Second), lost, time.Second)
		require.ErrorIs(t, err, persistence.ErrLeaseLost)
	}
	_, err = b.Append(within(t, 5*time.Second), c, 0, event("x"))
	require.ErrorIs(t, err, persistence.ErrUnavailable)
	_, err = b.RenewLease(within(t, 5*time.Second), lost, time.Second)
	require.ErrorIs(t, err, persistence.ErrUnavailable, "the breaker is open")
	require.ErrorIs(t, b.Ping(within(t, 5*time.Second)), persistence.ErrUnavailable)

	_, err = operator.Exec(t.Context(), "DROP TRIGGER no_room ON journal_event")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return b.Ping(within(t, time.Second)) == nil }, 10*time.Second, 10*time.Millisecond)
	_, err = b.Append(within(t, 5*time.Second), c, 0, event("x"))
	require.NoError(t, err)
}

// TestPoisonInDoubt: the first answer of a batch with a sick stream is lost. The healthy ones are stored all the same (S9).
func TestPoisonInDoubt(t *testing.T) {
	t.Parallel()
	proxy, url := proxied(t, shared)
	b := opened(t, url, postgres.Options{})
	healthy, sick := claim(t, b, "room/1"), claim(t, b, "room/sick")
	operator := connect(t, direct(url, proxy, shared))
	_, err := operator.Exec(t.Context(), `INSERT INTO journal_event (stream_id, seq, pos, epoch, part, lane, codec, message_id, manifest, payload)
		VALUES ($1, 1, 1000000, 1, 0, $2, 0, gen_random_uuid(), 'x', '')`, sick.StreamID, sick.Lane)
	require.NoError(t, err)
	released := holdLanes(t, direct(url, proxy, shared), 1) // so that they meet in one batch
	proxy.Cut()                                             // the first attempt has no answer
	answers := make(chan error, 2)
	for _, c := range []persistence.Claim{sick, healthy} {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			_, err := b.Append(ctx, c, 0, event("x"))
			if c.Key == sick.Key && err == nil {
				err = persistence.ErrConflict // it cannot have been stored
			} else if c.Key == sick.Key {
				err = nil
			}
			answers <- err
		}()
	}
	require.Eventually(t, func() bool { // their batch waits for the lanes: lose its answer
		var n int
		err := operator.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%journal_lane%'`).Scan(&n)
		return err == nil && n > 0
	}, 5*time.Second, time.Millisecond)
	proxy.Cut()
	<-released
	require.NoError(t, <-answers)
	require.NoError(t, <-answers)
	h, err := b.Head(t.Context(), "room/1")
	require.NoError(t, err)
	require.EqualValues(t, 1, h.LastSeq)
}
