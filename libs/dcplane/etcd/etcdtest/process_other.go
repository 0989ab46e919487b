//go:build !linux

package etcdtest

import (
	"bytes"
	"fmt"
	"os/exec"
	"strconv"
	"syscall"
)

func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// suspended says whether a process stands still.
func suspended(pid int) (bool, error) {
	state, err := exec.Command("ps", "-o", "state=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return false, fmt.Errorf("inspect process %d: %w", pid, err)
	}
	return bytes.HasPrefix(bytes.TrimSpace(state), []byte("T")), nil
}
