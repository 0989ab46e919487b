package etcdtest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// attributes let the kernel kill the server when the thread that started it ends, which is when the test process dies.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// suspended says whether all threads of a process stand still; SIGSTOP reaches them one after the other.
func suspended(pid int) (bool, error) {
	threads, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*", "stat"))
	if err != nil || len(threads) == 0 {
		return false, fmt.Errorf("inspect process %d: there is none", pid)
	}
	for _, thread := range threads {
		stat, err := os.ReadFile(thread)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			return false, nil // it just ended: the process does not stand still yet
		}
		if err != nil {
			return false, fmt.Errorf("inspect process %d: %w", pid, err)
		}
		// The name, in parentheses, may itself contain any of this: what follows the last one counts.
		if state := bytes.TrimSpace(stat[bytes.LastIndexByte(stat, ')')+1:]); len(state) == 0 || state[0] != 'T' {
			return false, nil
		}
	}
	return true, nil
}
