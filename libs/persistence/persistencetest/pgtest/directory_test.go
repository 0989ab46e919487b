package pgtest

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Directories that are made at the same time are not taken for abandoned ones, not even for a moment.
func TestDirectoriesAreNotTakenForAbandoned(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	var makers sync.WaitGroup
	for range 8 {
		makers.Go(func() {
			for range 100 {
				d, err := newDirectory()
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := os.Stat(filepath.Join(d.path, lockName)); err != nil {
					t.Error(err)
				}
				if err := d.remove(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	makers.Wait()
	left, err := filepath.Glob(filepath.Join(dir, directoryPrefix+"*"))
	require.NoError(t, err)
	require.Empty(t, left)
}
