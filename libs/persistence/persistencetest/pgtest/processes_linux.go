package pgtest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// processes lists all; those that end meanwhile may be missing.
func processes() ([]process, error) {
	paths, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var list []process
	for _, path := range paths {
		pid, err := strconv.Atoi(filepath.Base(path))
		if err != nil {
			continue
		}
		p, err := inspect(pid)
		if err != nil {
			return nil, err
		}
		if !p.gone() {
			list = append(list, p)
		}
	}
	return list, nil
}

// inspect returns a process without a state when there is none with this id.
func inspect(pid int) (process, error) {
	body, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return process{}, nil
	}
	if err != nil {
		return process{}, fmt.Errorf("inspect process %d: %w", pid, err)
	}
	// The name, in parentheses, may itself contain any of this: what follows the last one counts.
	fields := bytes.Fields(body[bytes.LastIndexByte(body, ')')+1:])
	const state, parent, started = 0, 1, 19
	if len(fields) <= started {
		return process{}, fmt.Errorf("inspect process %d: unknown format %q", pid, body)
	}
	ppid, err := strconv.Atoi(string(fields[parent]))
	if err != nil {
		return process{}, fmt.Errorf("inspect process %d: %w", pid, err)
	}
	return process{pid: pid, parent: ppid, state: fields[state][0], started: string(fields[started])}, nil
}

// endWithParent puts the postmaster in a process group of its own, out of reach of a terminal's signals, and has the kernel
// kill it when the thread that started it ends, which is when the test process dies. Its children notice and end, too.
func endWithParent(attributes *syscall.SysProcAttr) {
	attributes.Setpgid = true
	attributes.Pdeathsig = syscall.SIGKILL
}
