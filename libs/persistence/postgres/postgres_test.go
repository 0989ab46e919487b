package postgres_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence/persistencetest"
	"github.com/parley-rt/parley/libs/persistence/persistencetest/pgtest"
	"github.com/parley-rt/parley/libs/persistence/postgres"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	persistencetest.Exercise(t, persistencetest.Options{
		Open: func(t testing.TB, _ func() time.Time) persistencetest.Store {
			return persistencetest.Store{Backend: open(t, shared.SchemaURL(t), postgres.Options{})}
		},
		OpenCrashable: func(t testing.TB, _ func() time.Time) persistencetest.Store {
			c := pgtest.Start(t, pgtest.Options{})
			return crashable(t, c, open(t, c.URL(), postgres.Options{}))
		},
		Crashables: 2,
		Lanes:      4,
		OwnClock:   true,
	})
}

// crashable is a store that crashes by the death of every process of its server, as in a power cut.
func crashable(t testing.TB, c *pgtest.Cluster, b *postgres.Backend) persistencetest.Store {
	return persistencetest.Store{
		Backend: b,
		Crash: func() persistencetest.Store {
			require.NoError(t, c.Kill9())
			require.NoError(t, abandon(b))
			require.NoError(t, c.StartAgain(t.Context()))
			return crashable(t, c, open(t, c.URL(), postgres.Options{}))
		},
	}
}
