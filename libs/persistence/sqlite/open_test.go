package sqlite_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/sqlite"
)

func tryOpen(t *testing.T, path string) error {
	t.Helper()
	b, err := sqlite.Open(t.Context(), path, sqlite.Options{Readers: 1})
	if err != nil {
		require.ErrorContains(t, err, path, "an error names the file")
		return err
	}
	return b.Close(context.Background())
}

func TestOpenLocks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, lock := filepath.Join(dir, "journal.db"), filepath.Join(dir, "journal.db.lock")
	require.NoError(t, os.WriteFile(lock, []byte("99999999\n"), 0o600))
	b := open(t, path, sqlite.Options{}) // the file of a process that was killed blocks nobody

	var locked *sqlite.LockedError
	require.ErrorAs(t, tryOpen(t, path), &locked)
	require.Equal(t, &sqlite.LockedError{Path: lock, PID: os.Getpid()}, locked)
	require.ErrorContains(t, locked, strconv.Itoa(os.Getpid()))

	link := filepath.Join(t.TempDir(), "other.db")
	require.NoError(t, os.Symlink(path, link))
	require.ErrorAs(t, tryOpen(t, link), &locked, "by another name")

	require.NoError(t, os.WriteFile(lock, []byte("garbage"), 0o600))
	require.ErrorAs(t, tryOpen(t, path), &locked)
	require.Zero(t, locked.PID)
	require.ErrorContains(t, locked, lock)

	require.NoError(t, os.WriteFile(filepath.Join(dir, "journal.lock"), []byte("1\n"), 0o600))
	require.NoError(t, tryOpen(t, filepath.Join(dir, "journal.sqlite")), "another database that differs by its extension only")

	require.NoError(t, b.Close(t.Context()))
	require.NoError(t, tryOpen(t, path))
}

func TestOpenCreatesForTheOwnerOnly(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	b := open(t, filepath.Join(dir, "journal.db"), sqlite.Options{})
	defer func() { require.NoError(t, b.Close(context.Background())) }()
	require.NoError(t, b.Ping(t.Context()))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 4, "database, log, its index and the lock")
	for _, entry := range entries {
		info, err := entry.Info()
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), info.Mode().Perm(), entry.Name())
	}
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o700), info.Mode().Perm())
}

func TestCloseEmptiesTheLog(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal.db")
	b := open(t, path, sqlite.Options{})
	c, err := b.Claim(t.Context(), "room/1", "node-a", persistence.ClaimOptions{})
	require.NoError(t, err)
	_, err = b.Append(t.Context(), c, 0, make([]persistence.Event, 10))
	require.NoError(t, err)
	require.NoError(t, b.Close(t.Context()))
	require.NoFileExists(t, path+"-wal")

	copied := filepath.Join(t.TempDir(), "copy.db")
	copyFile(t, path, copied) // the one file is everything
	b = open(t, copied, sqlite.Options{})
	events, err := b.Read(t.Context(), "room/1", 1, 100)
	require.NoError(t, err)
	require.Len(t, events, 10)
	require.NoError(t, b.Close(t.Context()))
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage.db")
	require.NoError(t, os.WriteFile(garbage, []byte("this is no database, but long enough to be looked at as one"), 0o600))
	err := tryOpen(t, garbage)
	require.ErrorContains(t, err, "file is not a database")

	require.ErrorIs(t, tryOpen(t, ""), persistence.ErrInvalid)

	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.ErrorIs(t, tryOpen(t, filepath.Join(file, "journal.db")), persistence.ErrUnavailable)

	folder := filepath.Join(dir, "folder.db")
	require.NoError(t, os.Mkdir(folder, 0o700))
	require.ErrorIs(t, tryOpen(t, folder), persistence.ErrUnavailable)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = sqlite.Open(ctx, filepath.Join(dir, "journal.db"), sqlite.Options{})
	require.ErrorIs(t, err, context.Canceled)
}
