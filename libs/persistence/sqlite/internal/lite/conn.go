package lite

import (
	"errors"
	"fmt"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// Conn is one connection. It is opened without SQLite's own mutexes.
type Conn struct {
	tls *libc.TLS
	db  uintptr
	out uintptr // room for one pointer that SQLite fills in
}

// Open opens the file at path, creating it when it is missing.
func Open(path string) (*Conn, error) {
	anchorSizes()
	c := &Conn{tls: libc.NewTLS()}
	c.out = libc.Xcalloc(c.tls, 1, 8)
	name, err := libc.CString(path)
	if err != nil || c.out == 0 {
		c.tls.Close()
		return nil, fmt.Errorf("allocate the connection: %w", errors.Join(err, errNoMemory))
	}
	defer libc.Xfree(c.tls, name)

	const flags = sqlite3.SQLITE_OPEN_READWRITE | sqlite3.SQLITE_OPEN_CREATE | sqlite3.SQLITE_OPEN_NOMUTEX | sqlite3.SQLITE_OPEN_EXRESCODE
	rc := sqlite3.Xsqlite3_open_v2(c.tls, name, c.out, flags, 0)
	c.db = *(*uintptr)(pointer(c.out))
	if rc != sqlite3.SQLITE_OK {
		err := c.error(rc)
		return nil, errors.Join(err, c.Close())
	}
	c.keepScratch()
	return c, nil
}

// Scratch memory that a connection keeps for what lives no longer than a step. The largest piece is what splitting a page takes,
// about 14 KiB; without it that would be mapped and unmapped each time.
const (
	scratchBytes = 24 << 10
	scratchSlots = 16
)

// keepScratch does nothing when there is no memory for it: everything works, only slower.
func (c *Conn) keepScratch() {
	args := c.tls.Alloc(3 * 8)
	defer c.tls.Free(3 * 8)
	sqlite3.Xsqlite3_db_config(c.tls, c.db, sqlite3.SQLITE_DBCONFIG_LOOKASIDE,
		libc.VaList(args, uintptr(0), int32(scratchBytes), int32(scratchSlots)))
}

var errNoMemory = &Error{Extended: CodeNoMemory, Message: "out of memory"}

// Close frees the connection. Statements must have been closed before. Closing again does nothing.
func (c *Conn) Close() error {
	if c.tls == nil {
		return nil
	}
	if c.db != 0 {
		if rc := sqlite3.Xsqlite3_close(c.tls, c.db); rc != sqlite3.SQLITE_OK {
			return fmt.Errorf("close the connection: %w", c.error(rc))
		}
	}
	libc.Xfree(c.tls, c.out)
	c.tls.Close()
	c.tls, c.db = nil, 0
	return nil
}

// Exec runs statements without parameters and drops their rows.
func (c *Conn) Exec(sql string) error {
	text, err := libc.CString(sql)
	if err != nil {
		return errNoMemory
	}
	defer libc.Xfree(c.tls, text)
	if rc := sqlite3.Xsqlite3_exec(c.tls, c.db, text, 0, 0, 0); rc != sqlite3.SQLITE_OK {
		return c.error(rc)
	}
	return nil
}

// Changes is the number of rows changed by the last INSERT, UPDATE or DELETE that was stepped to its end.
func (c *Conn) Changes() int64 { return int64(sqlite3.Xsqlite3_changes(c.tls, c.db)) }

// InTransaction tells whether a transaction is open.
func (c *Conn) InTransaction() bool { return sqlite3.Xsqlite3_get_autocommit(c.tls, c.db) == 0 }

// Checkpoint moves the write-ahead log into the file and empties it.
func (c *Conn) Checkpoint() error {
	if rc := sqlite3.Xsqlite3_wal_checkpoint_v2(c.tls, c.db, 0, sqlite3.SQLITE_CHECKPOINT_TRUNCATE, 0, 0); rc != sqlite3.SQLITE_OK {
		return fmt.Errorf("checkpoint: %w", c.error(rc))
	}
	return nil
}

// Prepare compiles one statement for use again and again.
func (c *Conn) Prepare(sql string) (*Stmt, error) {
	text, err := libc.CString(sql)
	if err != nil {
		return nil, errNoMemory
	}
	defer libc.Xfree(c.tls, text)
	if rc := sqlite3.Xsqlite3_prepare_v3(c.tls, c.db, text, -1, sqlite3.SQLITE_PREPARE_PERSISTENT, c.out, 0); rc != sqlite3.SQLITE_OK {
		return nil, fmt.Errorf("prepare %q: %w", sql, c.error(rc))
	}
	s := &Stmt{c: c, handle: *(*uintptr)(pointer(c.out))}
	if s.handle == 0 {
		return nil, fmt.Errorf("prepare %q: no statement in it", sql)
	}
	s.buffer = libc.Xmalloc(c.tls, bufferBytes)
	if s.buffer == 0 {
		s.Close()
		return nil, errNoMemory
	}
	return s, nil
}

// LastInsertID is the row id of the last row inserted into a table that has one.
func (c *Conn) LastInsertID() int64 { return sqlite3.Xsqlite3_last_insert_rowid(c.tls, c.db) }
