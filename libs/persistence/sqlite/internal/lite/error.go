package lite

import (
	"errors"
	"fmt"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// Result codes that callers tell apart.
const (
	CodeBusy       = sqlite3.SQLITE_BUSY
	CodeNoMemory   = sqlite3.SQLITE_NOMEM
	CodeReadOnly   = sqlite3.SQLITE_READONLY
	CodeIO         = sqlite3.SQLITE_IOERR
	CodeCorrupt    = sqlite3.SQLITE_CORRUPT
	CodeFull       = sqlite3.SQLITE_FULL
	CodeCannotOpen = sqlite3.SQLITE_CANTOPEN
	CodeConstraint = sqlite3.SQLITE_CONSTRAINT
	CodeNotADB     = sqlite3.SQLITE_NOTADB
	CodeTooBig     = sqlite3.SQLITE_TOOBIG
	CodeMismatch   = sqlite3.SQLITE_MISMATCH
	CodeRange      = sqlite3.SQLITE_RANGE
)

// Error is a result code of SQLite with its message.
type Error struct {
	// Extended is the extended result code; Code is the primary one.
	Extended int
	Message  string
}

func (e *Error) Error() string { return fmt.Sprintf("sqlite: %s (%d)", e.Message, e.Extended) }

// Code returns the primary result code.
func (e *Error) Code() int { return e.Extended & 0xff }

// As returns the SQLite error in err's chain, or nil.
func As(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}

func (c *Conn) error(rc int32) *Error {
	message := libc.GoString(sqlite3.Xsqlite3_errstr(c.tls, rc))
	if c.db != 0 {
		if extended := sqlite3.Xsqlite3_extended_errcode(c.tls, c.db); extended&0xff == rc&0xff {
			rc = extended
			message = libc.GoString(sqlite3.Xsqlite3_errmsg(c.tls, c.db))
		}
	}
	return &Error{Extended: int(rc), Message: message}
}
