package pgtest

import (
	"fmt"
	"syscall"
)

func mount(path string, megabytes int) error {
	return syscall.Mount("parley-pgtest", path, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, fmt.Sprintf("size=%dm,mode=0755", megabytes))
}

// unmount takes the disk away from its path at once; its memory is given back when the last process has closed its files.
func unmount(path string) error { return syscall.Unmount(path, syscall.MNT_DETACH) }
