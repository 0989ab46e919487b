package benchtest

import (
	"os"
	"syscall"
)

// datasync leaves out what fsync does for times nobody reads.
func datasync(file *os.File) error { return syscall.Fdatasync(int(file.Fd())) }
