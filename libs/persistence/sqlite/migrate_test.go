package sqlite

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/internal/migrations"
	"github.com/parley-rt/parley/libs/persistence/sqlite/internal/lite"
)

func TestMigrateStepByStep(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{
		"migrations/0001_one.up.sql":   {Data: []byte("CREATE TABLE one (x); INSERT INTO one VALUES (1);")},
		"migrations/0001_one.down.sql": {Data: []byte("DROP TABLE one;")},
	}
	steps := func() []migrations.Step {
		steps, err := migrations.Load(files)
		require.NoError(t, err)
		return steps
	}
	c := connectTo(t, filepath.Join(t.TempDir(), "journal.db"))
	tables := func(name string) int64 {
		n, err := queryInt(c, "SELECT count(*) FROM sqlite_schema WHERE name = '"+name+"'")
		require.NoError(t, err)
		return n
	}
	require.NoError(t, migrate(c, steps(), time.Now()))
	require.NoError(t, migrate(c, steps(), time.Now()), "again is nothing")

	two := &fstest.MapFile{Data: []byte("CREATE TABLE two (x); INSERT INTO missing VALUES (1);")}
	files["migrations/0002_two.up.sql"] = two
	back := &fstest.MapFile{Data: []byte("DROP TABLE two; DROP TABLE missing;")}
	files["migrations/0002_two.down.sql"] = back
	require.ErrorContains(t, migrate(c, steps(), time.Now()), "to version 2 (two)")
	require.Zero(t, tables("two"), "a step that fails leaves nothing behind")

	two.Data = []byte("CREATE TABLE two (x)")
	require.NoError(t, migrate(c, steps(), time.Now()))
	applied, err := appliedMigrations(c)
	require.NoError(t, err)
	require.Len(t, applied, 2)

	require.ErrorContains(t, migrateDown(c, steps(), 0), "version 2 (two)")
	require.EqualValues(t, 1, tables("two"), "the way back is a transaction, too")
	back.Data = []byte("DROP TABLE two")
	require.Error(t, migrateDown(c, steps(), 1), "a step ends with its last semicolon")
	back.Data = []byte("DROP TABLE two;\n")
	require.NoError(t, migrateDown(c, steps(), 0))
	require.Zero(t, tables("one")+tables("two")+tables("journal_migration"))
}

// Steps that are released must not change: stored checksums would not fit any more.
func TestMigrationsAreAsReleased(t *testing.T) {
	t.Parallel()
	text, err := fs.ReadFile(migrationFiles, "migrations/0001_journal.up.sql")
	require.NoError(t, err)
	sum := sha256.Sum256(text)
	require.Equal(t, "512a6e8a7609cea726b069ef9e2d187e232a9ef1c7b3d91830c932ea420f796f", hex.EncodeToString(sum[:]))
}

func openedMigrator(t *testing.T, path string) *Migrator {
	t.Helper()
	m, err := OpenMigrator(t.Context(), path, Options{})
	require.NoError(t, err)
	return m
}

// TestMigrateThereAndBack takes a journal with data down one step, where a binary of that time works on it, and up again.
func TestMigrateThereAndBack(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal.db")
	b := openAt(t, path)
	c := claimOf(t, b, "room/1")
	require.NoError(t, <-b.appending(c, 0, make([]persistence.Event, 10)))
	require.NoError(t, b.SaveSnapshot(t.Context(), c, persistence.Snapshot{Seq: 8}))
	require.NoError(t, b.Rotate(t.Context(), 5))
	require.NoError(t, <-b.appending(c, 10, make([]persistence.Event, 10)))
	require.NoError(t, b.SaveSnapshot(t.Context(), c, persistence.Snapshot{Seq: 12}))
	b.inWriter(t, func(w *writer) { w.purges.paused = true }) // its rows are still there when the file is taken down
	drop := &dropMutation{partition: partition{newest: 10}}
	require.NoError(t, b.submit(t.Context(), &request{mutation: mutationFunc(func(w *writer) error {
		err := drop.apply(w)
		w.purges.dropped = false
		return err
	}), events: 1}))
	head, err := b.Head(t.Context(), "room/1")
	require.NoError(t, err)
	require.EqualValues(t, 10, head.TrimSeq)
	require.NoError(t, b.Close(t.Context()))

	m := openedMigrator(t, path)
	_, err = Open(t.Context(), path, Options{})
	var locked *LockedError
	require.ErrorAs(t, err, &locked, "nobody works on a file that is being migrated")
	require.NoError(t, m.MigrateDown(t.Context(), 1))
	status, err := m.MigrationStatus(t.Context())
	require.NoError(t, err)
	require.Len(t, status, 4)
	require.Equal(t, "journal", status[0].Name)
	require.False(t, status[0].AppliedAt.IsZero())
	require.Equal(t, persistence.MigrationStatus{Version: 2, Name: "feed"}, status[1])

	n, err := queryInt(m.conn, "SELECT trim_seq FROM journal_stream")
	require.NoError(t, err)
	require.EqualValues(t, 10, n, "what was dropped does not come back")
	n, err = queryInt(m.conn, "SELECT count(*) FROM journal_event")
	require.NoError(t, err)
	require.EqualValues(t, 10, n)
	require.NoError(t, m.conn.Exec(`UPDATE journal_stream SET last_seq = 21;
		INSERT INTO journal_event VALUES (21, 1, 21, 1, 0, 0, 0, 0, x'00112233445566778899aabbccddeeff', 'm', NULL, x'')`))

	require.NoError(t, m.MigrateUp(t.Context()))
	status, err = m.MigrationStatus(t.Context())
	require.NoError(t, err)
	require.False(t, status[1].AppliedAt.IsZero())
	require.False(t, status[2].AppliedAt.IsZero())
	require.NoError(t, m.Close(t.Context()))
	require.NoError(t, m.Close(t.Context()), "twice")
	require.ErrorIs(t, m.MigrateUp(t.Context()), persistence.ErrClosed)

	b = openAt(t, path)
	defer func() { require.NoError(t, b.Close(t.Context())) }()
	lanes, err := b.Lanes(t.Context())
	require.NoError(t, err)
	require.Equal(t, []persistence.LaneHead{{Pos: 21, TrimPos: 10}}, lanes)
	events, _, err := b.ReadLane(t.Context(), 0, 10, 100)
	require.NoError(t, err)
	require.Len(t, events, 11)
	partitions, err := b.Partitions(t.Context())
	require.NoError(t, err)
	require.Equal(t, []persistence.Partition{{Part: 5, Rows: 21, Current: true}}, partitions)
	c = claimOf(t, b, "room/1")
	rec, err := b.Recover(t.Context(), c)
	require.NoError(t, err)
	require.Len(t, rec.Tail, 9)
	require.NoError(t, <-b.appending(c, 21, event("x")))
}

func TestMigrateDownToNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal.db")
	b := openAt(t, path)
	require.NoError(t, <-b.appending(claimOf(t, b, "room/1"), 0, event("x")))
	require.NoError(t, b.Close(t.Context()))

	m := openedMigrator(t, path)
	for _, version := range []int{-1, 5} {
		require.ErrorIs(t, m.MigrateDown(t.Context(), version), persistence.ErrInvalid)
	}
	require.NoError(t, m.MigrateDown(t.Context(), 4), "it is there already")
	require.NoError(t, m.MigrateDown(t.Context(), 0))
	n, err := queryInt(m.conn, "SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'")
	require.NoError(t, err)
	require.Zero(t, n)
	require.NoError(t, m.MigrateDown(t.Context(), 0), "again is nothing")
	status, err := m.MigrationStatus(t.Context())
	require.NoError(t, err)
	require.Equal(t, []persistence.MigrationStatus{{Version: 1, Name: "journal"}, {Version: 2, Name: "feed"}, {Version: 3, Name: "session_attempt"}, {Version: 4, Name: "blocked_member"}}, status)
	require.NoError(t, m.Close(t.Context()))

	b = openAt(t, path)
	require.Zero(t, claimOf(t, b, "room/1").LastSeq)
	require.NoError(t, b.Close(t.Context()))
}

// A binary from before a step refuses the file and says what to do; its migrator shows what it does not know.
func TestOlderBinaryRefusesNewerSchema(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal.db")
	require.NoError(t, openAt(t, path).Close(t.Context()))
	old := openedMigrator(t, path)
	defer func() { require.NoError(t, old.Close(t.Context())) }()
	old.steps = old.steps[:1]
	for _, err := range []error{
		migrate(old.conn, old.steps, time.Now()), // as Open does
		old.MigrateUp(t.Context()),
		old.MigrateDown(t.Context(), 0),
	} {
		require.ErrorIs(t, err, persistence.ErrSchemaVersion)
		require.ErrorContains(t, err, "needs a binary that knows version 2; this one knows up to 1: run a newer one, or let that one migrate down to 1")
	}
	status, err := old.MigrationStatus(t.Context())
	require.NoError(t, err)
	require.Len(t, status, 4)
	require.Equal(t, "feed", status[1].Name)
	n, err := queryInt(old.conn, "SELECT count(*) FROM journal_migration")
	require.NoError(t, err)
	require.EqualValues(t, 4, n, "nothing was changed")
}

// A step that only adds is not in the way of a binary from before it.
func TestOlderBinaryRunsWithCompatibleSchema(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal.db")
	require.NoError(t, openAt(t, path).Close(t.Context()))
	m := openedMigrator(t, path)
	require.NoError(t, m.conn.Exec("INSERT INTO journal_migration (version, name, checksum, applied_at, compatible) VALUES (5, 'adds', 'x', 1, 4)"))
	require.NoError(t, m.MigrateUp(t.Context()))
	err := m.MigrateDown(t.Context(), 1)
	require.ErrorIs(t, err, persistence.ErrSchemaVersion)
	require.ErrorContains(t, err, "does not know the way back from version 5")
	status, err := m.MigrationStatus(t.Context())
	require.NoError(t, err)
	require.Len(t, status, 5)
	require.Equal(t, "adds", status[4].Name)
	require.NoError(t, m.Close(t.Context()))
	b := openAt(t, path)
	require.NoError(t, <-b.appending(claimOf(t, b, "room/1"), 0, event("x")))
	require.NoError(t, b.Close(t.Context()))
}

// Files of the first version do not say with what their steps are compatible.
func TestMigrateFileWithoutCompatibility(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal.db")
	require.NoError(t, openAt(t, path).Close(t.Context()))
	m := openedMigrator(t, path)
	require.NoError(t, m.MigrateDown(t.Context(), 1))
	require.NoError(t, m.conn.Exec("ALTER TABLE journal_migration DROP COLUMN compatible"))
	status, err := m.MigrationStatus(t.Context())
	require.NoError(t, err)
	require.False(t, status[0].AppliedAt.IsZero())
	require.ErrorContains(t, migrate(m.conn, nil, time.Now()), "schema is at version 1, which needs a binary that knows version 1")
	require.NoError(t, m.MigrateUp(t.Context()))
	applied, err := appliedMigrations(m.conn)
	require.NoError(t, err)
	require.Equal(t, 1, applied[0].compatible)
	require.Equal(t, 2, applied[1].compatible)
	require.NoError(t, m.Close(t.Context()))
}

func TestMigratorRefuses(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "other.db")
	c, err := lite.Open(path)
	require.NoError(t, err)
	require.NoError(t, c.Exec("CREATE TABLE precious (x)"))
	require.NoError(t, c.Close())
	_, err = OpenMigrator(t.Context(), path, Options{})
	require.ErrorIs(t, err, persistence.ErrSchemaVersion)

	path = filepath.Join(t.TempDir(), "journal.db")
	b := openAt(t, path)
	var locked *LockedError
	_, err = OpenMigrator(t.Context(), path, Options{})
	require.ErrorAs(t, err, &locked, "while a service runs")
	require.NoError(t, b.Close(t.Context()))
}

func openAt(t *testing.T, path string) *Backend {
	t.Helper()
	b, err := Open(t.Context(), path, Options{Readers: 1})
	require.NoError(t, err)
	return b
}
