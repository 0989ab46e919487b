package sqlite

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
)

// stepping makes every commit wait for a step.
func (b *Backend) stepping(t *testing.T) (step func()) {
	t.Helper()
	steps, done := make(chan struct{}), make(chan struct{})
	b.inWriter(t, func(w *writer) {
		own, commit := true, w.commit
		w.commit = func() error {
			if own {
				own = false
				return commit()
			}
			_, more := <-steps
			err := commit()
			if more {
				done <- struct{}{}
			}
			return err
		}
	})
	t.Cleanup(func() { close(steps) })
	return func() {
		steps <- struct{}{}
		<-done
	}
}

// A partition is gone for readers with the first commit, whatever takes how long afterwards; what they see does not change
// with the rows that go, nor when the process dies on the way.
func TestDroppedPartitionGoesAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal.db")
	b := openAt(t, path)
	t.Cleanup(func() { require.NoError(t, b.Close(context.Background())) })
	const streams, each = 7, 400 // more than one transaction deletes
	claims := make([]persistence.Claim, streams)
	for i := range claims {
		claims[i] = claimOf(t, b, persistence.StreamKey(fmt.Sprintf("room/%d", i)))
		for head := uint64(0); head < each; head += each / 2 {
			require.NoError(t, <-b.appending(claims[i], head, make([]persistence.Event, each/2)))
		}
		require.NoError(t, b.SaveSnapshot(t.Context(), claims[i], persistence.Snapshot{Seq: each}))
	}
	require.NoError(t, b.Trim(t.Context(), claims[0], 300))
	require.NoError(t, b.Rotate(t.Context(), 1))
	for i, c := range claims {
		require.NoError(t, <-b.appending(c, each, make([]persistence.Event, 10*i+1)))
	}
	idle := claimOf(t, b, "room/idle")
	b.rowsBecome(t, streams*each-300+217)

	gone := func(t *testing.T, b *Backend) {
		t.Helper()
		for i := range claims {
			h, err := b.Head(t.Context(), claims[i].Key)
			require.NoError(t, err)
			require.EqualValues(t, each, h.TrimSeq)
			_, err = b.Read(t.Context(), h.Key, each, 1)
			require.ErrorIs(t, err, persistence.ErrTrimmed)
			events, err := b.ReadReverse(t.Context(), h.Key, 0, 1000)
			require.NoError(t, err)
			require.Len(t, events, 10*i+1)
		}
		h, err := b.Head(t.Context(), idle.Key)
		require.NoError(t, err)
		require.Zero(t, h.TrimSeq)
		_, _, err = b.ReadLane(t.Context(), 0, streams*each-1, 1)
		require.ErrorIs(t, err, persistence.ErrTrimmed)
		events, next, err := b.ReadLane(t.Context(), 0, streams*each, 1000)
		require.NoError(t, err)
		require.Len(t, events, 217)
		require.EqualValues(t, streams*each+217, next)
	}
	step := b.stepping(t)
	result := make(chan error, 1)
	go func() {
		_, err := b.DropPartitions(context.Background(), 0)
		result <- err
	}()
	step()
	require.NoError(t, <-result)
	gone(t, b)
	for i := range 2 {
		crashed := filepath.Join(t.TempDir(), "journal.db")
		for _, suffix := range []string{"", "-wal"} {
			content, err := os.ReadFile(path + suffix)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(crashed+suffix, content, 0o600))
		}
		copied := openAt(t, crashed)
		gone(t, copied)
		copied.rowsBecome(t, 217)
		gone(t, copied)
		require.NoError(t, copied.Close(t.Context()))

		claimed := make(chan persistence.Claim, 1)
		go func() {
			c, err := b.Claim(context.Background(), claims[i].Key, "node-b", persistence.ClaimOptions{})
			if err != nil {
				t.Errorf("claim: %v", err)
			}
			claimed <- c
		}()
		b.queued(t, 1)
		step() // some rows
		gone(t, b)
		step() // the claim
		require.EqualValues(t, each, (<-claimed).TrimSeq)
		gone(t, b)
	}
}

// The last positions given are not given again when everything that had them is dropped.
func TestDropKeepsPositions(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal.db")
	b := openAt(t, path)
	c := claimOf(t, b, "room/1")
	require.NoError(t, <-b.appending(c, 0, make([]persistence.Event, 10)))
	require.NoError(t, b.SaveSnapshot(t.Context(), c, persistence.Snapshot{Seq: 10}))
	require.NoError(t, b.Rotate(t.Context(), 3))
	dropped, err := b.DropPartitions(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, []int32{0}, dropped)
	b.rowsBecome(t, 0)
	require.NoError(t, b.Close(t.Context()))

	b = openAt(t, path)
	lanes, err := b.Lanes(t.Context())
	require.NoError(t, err)
	require.Equal(t, []persistence.LaneHead{{Pos: 10, TrimPos: 10}}, lanes)
	require.NoError(t, <-b.appending(c, 10, event("x")))
	b.inWriter(t, func(w *writer) {
		pos, err := queryInt(w.conn, "SELECT pos FROM journal_event WHERE part = 3")
		require.NoError(t, err)
		require.EqualValues(t, 11, pos)
	})
	require.NoError(t, b.Close(t.Context()))
}

// Between the look at who needs a partition and the drop, a consumer may have come, or somebody else may have dropped it.
func TestDropLooksAgain(t *testing.T) {
	t.Parallel()
	b := openBackend(t)
	c := claimOf(t, b, "room/1")
	require.NoError(t, <-b.appending(c, 0, make([]persistence.Event, 10)))
	require.NoError(t, b.SaveSnapshot(t.Context(), c, persistence.Snapshot{Seq: 10}))
	require.NoError(t, b.Rotate(t.Context(), 1))
	var seen partition
	require.NoError(t, b.read(t.Context(), func(r *reader) error {
		oldest, found, err := r.droppable(0)
		require.True(t, found)
		seen = oldest
		return err
	}))
	drop := func() error {
		return b.submit(t.Context(), &request{mutation: &dropMutation{partition: seen}, events: 1})
	}
	b.checkpointAt(t, "late", 9)
	var blocked *persistence.BlockedError
	require.ErrorAs(t, drop(), &blocked)
	require.Equal(t, &persistence.BlockedError{Part: 0, Checkpoints: []string{"late"}}, blocked)
	_, _, err := b.ReadLane(t.Context(), 0, 0, 1)
	require.NoError(t, err, "nothing is gone")

	b.checkpointAt(t, "late", 10)
	require.NoError(t, drop())
	require.ErrorIs(t, drop(), errDropped)
	dropped, err := b.DropPartitions(t.Context(), 0)
	require.NoError(t, err)
	require.Empty(t, dropped)
}
