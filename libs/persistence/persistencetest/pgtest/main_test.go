package pgtest_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/parley-rt/parley/libs/persistence/persistencetest/pgtest"
)

// shared is the cluster of those tests that do not stop it.
var shared *pgtest.Cluster

func TestMain(m *testing.M) {
	if how := os.Getenv(childEnv); how != "" {
		os.Exit(runChild(how))
	}
	goleak.VerifyTestMain(pgtest.Suite{M: m, Cluster: &shared})
}

// patience is for what takes a moment on a machine that does nothing else.
const patience = time.Minute

// limited is a context for something that must not hang.
func limited(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// connect opens a connection that is closed with the test.
func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(limited(t), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) }) // the test may have broken it
	return conn
}

// newTable makes a table of integers in a schema of its own, which every connection to the URL finds.
func newTable(t *testing.T, url string) {
	t.Helper()
	conn := connect(t, url)
	_, err := conn.Exec(limited(t), `DO $$ BEGIN EXECUTE format('CREATE SCHEMA IF NOT EXISTS %I', current_setting('search_path')); END $$`)
	require.NoError(t, err)
	_, err = conn.Exec(limited(t), "CREATE TABLE number (n bigint PRIMARY KEY)")
	require.NoError(t, err)
}

// numbers are those in the table.
func numbers(t *testing.T, url string) []int64 {
	t.Helper()
	rows, err := connect(t, url).Query(limited(t), "SELECT n FROM number ORDER BY n")
	require.NoError(t, err)
	list, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	require.NoError(t, err)
	return list
}
