package sqlite

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
)

func TestTrimmedRowsAreDeleted(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal.db")
	b, err := Open(t.Context(), path, Options{})
	require.NoError(t, err)
	c := claimOf(t, b, "room/1")
	rows := func() (n int64) {
		b.inWriter(t, func(w *writer) {
			n, err = queryInt(w.conn, "SELECT count(*) FROM journal_event")
			require.NoError(t, err)
		})
		return n
	}
	for i := range uint64(3) {
		require.NoError(t, <-b.appending(c, i*1000, make([]persistence.Event, 1000)))
	}
	require.NoError(t, b.SaveSnapshot(t.Context(), c, persistence.Snapshot{Seq: 3000}))
	require.NoError(t, b.Trim(t.Context(), c, 2990))
	require.Eventually(t, func() bool { return rows() == 10 }, 10*time.Second, time.Millisecond)

	b.inWriter(t, func(w *writer) { // as if the process had ended before it came to delete
		require.NoError(t, w.conn.Exec("UPDATE journal_stream SET trim_seq = 3000"))
	})
	require.NoError(t, b.Close(t.Context()))
	b, err = Open(t.Context(), path, Options{})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return rows() == 0 }, 10*time.Second, time.Millisecond)

	c = claimOf(t, b, "room/1")
	require.NoError(t, <-b.appending(c, 3000, event("x")))
	b.inWriter(t, func(w *writer) {
		pos, err := queryInt(w.conn, "SELECT pos FROM journal_event")
		require.NoError(t, err)
		require.EqualValues(t, 3001, pos, "positions are never used again")
	})
	require.NoError(t, b.Close(t.Context()))
}
