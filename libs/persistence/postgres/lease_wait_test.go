package postgres_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/postgres"
)

// TestLeaseTimeBeginsWhenItIsHad: whoever waits for the row of a lease gets all of his time, from when he has it.
func TestLeaseTimeBeginsWhenItIsHad(t *testing.T) {
	t.Parallel()
	url := shared.SchemaURL(t)
	b := opened(t, url, postgres.Options{})
	_, err := b.AcquireLease(t.Context(), "lease", "node-a", time.Millisecond)
	require.NoError(t, err)

	other, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer func() { _ = other.Close(t.Context()) }()
	tx, err := other.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "UPDATE lease SET owner = 'node-b'")
	require.NoError(t, err)

	const ttl = 300 * time.Millisecond
	type answer struct {
		lease persistence.Lease
		err   error
	}
	acquired := make(chan answer, 1)
	go func() {
		lease, err := b.AcquireLease(t.Context(), "lease", "node-a", ttl)
		acquired <- answer{lease, err}
	}()
	awaitBlocked(t, other)
	<-time.After(ttl)
	var released time.Time
	require.NoError(t, other.QueryRow(t.Context(), "SELECT clock_timestamp()").Scan(&released))
	require.NoError(t, tx.Commit(t.Context()))
	got := <-acquired
	require.NoError(t, got.err)
	require.False(t, got.lease.ExpiresAt.Before(released.Add(ttl)), "it ends %v after it could be had", got.lease.ExpiresAt.Sub(released))
}

// TestClaimLooksAtTheLeaseWhenItIsMade: a claim that waited for its turn sees who has the lease then, not who had it when it came.
func TestClaimLooksAtTheLeaseWhenItIsMade(t *testing.T) {
	t.Parallel()
	url := shared.SchemaURL(t)
	b := opened(t, url, postgres.Options{})
	lease, err := b.AcquireLease(t.Context(), "lease", "node-a", time.Hour)
	require.NoError(t, err)

	other, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer func() { _ = other.Close(t.Context()) }()
	tx, err := other.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "SELECT FROM journal_lane FOR UPDATE")
	require.NoError(t, err)
	claimed := make(chan error, 1)
	go func() {
		_, err := b.Claim(t.Context(), "book/1", "node-a", persistence.ClaimOptions{Guard: lease.Guard()})
		claimed <- err
	}()
	awaitBlocked(t, other)
	require.NoError(t, b.ReleaseLease(t.Context(), lease))
	_, err = b.AcquireLease(t.Context(), "lease", "node-b", time.Hour)
	require.NoError(t, err)
	require.NoError(t, tx.Commit(t.Context()))
	require.ErrorIs(t, <-claimed, persistence.ErrGuard)
}

// awaitBlocked waits until somebody waits for what a connection has locked.
func awaitBlocked(t *testing.T, holder *pgx.Conn) {
	t.Helper()
	require.Eventually(t, func() bool {
		var waits bool
		err := shared.QueryRow(t.Context(), "SELECT count(*) > 0 FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))",
			int32(holder.PgConn().PID())).Scan(&waits)
		return err == nil && waits
	}, 10*time.Second, 10*time.Millisecond)
}
