package sqlite_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/parley-rt/parley/libs/persistence/persistencetest"
	"github.com/parley-rt/parley/libs/persistence/sqlite"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		os.Exit(runChild(path))
	}
	goleak.VerifyTestMain(m)
}

func TestConformance(t *testing.T) {
	t.Parallel()
	persistencetest.Exercise(t, persistencetest.Options{
		Open: func(t testing.TB, now func() time.Time) persistencetest.Store {
			return openStore(t, filepath.Join(t.TempDir(), "journal.db"), now)
		},
	})
}

// openStore opens a store that crashes by copying its files as they are on disk at that moment, log and all, and going on
// with the copy.
func openStore(t testing.TB, path string, now func() time.Time) persistencetest.Store {
	b := open(t, path, sqlite.Options{Now: now, Readers: 2})
	return persistencetest.Store{
		Backend: b,
		Crash: func() persistencetest.Store {
			copied := filepath.Join(t.TempDir(), "journal.db")
			copyFile(t, path, copied)
			copyFile(t, path+"-wal", copied+"-wal")
			require.NoError(t, b.Close(context.Background()))
			return openStore(t, copied, now)
		},
	}
}

func open(t testing.TB, path string, opts sqlite.Options) *sqlite.Backend {
	t.Helper()
	b, err := sqlite.Open(context.Background(), path, opts)
	require.NoError(t, err)
	return b
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if errors.Is(err, fs.ErrNotExist) {
		return // no log: everything is in the file
	}
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, content, 0o600))
}
