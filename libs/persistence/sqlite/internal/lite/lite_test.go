package lite

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func openTable(t *testing.T) *Conn {
	t.Helper()
	c, err := Open(filepath.Join(t.TempDir(), "test.db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	require.NoError(t, c.Exec("CREATE TABLE v (id INTEGER PRIMARY KEY, n INTEGER, t TEXT, b BLOB)"))
	return c
}

func prepare(t *testing.T, c *Conn, sql string) *Stmt {
	t.Helper()
	s, err := c.Prepare(sql)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

func TestValues(t *testing.T) {
	t.Parallel()
	c := openTable(t)
	insert := prepare(t, c, "INSERT INTO v (n, t, b) VALUES (?1, ?2, ?3)")
	sel := prepare(t, c, "SELECT n, t, b FROM v WHERE id = ?1")
	for _, v := range []struct {
		n int64
		t string
		b []byte
	}{
		{0, "", []byte{}},
		{-1 << 63, "text", []byte("blob")},
		{1<<63 - 1, "täxt\x00with a NUL", []byte{0, 1, 0}},
		{1, strings.Repeat("t", bufferBytes-1), []byte{}},
		{1, strings.Repeat("t", bufferBytes), bytes.Repeat([]byte("b"), bufferBytes)},
		{2, strings.Repeat("t", bufferBytes-5), []byte("does not fit beside it")},
		{3, "", bytes.Repeat([]byte("x"), 3<<20)},
		{4, "after large ones", []byte("x")},
	} {
		insert.Int(1, v.n)
		insert.Text(2, v.t)
		insert.Blob(3, v.b)
		require.NoError(t, insert.Run())
		require.Empty(t, insert.extra, "large values are freed")
		require.EqualValues(t, 1, c.Changes())

		sel.Int(1, c.LastInsertID())
		row, err := sel.Step()
		require.NoError(t, err)
		require.True(t, row)
		require.Equal(t, v.n, sel.ColumnInt(0))
		require.True(t, v.t == sel.ColumnText(1))
		require.True(t, sel.TextIs(1, v.t))
		require.False(t, sel.TextIs(1, v.t+"x"))
		require.Equal(t, len(v.b), sel.ColumnBytes(2))
		require.NotNil(t, sel.ColumnBlob(2))
		require.True(t, bytes.Equal(v.b, sel.ColumnBlob(2)))
		sel.Reset()
	}
}

func TestNull(t *testing.T) {
	t.Parallel()
	c := openTable(t)
	insert := prepare(t, c, "INSERT INTO v (b) VALUES (?1)")
	insert.Null(1)
	require.NoError(t, insert.Run())
	sel := prepare(t, c, "SELECT b, n, t FROM v")
	row, err := sel.Step()
	require.NoError(t, err)
	require.True(t, row)
	require.Nil(t, sel.ColumnBlob(0))
	require.Zero(t, sel.ColumnInt(1))
	require.Empty(t, sel.ColumnText(2))
	require.Zero(t, sel.CopyBlob(0, make([]byte, 4)))
	row, err = sel.Step()
	require.NoError(t, err)
	require.False(t, row)
}

func TestErrors(t *testing.T) {
	t.Parallel()
	c := openTable(t)
	_, err := c.Prepare("SELECT nonsense FROM v")
	require.ErrorContains(t, err, "no such column: nonsense")
	_, err = c.Prepare(" -- nothing")
	require.ErrorContains(t, err, "no statement")
	require.ErrorContains(t, c.Exec("DROP TABLE missing"), "no such table")

	insert := prepare(t, c, "INSERT INTO v (id) VALUES (?1)")
	insert.Int(1, 7)
	require.NoError(t, insert.Run())
	insert.Int(1, 7)
	err = insert.Run()
	require.Equal(t, CodeConstraint, As(err).Code())
	require.ErrorContains(t, err, "UNIQUE constraint failed: v.id")
	insert.Int(1, 8)
	require.NoError(t, insert.Run(), "a failed statement can be used again")

	insert.Int(2, 1)
	require.Equal(t, CodeRange, As(insert.Run()).Code(), "a bind error is not lost")
	insert.Int(1, 9)
	require.NoError(t, insert.Run())

	_, err = Open(filepath.Join(t.TempDir(), "missing", "test.db"))
	require.Equal(t, CodeCannotOpen, As(err).Code())
	require.Nil(t, As(nil))
}

func TestTransaction(t *testing.T) {
	t.Parallel()
	c := openTable(t)
	require.False(t, c.InTransaction())
	require.NoError(t, c.Exec("BEGIN"))
	require.True(t, c.InTransaction())
	require.NoError(t, c.Exec("ROLLBACK"))
	require.NoError(t, c.Close())
	require.NoError(t, c.Close(), "twice")
}
