package pgtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// directoryPrefix begins the name of every directory that this package makes in the system's temporary one.
const directoryPrefix = "parley-pgtest-"

// lockName is of a file in each of them that its process holds locked.
const lockName = "lock"

// directory is a temporary directory that other processes know to be in use.
type directory struct {
	path string
	lock *os.File
}

// newDirectory makes one that other users may pass through but not list. It removes those of processes that are gone.
func newDirectory() (*directory, error) {
	removeAbandoned()
	path, err := os.MkdirTemp("", directoryPrefix)
	if err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	d := &directory{path: path}
	if err := os.Chmod(path, 0o711); err != nil {
		return nil, errors.Join(fmt.Errorf("open the directory: %w", err), d.remove())
	}
	// It gets its name only when it is locked: by then others may look at it.
	fresh := filepath.Join(path, "fresh-"+lockName)
	if d.lock, err = lock(fresh, os.O_CREATE); err == nil {
		err = os.Rename(fresh, filepath.Join(path, lockName))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock the directory: %w", err), d.remove())
	}
	return d, nil
}

// remove deletes the directory with everything in it.
func (d *directory) remove() error {
	err := os.RemoveAll(d.path)
	if d.lock != nil {
		err = errors.Join(err, d.lock.Close())
	}
	if err != nil {
		return fmt.Errorf("remove the directory: %w", err)
	}
	return nil
}

// lock is held by a living process; it fails when another one has it. A process id would not do: the temporary directory
// may be shared with containers, which number their own.
func lock(path string, flag int) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|flag, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), file.Close())
	}
	return file, nil
}

// removeAbandoned removes the directories of processes that are gone without having removed them. It does what it can:
// whatever stays is found by the next one.
func removeAbandoned() {
	paths, err := filepath.Glob(filepath.Join(os.TempDir(), directoryPrefix+"*"))
	if err != nil {
		return // only for a malformed pattern
	}
	for _, path := range paths {
		held, err := lock(filepath.Join(path, lockName), 0)
		if err != nil {
			continue // in use, or not yet locked by its owner
		}
		_ = unmount(filepath.Join(path, diskName))
		removeSharedMemory(filepath.Join(path, dataName))
		_ = (&directory{path: path, lock: held}).remove()
	}
}
