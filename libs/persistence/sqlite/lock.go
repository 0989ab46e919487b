package sqlite

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/parley-rt/parley/libs/persistence"
)

// LockedError tells that another process (or another Open in this one) has the journal.
type LockedError struct {
	// Path is the lock file.
	Path string
	// PID is the holder as it wrote itself into the file; 0 when that could not be read.
	PID int
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("journal is in use by another process (lock file %s)", e.Path)
	}
	return fmt.Sprintf("journal is in use by process %d (lock file %s)", e.PID, e.Path)
}

// errHeld is what flock returns while somebody else holds the lock.
var errHeld = errors.New("lock is held")

// fileLock is an advisory lock of the operating system on an open file. It ends with the process, however that ends, so
// a file left behind by a killed process blocks nobody. The file itself stays: removing it would race with the next
// holder.
type fileLock struct{ file *os.File }

// lockPath keeps the whole name of the database: beside it there may be locks of others, and other databases.
func lockPath(database string) string { return database + ".lock" }

func acquireLock(database string) (*fileLock, error) {
	path := lockPath(database)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock file %s cannot be written: %w: %w", path, persistence.ErrUnavailable, err)
	}
	if err := flock(file); err != nil {
		if errors.Is(err, errHeld) {
			return nil, errors.Join(&LockedError{Path: path, PID: readPID(file)}, file.Close())
		}
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), file.Close())
	}
	l := &fileLock{file: file}
	if err := l.write(strconv.Itoa(os.Getpid()) + "\n"); err != nil {
		return nil, errors.Join(err, l.release())
	}
	return l, nil
}

func (l *fileLock) write(content string) error {
	if err := l.file.Truncate(0); err != nil {
		return fmt.Errorf("write the lock file: %w", err)
	}
	if _, err := l.file.WriteAt([]byte(content), 0); err != nil {
		return fmt.Errorf("write the lock file: %w", err)
	}
	return nil
}

// release empties the file first, so that nobody reads a stale pid, and closes it, which frees the lock.
func (l *fileLock) release() error { return errors.Join(l.write(""), l.file.Close()) }

func readPID(file *os.File) int {
	content, err := io.ReadAll(io.NewSectionReader(file, 0, 32))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		return 0
	}
	return pid
}
