package lite

import (
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// bufferBytes holds the texts and blobs bound to a statement; larger values get memory of their own until Reset.
const bufferBytes = 16 << 10

// Stmt is a prepared statement. Use: bind, Step until it says false, read columns between, Reset. A bind error is kept
// and returned by the next Step.
type Stmt struct {
	c      *Conn
	handle uintptr
	buffer uintptr
	used   int
	extra  []uintptr
	failed int32
}

// Close frees the statement.
func (s *Stmt) Close() {
	s.Reset()
	libc.Xfree(s.c.tls, s.buffer)
	sqlite3.Xsqlite3_finalize(s.c.tls, s.handle)
	s.handle, s.buffer = 0, 0
}

// Int binds an integer to the 1-based parameter i.
func (s *Stmt) Int(i int, v int64) {
	s.keep(sqlite3.Xsqlite3_bind_int64(s.c.tls, s.handle, int32(i), v))
}

// Null binds NULL.
func (s *Stmt) Null(i int) { s.keep(sqlite3.Xsqlite3_bind_null(s.c.tls, s.handle, int32(i))) }

// Blob binds a copy of v; an empty v is an empty blob, not NULL.
func (s *Stmt) Blob(i int, v []byte) {
	p := s.place(len(v))
	if p == 0 {
		s.keep(sqlite3.SQLITE_NOMEM)
		return
	}
	copy(memory(p, len(v)), v)
	s.keep(sqlite3.Xsqlite3_bind_blob(s.c.tls, s.handle, int32(i), p, int32(len(v)), 0))
}

// Text binds a copy of v.
func (s *Stmt) Text(i int, v string) {
	p := s.place(len(v))
	if p == 0 {
		s.keep(sqlite3.SQLITE_NOMEM)
		return
	}
	copy(memory(p, len(v)), v)
	s.keep(sqlite3.Xsqlite3_bind_text(s.c.tls, s.handle, int32(i), p, int32(len(v)), 0))
}

func (s *Stmt) keep(rc int32) {
	if rc != sqlite3.SQLITE_OK && s.failed == sqlite3.SQLITE_OK {
		s.failed = rc
	}
}

func (s *Stmt) place(n int) uintptr {
	if s.used+n < bufferBytes { // not <=: an empty value must point into the buffer, too
		p := s.buffer + uintptr(s.used)
		s.used += n
		return p
	}
	p := libc.Xmalloc(s.c.tls, libc.Tsize_t(max(n, 1)))
	if p != 0 {
		s.extra = append(s.extra, p)
	}
	return p
}

// Step runs the statement to its next row: true; or to its end: false. After false or an error it is reset.
func (s *Stmt) Step() (bool, error) {
	if rc := s.failed; rc != sqlite3.SQLITE_OK {
		s.Reset()
		return false, s.c.error(rc)
	}
	switch rc := sqlite3.Xsqlite3_step(s.c.tls, s.handle); rc {
	case sqlite3.SQLITE_ROW:
		return true, nil
	case sqlite3.SQLITE_DONE:
		s.Reset()
		return false, nil
	default:
		err := s.c.error(rc)
		s.Reset()
		return false, err
	}
}

// Run steps a statement that returns no rows to its end.
func (s *Stmt) Run() error {
	for {
		if row, err := s.Step(); !row {
			return err
		}
	}
}

// Reset ends the execution and frees what was bound. Parameters must be bound again.
func (s *Stmt) Reset() {
	sqlite3.Xsqlite3_reset(s.c.tls, s.handle)
	s.used, s.failed = 0, sqlite3.SQLITE_OK
	for _, p := range s.extra {
		libc.Xfree(s.c.tls, p)
	}
	s.extra = s.extra[:0]
}

// ColumnInt reads the 0-based column i of the current row.
func (s *Stmt) ColumnInt(i int) int64 {
	return sqlite3.Xsqlite3_column_int64(s.c.tls, s.handle, int32(i))
}

// ColumnBlob returns a copy of a blob; nil for NULL.
func (s *Stmt) ColumnBlob(i int) []byte {
	if sqlite3.Xsqlite3_column_type(s.c.tls, s.handle, int32(i)) == sqlite3.SQLITE_NULL {
		return nil
	}
	v := make([]byte, s.ColumnBytes(i))
	s.CopyBlob(i, v)
	return v
}

// ColumnBytes returns the length of a blob or text.
func (s *Stmt) ColumnBytes(i int) int {
	return int(sqlite3.Xsqlite3_column_bytes(s.c.tls, s.handle, int32(i)))
}

// CopyBlob copies as much of a blob as fits into dst and returns how much.
func (s *Stmt) CopyBlob(i int, dst []byte) int {
	p := sqlite3.Xsqlite3_column_blob(s.c.tls, s.handle, int32(i))
	n := s.ColumnBytes(i)
	if p == 0 || n == 0 {
		return 0
	}
	return copy(dst, memory(p, n))
}

// ColumnText returns a copy of a text.
func (s *Stmt) ColumnText(i int) string {
	p := sqlite3.Xsqlite3_column_text(s.c.tls, s.handle, int32(i))
	n := s.ColumnBytes(i)
	if p == 0 || n == 0 {
		return ""
	}
	return string(memory(p, n))
}

// TextIs tells whether a text equals v, without copying it.
func (s *Stmt) TextIs(i int, v string) bool {
	p := sqlite3.Xsqlite3_column_text(s.c.tls, s.handle, int32(i))
	n := s.ColumnBytes(i)
	return n == len(v) && (n == 0 || string(memory(p, n)) == v)
}

// memory views n bytes that SQLite or its allocator own; the garbage collector knows nothing of them.
func memory(p uintptr, n int) []byte { return unsafe.Slice((*byte)(pointer(p)), n) }

// pointer turns an address outside of Go's heap into a pointer. Such memory never moves.
func pointer(p uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }
