package pgtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

const (
	diskName    = "disk"
	ballastName = "ballast"
	// largestDisk is what Fill takes for a disk made to be filled.
	largestDisk = 8 << 30
)

// SmallDisk returns the mount point of a file system of this size in MiB, for a cluster's DataDir. An empty cluster takes about
// 50. It is in memory, so a sync costs nothing there. It needs root, and is unmounted with the test.
func SmallDisk(tb testing.TB, megabytes int) string {
	tb.Helper()
	dir, err := newDirectory()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := dir.remove(); err != nil {
			tb.Error(err)
		}
	})
	path := filepath.Join(dir.path, diskName)
	if err := os.Mkdir(path, 0o755); err != nil {
		tb.Fatal(err)
	}
	if err := mount(path, megabytes); err != nil {
		if errors.Is(err, syscall.EPERM) {
			tb.Fatalf("mounting a small disk needs root (in a container also CAP_SYS_ADMIN): run the test as root: %v", err)
		}
		tb.Fatalf("mount a small disk: %v", err)
	}
	tb.Cleanup(func() {
		if err := unmount(path); err != nil {
			tb.Errorf("unmount %s: %v", path, err)
		}
	})
	return path
}

// Fill takes all the space that is left on a small disk, until Free. It refuses to fill a large one.
func Fill(path string) (err error) {
	var disk syscall.Statfs_t
	if err := syscall.Statfs(path, &disk); err != nil {
		return fmt.Errorf("fill %s: %w", path, err)
	}
	if size := disk.Blocks * uint64(disk.Bsize); size > largestDisk {
		return fmt.Errorf("fill %s: a disk of %d MiB is not one to fill", path, size>>20)
	}
	ballast, err := os.OpenFile(filepath.Join(path, ballastName), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("fill %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, ballast.Close()) }()
	block := make([]byte, 1<<20)
	for size := len(block); size > 0; {
		_, err := ballast.Write(block[:size])
		switch {
		case errors.Is(err, syscall.ENOSPC):
			size /= 2 // down to the last byte
		case err != nil:
			return fmt.Errorf("fill %s: %w", path, err)
		}
	}
	return nil
}

// Free gives back what Fill took.
func Free(path string) error {
	if err := os.Remove(filepath.Join(path, ballastName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("free %s: %w", path, err)
	}
	return nil
}
