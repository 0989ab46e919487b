package lite

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// S1: what was committed is in the files when COMMIT returns, whatever would not be there after a crash of the process: each time
// they are copied and opened as after one.
func TestWhatIsCommittedIsInTheFiles(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	c, err := Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	// So small a cache makes SQLite write pages to the log, and read them again, before the transaction is over.
	require.NoError(t, c.Exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = 20; CREATE TABLE v (t TEXT)"))
	other, err := Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, other.Close()) })
	insert := prepare(t, c, "INSERT INTO v VALUES (?1)")

	rows := int64(0)
	for i, step := range []struct {
		rows, bytes int
		end         string
	}{
		{1, 10, "COMMIT"},
		{10, 3000, "COMMIT"},
		{100, 3000, "ROLLBACK"},
		{1, 10, "COMMIT"},
		{1, 2 * collectBytes, "COMMIT"},
		{500, 1000, "COMMIT"},
		{1, collectBytes, "ROLLBACK"},
		{2000, 100, "COMMIT"},
		{1, 1, "COMMIT"},
	} {
		require.NoError(t, c.Exec("BEGIN IMMEDIATE"))
		for range step.rows {
			insert.Text(1, strings.Repeat("t", step.bytes))
			require.NoError(t, insert.Run())
		}
		require.NoError(t, c.Exec("UPDATE v SET t = t || 'x' WHERE rowid % 3 = 0"))
		require.NoError(t, c.Exec(step.end))
		if step.end == "COMMIT" {
			rows += int64(step.rows)
		}
		require.Equal(t, rows, count(t, other), "of another connection, step %d", i)
		require.Equal(t, rows, countInCopy(t, path), "after a crash, step %d", i)
		if i == 5 {
			require.NoError(t, c.Checkpoint())
		}
	}
}

func count(t *testing.T, c *Conn) int64 {
	t.Helper()
	s, err := c.Prepare("SELECT count(*), (SELECT group_concat(integrity_check) FROM pragma_integrity_check) FROM v")
	require.NoError(t, err)
	defer s.Close()
	row, err := s.Step()
	require.NoError(t, err)
	require.True(t, row)
	require.Equal(t, "ok", s.ColumnText(1))
	return s.ColumnInt(0)
}

func countInCopy(t *testing.T, path string) int64 {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy.db")
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(path + suffix)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(to+suffix, data, 0o600))
	}
	c, err := Open(to)
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	return count(t, c)
}

// What cannot be written fails the sync, and with it the commit, and is not tried again with a later one.
func TestLogThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	require.NotZero(t, fileSystem())
	page := make([]byte, 4096)
	for _, refused := range []struct {
		name string
		mode int
		rc   int32
	}{
		{"/dev/full", os.O_WRONLY, sqlite3.SQLITE_FULL},
		{"/dev/zero", os.O_RDONLY, sqlite3.SQLITE_IOERR_WRITE},
	} {
		device, err := os.OpenFile(refused.name, refused.mode, 0)
		require.NoError(t, err)
		tls := libc.NewTLS()
		file := libc.Xcalloc(tls, 1, libc.Tsize_t(logFS.state+unsafe.Sizeof(logState{})))
		data := libc.Xcalloc(tls, 1, libc.Tsize_t(len(page)))
		at[sqlite3.TunixFile](file).Fh = int32(device.Fd())

		require.EqualValues(t, sqlite3.SQLITE_OK, writeLog(tls, file, data, int32(len(page)), 32))
		require.EqualValues(t, sqlite3.SQLITE_OK, writeLog(tls, file, data, 24, 32+int64(len(page))))
		require.Equal(t, len(page)+24, stateOf(file).used)
		require.Equal(t, refused.rc, syncLog(tls, file, sqlite3.SQLITE_SYNC_NORMAL))
		require.Zero(t, stateOf(file).used)
		require.EqualValues(t, sqlite3.SQLITE_OK, writeLog(tls, file, data, 24, 0))
		require.Equal(t, refused.rc, writeLog(tls, file, data, 24, 100), "what does not continue what was collected")

		libc.Xfree(tls, stateOf(file).buffer)
		libc.Xfree(tls, data)
		libc.Xfree(tls, file)
		tls.Close()
		require.NoError(t, device.Close())
	}
}
