package sqlite

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/sqlite/internal/lite"
)

func connectTo(t *testing.T, path string) *lite.Conn {
	t.Helper()
	c, err := lite.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func TestSchemaOfAnotherVersion(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, change, says string }{
		{"newer", "INSERT INTO journal_migration VALUES (5, 'future', 'x', 0, 5)",
			"schema is at version 5, which needs a binary that knows version 5; this one knows up to 4: run a newer one"},
		{"edited", "UPDATE journal_migration SET checksum = 'other'", "schema version 1 (journal) is not the one of this binary"},
		{"in part", "DELETE FROM journal_migration WHERE version = 1", "schema has version 2 without 1"},
		{"of another application", "PRAGMA application_id = 7", "another application"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "journal.db")
			b, err := Open(t.Context(), path, Options{})
			require.NoError(t, err)
			require.NoError(t, b.Close(t.Context()))
			c, err := lite.Open(path)
			require.NoError(t, err)
			require.NoError(t, c.Exec(test.change))
			require.NoError(t, c.Close())

			_, err = Open(t.Context(), path, Options{})
			require.ErrorIs(t, err, persistence.ErrSchemaVersion)
			require.ErrorContains(t, err, test.says)
			_, err = Open(t.Context(), path, Options{})
			require.ErrorIs(t, err, persistence.ErrSchemaVersion, "and the lock is free again")
		})
	}
}

func TestSchemaOfAStranger(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "other.db")
	c, err := lite.Open(path)
	require.NoError(t, err)
	require.NoError(t, c.Exec("CREATE TABLE precious (x)"))
	require.NoError(t, c.Close())
	_, err = Open(t.Context(), path, Options{})
	require.ErrorIs(t, err, persistence.ErrSchemaVersion)
}

// Corruption is noticed where it is read.
func TestReadFindsHoles(t *testing.T) {
	t.Parallel()
	b := openBackend(t)
	c := claimOf(t, b, "room/1")
	require.NoError(t, <-b.appending(c, 0, make([]persistence.Event, 5)))
	b.inWriter(t, func(w *writer) { require.NoError(t, w.conn.Exec("DELETE FROM journal_event WHERE seq = 3")) })
	_, err := b.Read(t.Context(), "room/1", 1, 5)
	require.ErrorIs(t, err, persistence.ErrCorrupt)
	_, err = b.ReadReverse(t.Context(), "room/1", 0, 5)
	require.ErrorIs(t, err, persistence.ErrCorrupt)
	c = claimOf(t, b, "room/1")
	_, err = b.Recover(t.Context(), c)
	require.ErrorIs(t, err, persistence.ErrCorrupt)
	events, err := b.Read(t.Context(), "room/1", 4, 5)
	require.NoError(t, err)
	require.Len(t, events, 2)

	b.inWriter(t, func(w *writer) { require.NoError(t, w.conn.Exec("DELETE FROM journal_event WHERE seq = 5")) })
	_, err = b.Recover(context.Background(), c)
	require.ErrorIs(t, err, persistence.ErrCorrupt, "a tail that ends before the head")
}

func TestRoomsCodec(t *testing.T) {
	t.Parallel()
	for _, rooms := range [][]string{nil, {"a"}, {"a", "b", "räum"}, {string(make([]byte, 300))}} {
		decoded, err := decodeRooms(encodeRooms(rooms))
		require.NoError(t, err)
		require.Equal(t, rooms, decoded)
	}
	for _, bad := range [][]byte{{5, 'a'}, {0x80}, {1, 'a', 2}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 'a'}} {
		_, err := decodeRooms(bad)
		require.ErrorIs(t, err, persistence.ErrCorrupt, "%x", bad)
	}
}

// A killed process proves nothing about these: only a power cut would miss them.
func TestSettings(t *testing.T) {
	t.Parallel()
	b := openBackend(t)
	check := func(c *lite.Conn) {
		for pragma, want := range map[string]int64{"synchronous": 2, "foreign_keys": 0, "busy_timeout": 10000, "wal_autocheckpoint": 4000} {
			got, err := queryInt(c, "PRAGMA "+pragma)
			require.NoError(t, err)
			require.Equal(t, want, got, pragma)
		}
	}
	b.inWriter(t, func(w *writer) { check(w.conn) })
	require.NoError(t, b.read(t.Context(), func(r *reader) error {
		check(r.conn)
		require.ErrorContains(t, r.conn.Exec("DELETE FROM journal_event"), "readonly")
		return nil
	}))
}
