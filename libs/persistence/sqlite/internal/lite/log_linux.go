package lite

import (
	"sync"
	"syscall"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// SQLite writes each page of a commit to the write-ahead log by two system calls, one for 24 bytes of header and one for the
// page, and has all of the file's metadata synced. The file system here collects what goes to the log one behind the other and
// writes it at once, before the log is synced or anything else is done with the file; and it syncs the data and what it takes to
// find them, as SQLite does by itself where it is built for that.
//
// Nobody sees the difference: other connections read of the log what the index in shared memory says is there, and a commit
// gets into the index after the sync. A log that ends in the middle of a commit is what recovery is for.
const logFSName = "parley"

// collectBytes is how much of a log is collected: 63 pages, more than most commits have.
const collectBytes = 256 << 10

type (
	vfs     = sqlite3.Tsqlite3_vfs
	methods = sqlite3.Tsqlite3_io_methods
)

// logFS is made once, when the first connection is opened, and is there for as long as the process lives.
var logFS struct {
	once  sync.Once
	name  uintptr
	plain *vfs
	// state is where logState lies in the memory of an open file.
	state uintptr

	wrap sync.Once
	// under are the methods of a plain log, methods those made of them.
	under   uintptr
	methods *methods
}

// logState is what an open log has beside SQLite's own structure.
type logState struct {
	buffer uintptr // 0 until something is written
	used   int
	at     int64 // where in the file the buffer begins
	synced bool  // the plain way, which syncs the directory as well
}

// fileSystem returns the name of the file system that connections use, in C's memory; 0, the default one, when there is no
// memory for it.
func fileSystem() uintptr {
	logFS.once.Do(func() {
		tls := libc.NewTLS()
		defer tls.Close()
		found := sqlite3.Xsqlite3_vfs_find(tls, 0)
		own := libc.Xcalloc(tls, 1, libc.Tsize_t(unsafe.Sizeof(vfs{})))
		table := libc.Xcalloc(tls, 1, libc.Tsize_t(unsafe.Sizeof(methods{})))
		name, err := libc.CString(logFSName)
		if found == 0 || own == 0 || table == 0 || err != nil {
			return
		}
		logFS.plain, logFS.methods = at[vfs](found), at[methods](table)
		logFS.state = (uintptr(logFS.plain.FszOsFile) + 7) &^ 7
		v := at[vfs](own)
		*v = *logFS.plain
		v.FpNext, v.FzName = 0, name
		v.FszOsFile = int32(logFS.state + unsafe.Sizeof(logState{}))
		v.FxOpen = address(openFile)
		if sqlite3.Xsqlite3_vfs_register(tls, own, 0) == sqlite3.SQLITE_OK {
			logFS.name = name
		}
	})
	return logFS.name
}

func openFile(tls *libc.TLS, v, name, file uintptr, flags int32, out uintptr) int32 {
	open := function[func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32](logFS.plain.FxOpen)
	rc := open(tls, v, name, file, flags, out)
	if rc != sqlite3.SQLITE_OK || flags&sqlite3.SQLITE_OPEN_WAL == 0 {
		return rc
	}
	under := &at[sqlite3.Tsqlite3_file](file).FpMethods
	logFS.wrap.Do(func() {
		logFS.under = *under
		m := logFS.methods
		*m = *at[methods](*under)
		m.FxClose, m.FxRead, m.FxWrite = address(closeLog), address(readLog), address(writeLog)
		m.FxTruncate, m.FxSync = address(truncateLog), address(syncLog)
		m.FxFileSize, m.FxFileControl = address(sizeOfLog), address(controlLog)
	})
	if *under == logFS.under { // else of a kind that the first log was not; it stays as it is
		*stateOf(file) = logState{}
		*under = uintptr(unsafe.Pointer(logFS.methods))
	}
	return rc
}

// plainLog are the methods of the file under a log.
func plainLog() *methods { return at[methods](logFS.under) }

func stateOf(file uintptr) *logState { return at[logState](file + logFS.state) }

// writeLog collects what continues what was collected before.
func writeLog(tls *libc.TLS, file, data uintptr, n int32, offset int64) int32 {
	s := stateOf(file)
	if s.used > 0 && (offset != s.at+int64(s.used) || s.used+int(n) > collectBytes) {
		if rc := flushLog(file, s); rc != sqlite3.SQLITE_OK {
			return rc
		}
	}
	if s.buffer == 0 {
		s.buffer = libc.Xmalloc(tls, collectBytes)
	}
	if s.buffer == 0 || n > collectBytes {
		return plainWrite(tls, file, data, n, offset)
	}
	if s.used == 0 {
		s.at = offset
	}
	copy(memory(s.buffer+uintptr(s.used), int(n)), memory(data, int(n)))
	s.used += int(n)
	return sqlite3.SQLITE_OK
}

// flushLog writes what was collected. What could not be written is of a transaction that now fails. SQLite's own way of writing
// would take less than 128 KiB at once.
func flushLog(file uintptr, s *logState) int32 {
	data := memory(s.buffer, s.used)
	s.used = 0
	for len(data) > 0 {
		n, err := syscall.Pwrite(descriptor(file), data, s.at)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.ENOSPC || err == nil && n == 0:
			return sqlite3.SQLITE_FULL
		case err != nil:
			return sqlite3.SQLITE_IOERR_WRITE
		}
		data, s.at = data[n:], s.at+int64(n)
	}
	return sqlite3.SQLITE_OK
}

func descriptor(file uintptr) int { return int(at[sqlite3.TunixFile](file).Fh) }

func plainWrite(tls *libc.TLS, file, data uintptr, n int32, offset int64) int32 {
	return function[func(*libc.TLS, uintptr, uintptr, int32, int64) int32](plainLog().FxWrite)(tls, file, data, n, offset)
}

func syncLog(tls *libc.TLS, file uintptr, flags int32) int32 {
	s := stateOf(file)
	if rc := flushLog(file, s); rc != sqlite3.SQLITE_OK {
		return rc
	}
	if !s.synced {
		rc := function[func(*libc.TLS, uintptr, int32) int32](plainLog().FxSync)(tls, file, flags)
		s.synced = rc == sqlite3.SQLITE_OK
		return rc
	}
	for {
		switch err := syscall.Fdatasync(descriptor(file)); err {
		case nil:
			return sqlite3.SQLITE_OK
		case syscall.EINTR:
		default:
			return sqlite3.SQLITE_IOERR_FSYNC
		}
	}
}

func readLog(tls *libc.TLS, file, data uintptr, n int32, offset int64) int32 {
	if rc := flushLog(file, stateOf(file)); rc != sqlite3.SQLITE_OK {
		return rc
	}
	return function[func(*libc.TLS, uintptr, uintptr, int32, int64) int32](plainLog().FxRead)(tls, file, data, n, offset)
}

func truncateLog(tls *libc.TLS, file uintptr, size int64) int32 {
	if rc := flushLog(file, stateOf(file)); rc != sqlite3.SQLITE_OK {
		return rc
	}
	return function[func(*libc.TLS, uintptr, int64) int32](plainLog().FxTruncate)(tls, file, size)
}

func sizeOfLog(tls *libc.TLS, file, size uintptr) int32 {
	if rc := flushLog(file, stateOf(file)); rc != sqlite3.SQLITE_OK {
		return rc
	}
	return function[func(*libc.TLS, uintptr, uintptr) int32](plainLog().FxFileSize)(tls, file, size)
}

func controlLog(tls *libc.TLS, file uintptr, op int32, arg uintptr) int32 {
	if rc := flushLog(file, stateOf(file)); rc != sqlite3.SQLITE_OK {
		return rc
	}
	return function[func(*libc.TLS, uintptr, int32, uintptr) int32](plainLog().FxFileControl)(tls, file, op, arg)
}

func closeLog(tls *libc.TLS, file uintptr) int32 {
	s := stateOf(file)
	flushed := flushLog(file, s)
	libc.Xfree(tls, s.buffer)
	s.buffer = 0
	if rc := function[func(*libc.TLS, uintptr) int32](plainLog().FxClose)(tls, file); rc != sqlite3.SQLITE_OK {
		return rc
	}
	return flushed
}

// at views what lies at an address outside of Go's heap.
func at[T any](p uintptr) *T { return (*T)(pointer(p)) }

// address is that of a function as SQLite keeps it. Only of a function that is no closure: nothing tells the garbage collector
// of it.
func address(f any) uintptr { return (*[2]uintptr)(unsafe.Pointer(&f))[1] }

// function is the one at an address.
func function[F any](p uintptr) F { return *(*F)(unsafe.Pointer(&struct{ uintptr }{p})) }
