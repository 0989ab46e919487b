package network

import (
	"errors"
	"fmt"
	"os/exec"
	"syscall"
)

// newNamespace starts a process that does nothing, in a namespace of its own, until its input ends: at the latest when this
// process does.
func newNamespace() (*namespace, error) {
	cmd := exec.Command("cat")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("make a network namespace: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w: make one: %w", ErrUnavailable, err)
	}
	return &namespace{holder: cmd, end: func() error { return errors.Join(in.Close(), cmd.Wait()) }}, nil
}
