package sqlite

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/sqlite/internal/lite"
)

// rows counts the stored events. What the last commit left to purge at once is purged before the count: the writer does
// that before it takes the next batch, though no more than one transaction's part of it.
func (b *Backend) rows(t *testing.T) (n int64) {
	t.Helper()
	b.inWriter(t, func(w *writer) {
		var err error
		n, err = queryInt(w.conn, "SELECT count(*) FROM journal_event")
		require.NoError(t, err)
	})
	return n
}

func (b *Backend) rowsBecome(t *testing.T, want int64) {
	t.Helper()
	require.Eventually(t, func() bool { return b.rows(t) == want }, 10*time.Second, time.Millisecond)
}

func (b *Backend) checkpointAt(t *testing.T, name string, pos uint64) persistence.Checkpoint {
	t.Helper()
	c, err := b.ClaimCheckpoint(t.Context(), name, 0, "node-a")
	require.NoError(t, err)
	require.NoError(t, b.SaveCheckpoint(t.Context(), c, pos))
	return c
}

// What a checkpoint has not passed is kept, and goes as soon as it has.
func TestPurgeWaitsForCheckpoints(t *testing.T) {
	t.Parallel()
	b := openBackend(t)
	claims := []persistence.Claim{claimOf(t, b, "room/1"), claimOf(t, b, "room/2")}
	for i := range uint64(10) { // positions 1 to 20, in turns
		for _, c := range claims {
			require.NoError(t, <-b.appending(c, i, event("x")))
		}
	}
	slow, fast := b.checkpointAt(t, "slow", 4), b.checkpointAt(t, "fast", 20)
	for _, c := range claims {
		require.NoError(t, b.SaveSnapshot(t.Context(), c, persistence.Snapshot{Seq: 10}))
		for upTo := range uint64(9) { // again and again, as rooms do
			require.NoError(t, b.Trim(t.Context(), c, upTo))
		}
	}
	require.EqualValues(t, 16, b.rows(t), "all but the first four")
	b.inWriter(t, func(w *writer) {
		require.False(t, w.purges.any(), "nobody tries in vain")
		require.Len(t, w.purges.held, 2, "one place for each stream")
	})
	require.NoError(t, b.SaveCheckpoint(t.Context(), slow, 5))
	require.EqualValues(t, 15, b.rows(t))
	b.inWriter(t, func(w *writer) { require.Len(t, w.purges.held, 2) })
	b.checkpointAt(t, "new", 0)
	require.NoError(t, b.SaveCheckpoint(t.Context(), slow, 20))
	require.EqualValues(t, 15, b.rows(t), "one that came later is waited for as well")
	require.NoError(t, b.DeleteCheckpoint(t.Context(), "new"))
	require.EqualValues(t, 4, b.rows(t))
	require.NoError(t, b.SaveCheckpoint(t.Context(), fast, 20))
	for _, c := range claims {
		require.NoError(t, b.Trim(t.Context(), c, 10))
	}
	require.Zero(t, b.rows(t))
	b.inWriter(t, func(w *writer) { require.Empty(t, w.purges.known) })
}

// A process that ends while rows wait for a checkpoint leaves them to the next one.
func TestPurgeWaitsOverARestart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal.db")
	b := openAt(t, path)
	c := claimOf(t, b, "room/1")
	require.NoError(t, <-b.appending(c, 0, make([]persistence.Event, 10)))
	slow := b.checkpointAt(t, "slow", 2)
	require.NoError(t, b.SaveSnapshot(t.Context(), c, persistence.Snapshot{Seq: 10}))
	require.NoError(t, b.Trim(t.Context(), c, 10))
	require.EqualValues(t, 8, b.rows(t))
	require.NoError(t, b.Close(t.Context()))

	b = openAt(t, path)
	require.EqualValues(t, 8, b.rows(t))
	require.NoError(t, b.SaveCheckpoint(t.Context(), slow, 9))
	require.EqualValues(t, 1, b.rows(t))
	require.NoError(t, b.DeleteCheckpoint(t.Context(), "slow"))
	require.Zero(t, b.rows(t))
	require.NoError(t, <-b.appending(c, 10, event("x")))
	lanes, err := b.Lanes(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 11, lanes[0].Pos, "positions are never used again")
	require.NoError(t, b.Close(t.Context()))
}

// One transaction deletes rows of many streams, and no more payload than it can hold the writer up with.
func TestPurgeIsBounded(t *testing.T) {
	t.Parallel()
	b := openBackend(t)
	const streams = 50
	large := make([]byte, 1<<20)
	var claims []persistence.Claim
	for i := range streams {
		c := claimOf(t, b, persistence.StreamKey(fmt.Sprintf("room/%d", i)))
		require.NoError(t, <-b.appending(c, 0, event("x")))
		claims = append(claims, c)
	}
	fat := claimOf(t, b, "room/fat")
	for i := range uint64(10) {
		require.NoError(t, <-b.appending(fat, i, event(string(large))))
	}
	left := b.purged(t)
	release := b.stall(t)
	var results []<-chan error
	for _, c := range append(claims, fat) {
		result := make(chan error, 1)
		go func() {
			m := mutationFunc(func(w *writer) error {
				if err := w.conn.Exec(fmt.Sprintf("UPDATE journal_stream SET snap_seq = last_seq, trim_seq = last_seq WHERE stream_id = %d", c.StreamID)); err != nil {
					return err
				}
				w.purges.add(c.StreamID)
				return nil
			})
			result <- b.submit(context.Background(), &request{mutation: m, events: 1})
		}()
		results = append(results, result)
		b.queued(t, len(results))
	}
	release()
	for _, r := range results {
		require.NoError(t, <-r)
	}
	b.rowsBecome(t, 0)
	require.Equal(t, []int64{10, 6, 2, 0}, <-left, "the small ones in one transaction, the large ones by their bytes")
}

// purged tells how many rows each transaction that deleted some has left, once there are none.
func (b *Backend) purged(t *testing.T) <-chan []int64 {
	t.Helper()
	result := make(chan []int64, 1)
	b.inWriter(t, func(w *writer) {
		var left []int64
		before, commit := int64(0), w.commit
		w.commit = func() error {
			now, err := queryInt(w.conn, "SELECT count(*) FROM journal_event")
			if err != nil {
				return err
			}
			if now < before {
				left = append(left, now)
				if now == 0 {
					result <- left
				}
			}
			before = now
			return commit()
		}
	})
	return result
}

// A purge that fails is tried again once something has been stored.
func TestPurgeAfterAFullDisk(t *testing.T) {
	t.Parallel()
	b := openBackend(t)
	c := claimOf(t, b, "room/1")
	require.NoError(t, <-b.appending(c, 0, make([]persistence.Event, 10)))
	require.NoError(t, b.SaveSnapshot(t.Context(), c, persistence.Snapshot{Seq: 10}))
	failed := make(chan struct{})
	b.inWriter(t, func(w *writer) {
		commits, commit := 0, w.commit
		w.commit = func() error {
			if commits++; commits < 3 { // this one and the trim
				return commit()
			}
			w.commit = commit
			close(failed)
			return &lite.Error{Extended: lite.CodeFull, Message: "injected"}
		}
	})
	require.NoError(t, b.Trim(t.Context(), c, 10))
	<-failed
	require.EqualValues(t, 10, b.rows(t))
	require.Zero(t, b.rows(t))
}
