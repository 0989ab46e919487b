package open_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/open"
	"github.com/parley-rt/parley/libs/persistence/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOpen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "data", "my journal.db")
	for _, url := range []string{"sqlite://" + path, "memory://"} {
		b, err := open.Open(t.Context(), url, open.Options{})
		require.NoError(t, err)
		_, err = b.Claim(t.Context(), "room/1", "node", persistence.ClaimOptions{})
		require.NoError(t, err)
		require.NoError(t, b.Close(context.Background()))
	}
	require.FileExists(t, path)
}

func TestOpenLocked(t *testing.T) {
	t.Parallel()
	url := "sqlite://" + filepath.Join(t.TempDir(), "journal.db")
	b, err := open.Open(t.Context(), url, open.Options{})
	require.NoError(t, err)
	second, err := open.Open(t.Context(), url, open.Options{})
	require.Nil(t, second, "no interface around a nil pointer")
	var locked *sqlite.LockedError
	require.ErrorAs(t, err, &locked)
	require.NoError(t, b.Close(context.Background()))
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for url, says := range map[string]string{
		"":                      "has no scheme",
		"journal.db":            "has no scheme",
		"sqlite://":             "has no path",
		"memory://x":            "takes nothing after it",
		"mysql://root:pw@db/x":  `unknown scheme "mysql", known are sqlite and memory`,
		"SQLITE://journal.db":   `unknown scheme "SQLITE"`,
		"postgres://a:secret@h": `unknown scheme "postgres"`,
	} {
		_, err := open.Open(t.Context(), url, open.Options{})
		require.ErrorIs(t, err, persistence.ErrInvalid, url)
		require.ErrorContains(t, err, says, url)
		require.NotContains(t, err.Error(), "secret", "passwords stay out of errors")
	}
}
