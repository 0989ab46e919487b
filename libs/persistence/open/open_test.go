package open_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/open"
	"github.com/parley-rt/parley/libs/persistence/persistencetest/pgtest"
	"github.com/parley-rt/parley/libs/persistence/sqlite"
)

// cluster is everybody's; each test has a schema of its own in it.
var cluster *pgtest.Cluster

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Suite{M: m, Cluster: &cluster}) }

func TestOpen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "data", "my journal.db")
	schema := cluster.SchemaURL(t)
	for _, url := range []string{"sqlite://" + path, "memory://", schema, "postgresql" + schema[len("postgres"):]} {
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
	migrator, err := open.Migrator(t.Context(), url, open.Options{})
	require.Nil(t, migrator)
	require.ErrorAs(t, err, &locked)
	require.NoError(t, b.Close(context.Background()))
}

func TestMigrator(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal.db")
	for _, url := range []string{"sqlite://" + path, cluster.SchemaURL(t)} {
		m, err := open.Migrator(t.Context(), url, open.Options{})
		require.NoError(t, err)
		steps, err := m.MigrationStatus(t.Context())
		require.NoError(t, err)
		require.Zero(t, steps[0].AppliedAt, "nothing is done yet")
		require.NoError(t, m.Close(t.Context()))

		b, err := open.Open(t.Context(), url, open.Options{NoMigration: true})
		require.Nil(t, b)
		require.ErrorIs(t, err, persistence.ErrSchemaVersion)
		require.ErrorContains(t, err, "parley migrate up")

		m, err = open.Migrator(t.Context(), url, open.Options{})
		require.NoError(t, err)
		require.NoError(t, m.MigrateUp(t.Context()))
		require.NoError(t, m.Close(t.Context()))
		b, err = open.Open(t.Context(), url, open.Options{NoMigration: true})
		require.NoError(t, err)
		require.NoError(t, b.Close(t.Context()))
	}
	m, err := open.Migrator(t.Context(), "memory://", open.Options{})
	require.Nil(t, m)
	require.ErrorIs(t, err, persistence.ErrInvalid)
	require.ErrorContains(t, err, "has no schema")
}

func TestNoMigrationCreatesNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "data", "journal.db")
	_, err := open.Open(t.Context(), "sqlite://"+path, open.Options{NoMigration: true})
	require.ErrorIs(t, err, persistence.ErrSchemaVersion)
	require.ErrorContains(t, err, "parley migrate up")
	require.NoDirExists(t, filepath.Dir(path))
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for url, says := range map[string]string{
		"":                         "has no scheme",
		"journal.db":               "has no scheme",
		"host=h password=secret":   "has no scheme",
		"sqlite://":                "has no path",
		"memory://secret":          "takes nothing after it",
		"mysql://root:secret@db/x": `unknown scheme "mysql", known are postgres, sqlite and memory`,
		"SQLITE://journal.db":      `unknown scheme "SQLITE"`,
		"a:secret@h/x://":          "unknown scheme",
	} {
		for _, err := range refusals(t, url) {
			require.ErrorIs(t, err, persistence.ErrInvalid, url)
			require.ErrorContains(t, err, says, url)
			require.NotContains(t, err.Error(), "secret", "passwords stay out of errors")
		}
	}
}

// refusals are the errors of everything that takes a URL.
func refusals(t *testing.T, url string) []error {
	t.Helper()
	b, err := open.Open(t.Context(), url, open.Options{})
	require.Nil(t, b, url)
	m, migratorErr := open.Migrator(t.Context(), url, open.Options{})
	require.Nil(t, m, url)
	return []error{err, migratorErr}
}
