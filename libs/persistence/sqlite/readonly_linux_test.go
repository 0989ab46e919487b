package sqlite_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/sqlite"
)

// TestOpenReadOnlyDirectory drops the right to pass over permissions on its own thread, so that it tests the same when
// run by root.
func TestOpenReadOnlyDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "journal.db")
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
	require.NoError(t, os.Chmod(dir, 0o555))

	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if os.Geteuid() == 0 {
			if err := syscall.Setfsuid(65534); err != nil {
				result <- err
				return
			}
		}
		_, err := sqlite.Open(t.Context(), path, sqlite.Options{})
		result <- err
	}()
	err := <-result
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorIs(t, err, persistence.ErrUnavailable)
	require.ErrorContains(t, err, "open journal "+path)
	require.ErrorContains(t, err, "cannot be written")
}
