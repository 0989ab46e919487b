//go:build !linux

package pgtest

import (
	"bufio"
	"bytes"
	"fmt"
	"os/exec"
	"syscall"
)

// processes lists all; those that end meanwhile may be missing.
func processes() ([]process, error) {
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=,state=").Output()
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var list []process
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		var p process
		var state string
		if _, err := fmt.Sscan(lines.Text(), &p.pid, &p.parent, &state); err != nil {
			return nil, fmt.Errorf("list processes: %q: %w", lines.Text(), err)
		}
		if p.state = state[0]; !p.gone() {
			list = append(list, p)
		}
	}
	return list, nil
}

// inspect returns a process without a state when there is none with this id.
func inspect(pid int) (process, error) {
	list, err := processes()
	if err != nil {
		return process{}, err
	}
	for _, p := range list {
		if p.pid == pid {
			return p, nil
		}
	}
	return process{}, nil
}

// endWithParent puts the postmaster in a process group of its own, out of reach of a terminal's signals.
func endWithParent(attributes *syscall.SysProcAttr) { attributes.Setpgid = true }
