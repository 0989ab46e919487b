//go:build !linux

package harness

import "syscall"

// childAttributes put the server in a process group of its own.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
