package postgres_test

import (
	"testing"
	"time"

	"github.com/parley-rt/parley/libs/persistence/persistencetest"
	"github.com/parley-rt/parley/libs/persistence/postgres"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	persistencetest.Exercise(t, persistencetest.Options{
		Open: func(t testing.TB, _ func() time.Time) persistencetest.Store {
			return persistencetest.Store{Backend: open(t, shared.SchemaURL(t), postgres.Options{})}
		},
		OwnClock: true,
		Volatile: true,
	})
}
