package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/parley-rt/parley/libs/persistence/persistencetest/pgtest"
	"github.com/parley-rt/parley/libs/persistence/postgres"
)

// shared is the cluster of the tests that do not stop it; each has a schema of its own in it.
var shared *pgtest.Cluster

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Suite{M: m, Cluster: &shared}) }

func open(t testing.TB, url string, opts postgres.Options) *postgres.Backend {
	t.Helper()
	b, err := postgres.Open(t.Context(), url, opts)
	require.NoError(t, err)
	return b
}

// opened is open, closed with the test.
func opened(t testing.TB, url string, opts postgres.Options) *postgres.Backend {
	t.Helper()
	b := open(t, url, opts)
	t.Cleanup(func() { closeBackend(t, b) })
	return b
}

func closeBackend(t testing.TB, b *postgres.Backend) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	require.NoError(t, b.Close(ctx))
}

// abandon ends a backend as a killed process would: nothing is finished.
func abandon(b *postgres.Backend) error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := b.Close(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	wait, stop := context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()
	return b.Close(wait)
}
