package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"syscall"
)

// keeper is a process that wakes stopped ones: on request, or when this process has ended in whatever way. Without it they
// would stay for ever, for the kernel kills only the postmaster then, and a stopped child does not notice.
type keeper struct {
	cmd    *exec.Cmd
	hold   io.Closer // closed by the kernel at the latest
	stderr bytes.Buffer
}

func newKeeper(list []process) (*keeper, error) {
	args := []string{"-c", `read -r _; for pid; do kill -CONT "$pid" 2>/dev/null; done; exit 0`, "sh"}
	for _, p := range list {
		args = append(args, strconv.Itoa(p.pid))
	}
	k := &keeper{cmd: exec.CommandContext(context.Background(), "/bin/sh", args...)}
	k.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // or a signal from the terminal would end it
	k.cmd.Stderr = &k.stderr
	hold, err := k.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start the keeper: %w", err)
	}
	k.hold = hold
	if err := k.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start the keeper: %w", err), hold.Close())
	}
	return k, nil
}

// wake returns when every process was told to go on.
func (k *keeper) wake() error {
	if err := k.hold.Close(); err != nil {
		return fmt.Errorf("tell the keeper: %w", err)
	}
	if err := k.cmd.Wait(); err != nil {
		return fmt.Errorf("wake the processes: %w: %s", err, k.stderr.String())
	}
	return nil
}

// dismiss ends the keeper without waking anybody: those it kept are gone.
func (k *keeper) dismiss() {
	_ = k.cmd.Process.Kill()
	_ = k.cmd.Wait() // says that it was killed
}
