package postgres_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/postgres"
)

// schemaOf is the schema that a URL of the shared cluster names.
func schemaOf(t testing.TB, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	return u.Query().Get("search_path")
}

// execIn runs SQL in the URL's schema, on a connection of its own.
func execIn(t testing.TB, address, sql string, args ...any) {
	t.Helper()
	require.NoError(t, shared.Exec(t.Context(), strings.ReplaceAll(sql, "{schema}", schemaOf(t, address)), args...))
}

// countIn runs a query for one number in the URL's schema.
func countIn(t testing.TB, address, sql string, args ...any) (n int) {
	t.Helper()
	require.NoError(t, shared.QueryRow(t.Context(), strings.ReplaceAll(sql, "{schema}", schemaOf(t, address)), args...).Scan(&n))
	return n
}

func openedMigrator(t testing.TB, url string, opts postgres.Options) *postgres.Migrator {
	t.Helper()
	m, err := postgres.OpenMigrator(t.Context(), url, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close(context.WithoutCancel(t.Context()))) })
	return m
}

func appliedVersions(t testing.TB, m *postgres.Migrator) (versions []int) {
	t.Helper()
	status, err := m.MigrationStatus(t.Context())
	require.NoError(t, err)
	for _, s := range status {
		if !s.AppliedAt.IsZero() {
			versions = append(versions, s.Version)
		}
	}
	return versions
}

// store puts one event and a partition into the journal, and returns the stream's last seq.
func store(t *testing.T, b *postgres.Backend) uint64 {
	t.Helper()
	c, err := b.Claim(t.Context(), "room/1", "node", persistence.ClaimOptions{})
	require.NoError(t, err)
	last, err := b.Append(t.Context(), c, c.LastSeq, []persistence.Event{{MessageID: [16]byte{1}, Payload: []byte("x")}})
	require.NoError(t, err)
	require.NoError(t, b.Rotate(t.Context(), 7))
	return last
}

func TestMigrateUpDownUp(t *testing.T) {
	t.Parallel()
	url := shared.SchemaURL(t)
	m := openedMigrator(t, url, postgres.Options{})
	require.Empty(t, appliedVersions(t, m), "nothing is there, not even the schema")
	for range 2 { // a second time from nothing
		require.NoError(t, m.MigrateUp(t.Context()))
		require.NoError(t, m.MigrateUp(t.Context()), "again is nothing")
		require.Equal(t, []int{1, 2, 3}, appliedVersions(t, m))
		b := open(t, url, postgres.Options{NoMigration: true})
		require.EqualValues(t, 1, store(t, b))
		closeBackend(t, b)
		// As a drop leaves it that was interrupted.
		execIn(t, url, `ALTER TABLE {schema}.journal_event DETACH PARTITION {schema}.journal_event_p0`)

		for _, version := range []int{-1, 4} {
			require.ErrorIs(t, m.MigrateDown(t.Context(), version), persistence.ErrInvalid)
		}
		require.NoError(t, m.MigrateDown(t.Context(), 3), "it is there already")
		require.NoError(t, m.MigrateDown(t.Context(), 0))
		require.NoError(t, m.MigrateDown(t.Context(), 0), "again is nothing")
		require.Empty(t, appliedVersions(t, m))
		require.Zero(t, countIn(t, url, `SELECT count(*) FROM pg_class WHERE relnamespace = '{schema}'::regnamespace
			AND relname NOT LIKE 'journal_migration%'`), "everything is gone")
	}
}

// A step that fails leaves nothing of itself, and the guard free.
func TestMigrationFailsAsAWhole(t *testing.T) {
	t.Parallel()
	url := shared.SchemaURL(t)
	execIn(t, url, `CREATE SCHEMA {schema}; CREATE TABLE {schema}.lease (mine int)`)
	_, err := postgres.Open(t.Context(), url, postgres.Options{})
	require.ErrorIs(t, err, persistence.ErrUnavailable)
	require.ErrorContains(t, err, "migrate the schema to version 1 (journal)")
	require.ErrorContains(t, err, `"lease" already exists`)
	require.Zero(t, countIn(t, url, `SELECT count(*) FROM pg_class WHERE relnamespace = '{schema}'::regnamespace AND relname = 'journal_stream'`))
	execIn(t, url, `DROP TABLE {schema}.lease`)
	opened(t, url, postgres.Options{})
}

func TestSchemaOfAnotherBinary(t *testing.T) {
	t.Parallel()
	const insert = `INSERT INTO {schema}.journal_migration (version, name, checksum, compatible) VALUES `
	for _, test := range []struct{ name, change, says string }{
		{"edited", `UPDATE {schema}.journal_migration SET checksum = 'other'`, "schema version 1 (journal) is not the one of this binary"},
		{"newer", insert + `(4, 'future', 'x', 4)`, "needs a binary that knows version 4; this one knows up to 3"},
		{"newest", insert + `(4, 'adds', 'x', 1), (5, 'changes', 'x', 4)`, "schema is at version 5, which needs a binary that knows version 4"},
		{"in part", `DELETE FROM {schema}.journal_migration WHERE version = 1`, "has version 2 without 1"},
		{"compatible", insert + `(4, 'adds', 'x', 1), (5, 'adds', 'x', 1)`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			url := shared.SchemaURL(t)
			closeBackend(t, open(t, url, postgres.Options{}))
			execIn(t, url, test.change)
			m := openedMigrator(t, url, postgres.Options{})
			if test.says == "" {
				store(t, opened(t, url, postgres.Options{}))
				store(t, opened(t, url, postgres.Options{NoMigration: true}))
				require.NoError(t, m.MigrateUp(t.Context()))
				require.Equal(t, []int{1, 2, 3, 4, 5}, appliedVersions(t, m))
				err := m.MigrateDown(t.Context(), 0)
				require.ErrorIs(t, err, persistence.ErrSchemaVersion, "whoever cannot undo the newest step undoes none")
				require.ErrorContains(t, err, "does not know the way back from version")
				return
			}
			_, opening := postgres.Open(t.Context(), url, postgres.Options{})
			for _, err := range []error{opening, m.MigrateUp(t.Context()), m.MigrateDown(t.Context(), 0)} {
				require.ErrorIs(t, err, persistence.ErrSchemaVersion)
				require.NotErrorIs(t, err, persistence.ErrUnavailable)
				require.ErrorContains(t, err, test.says)
			}
			_, err := postgres.Open(t.Context(), url, postgres.Options{NoMigration: true})
			require.ErrorIs(t, err, persistence.ErrSchemaVersion)
			require.Zero(t, countIn(t, url, `SELECT count(*) FROM {schema}.journal_event`), "nothing was touched")
		})
	}
}

func TestNoMigrationRefusesAnEmptyDatabase(t *testing.T) {
	t.Parallel()
	url := shared.SchemaURL(t)
	_, err := postgres.Open(t.Context(), url, postgres.Options{NoMigration: true})
	require.ErrorIs(t, err, persistence.ErrSchemaVersion)
	require.ErrorContains(t, err, "lacks version 1 (journal)")
	require.ErrorContains(t, err, "parley migrate up")
	require.Zero(t, countIn(t, url, `SELECT count(*) FROM pg_namespace WHERE nspname = '{schema}'`), "it creates nothing")
}

func TestManyOpenAnEmptyDatabase(t *testing.T) {
	t.Parallel()
	url := shared.SchemaURL(t)
	backends := make(chan *postgres.Backend, 10)
	var all sync.WaitGroup
	for range cap(backends) {
		all.Go(func() {
			b, err := postgres.Open(t.Context(), url, postgres.Options{})
			if err != nil {
				t.Error(err)
				return
			}
			backends <- b
		})
	}
	all.Wait()
	close(backends)
	var last uint64
	for b := range backends {
		last++
		require.Equal(t, last, store(t, b))
		closeBackend(t, b)
	}
	require.EqualValues(t, 10, last)
	require.Equal(t, 4, countIn(t, url, `SELECT count(*) FROM {schema}.journal_lane`), "migrated once")
}

// A role that owns its schema needs nothing more from the database, and one that may create schemas needs no schema.
func TestPrivileges(t *testing.T) {
	t.Parallel()
	url := shared.SchemaURL(t)
	execIn(t, url, `CREATE ROLE {schema}_owner LOGIN; CREATE SCHEMA {schema} AUTHORIZATION {schema}_owner`)
	owner := strings.Replace(url, "parley@", schemaOf(t, url)+"_owner@", 1)
	for range 2 {
		b := open(t, owner, postgres.Options{})
		store(t, b)
		closeBackend(t, b)
	}
	other := shared.SchemaURL(t)
	_, err := postgres.Open(t.Context(), strings.Replace(other, "parley@", schemaOf(t, url)+"_owner@", 1), postgres.Options{})
	require.ErrorContains(t, err, "create schema "+schemaOf(t, other))
	require.ErrorContains(t, err, "permission denied for database")
	execIn(t, url, `GRANT CREATE ON DATABASE parley TO {schema}_owner`)
	creating := strings.Replace(other, "parley@", schemaOf(t, url)+"_owner@", 1)
	closeBackend(t, open(t, creating, postgres.Options{}))
	execIn(t, url, `DROP OWNED BY {schema}_owner CASCADE; DROP ROLE {schema}_owner`)
}

func TestSchemaNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"a,b", `"a"`, "a; DROP TABLE lease", "A", "$user", "a b", "a\x00", "1a", "ä", strings.Repeat("a", 64), "a--", `a"`, "pg_catalog,a",
	} {
		address := shared.URL() + "&search_path=" + url.QueryEscape(name)
		_, err := postgres.Open(t.Context(), address, postgres.Options{})
		require.ErrorIs(t, err, persistence.ErrInvalid, name)
		_, err = postgres.OpenMigrator(t.Context(), address, postgres.Options{})
		require.ErrorIs(t, err, persistence.ErrInvalid, name)
	}
	// Words of SQL are names like others.
	t.Cleanup(func() { require.NoError(t, shared.Exec(context.Background(), `DROP SCHEMA "user" CASCADE`)) })
	b := open(t, shared.URL()+"&search_path=user", postgres.Options{})
	store(t, b)
	closeBackend(t, b)
	require.NoError(t, shared.Exec(t.Context(), `SELECT FROM "user".journal_event_p7`))
}

// guards counts who has the schema's guard, or waits for it. The lock is the server's, so a test can look at it.
func guards(ctx context.Context, schema string, granted bool) (n int, err error) {
	err = shared.QueryRow(ctx, `
		WITH key AS (SELECT hashtextextended('parley journal ' || $1::text, 0) AS k)
		SELECT count(*) FROM pg_locks, key WHERE locktype = 'advisory' AND granted = $2
		   AND classid::bigint = (k >> 32) & 4294967295 AND objid::bigint = k & 4294967295`, schema, granted).Scan(&n)
	return n, err
}

func awaitGuards(t *testing.T, schema string, granted bool, want int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		n, err := guards(ctx, schema, granted)
		require.NoError(t, err)
		if n == want {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			require.Fail(t, fmt.Sprintf("%d guards granted=%v, want %d", n, granted, want))
		}
	}
}

// One migrates and the others wait, until it is done or its process is gone.
func TestMigrationIsGuarded(t *testing.T) {
	t.Parallel()
	address := shared.SchemaURL(t)
	schema := schemaOf(t, address)
	empty := openedMigrator(t, address, postgres.Options{})
	require.NoError(t, empty.MigrateUp(t.Context()))
	require.NoError(t, empty.MigrateDown(t.Context(), 0))
	// The first one stops in the middle, with the guard.
	blocker, err := pgx.Connect(t.Context(), address)
	require.NoError(t, err)
	defer func() { require.NoError(t, blocker.Close(context.Background())) }()
	tx, err := blocker.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `LOCK TABLE journal_migration IN SHARE MODE`) // it can be read
	require.NoError(t, err)

	var socket net.Conn
	first := openedMigrator(t, address, postgres.Options{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		socket = c
		return c, err
	}})
	firstEnded := make(chan error, 1)
	go func() { firstEnded <- first.MigrateUp(context.Background()) }()
	awaitGuards(t, schema, true, 1)

	second := openedMigrator(t, address, postgres.Options{})
	secondEnded := make(chan error, 1)
	go func() { secondEnded <- second.MigrateUp(context.Background()) }()
	awaitGuards(t, schema, false, 1)

	require.NoError(t, socket.Close()) // as a killed process does
	require.ErrorIs(t, <-firstEnded, persistence.ErrUnavailable)
	awaitGuards(t, schema, false, 0)
	awaitGuards(t, schema, true, 1)
	require.Empty(t, secondEnded, "it has the guard, and waits for the table")
	require.NoError(t, tx.Rollback(t.Context()))
	require.NoError(t, <-secondEnded)
	awaitGuards(t, schema, true, 0)
}

// A drop of partitions has the guard, and services start meanwhile.
func TestStartDuringMaintenance(t *testing.T) {
	t.Parallel()
	address := shared.SchemaURL(t)
	closeBackend(t, open(t, address, postgres.Options{}))
	holder := connect(t, address)
	_, err := holder.Exec(t.Context(), `SELECT pg_advisory_lock(hashtextextended('parley journal ' || current_schema(), 0))`)
	require.NoError(t, err)
	awaitGuards(t, schemaOf(t, address), true, 1)
	opened(t, address, postgres.Options{})
	require.NoError(t, openedMigrator(t, address, postgres.Options{}).MigrateUp(t.Context()))
	awaitGuards(t, schemaOf(t, address), true, 1)
}
