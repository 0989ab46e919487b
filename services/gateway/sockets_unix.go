//go:build unix

package gateway

import (
	"fmt"
	"syscall"
)

// openFiles is how many files the process may have open. The Go runtime has raised the limit to what is allowed.
func openFiles() (uint64, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("read the limit of open files: %w", err)
	}
	return uint64(limit.Cur), nil //nolint:unconvert // signed on some systems
}
