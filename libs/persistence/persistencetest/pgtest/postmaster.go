package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// poll is how often to look at what nobody signals.
const poll = 5 * time.Millisecond

// postmaster is one life of a server: the process that starts all others of a cluster.
type postmaster struct {
	pid  int
	done chan struct{} // closed after the process was reaped
	err  error         // how it ended; valid after done
}

// launch starts the command, whose output goes to files.
func launch(cmd *exec.Cmd) (*postmaster, error) {
	p := &postmaster{done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// The kernel watches the thread that forked (see endWithParent): keep it until the child is gone.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		p.pid = cmd.Process.Pid
		started <- nil
		if p.err = cmd.Wait(); p.err == nil {
			p.err = errors.New("exit status 0")
		}
	}()
	if err := <-started; err != nil {
		<-p.done
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return p, nil
}

// runs says whether there is a process; a nil postmaster is none.
func (p *postmaster) runs() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// signal does nothing to a process that has ended: its number may be another's by now.
func (p *postmaster) signal(s syscall.Signal) error {
	if !p.runs() {
		return nil
	}
	if err := syscall.Kill(p.pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("send %s to the postmaster: %w", s, err)
	}
	return nil
}

// ended waits until the process has.
func (p *postmaster) ended(ctx context.Context) error {
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the postmaster to end: %w", ctx.Err())
	}
}

// ready waits until the server accepts connections, which it does after crash recovery, on a standby in the middle of it.
// Like pg_ctl it reads the postmaster's own word for it: attempts to connect would only fill the log.
func (p *postmaster) ready(ctx context.Context, data string) error {
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		if pid, status := readPIDFile(data); pid == p.pid && status == "ready" {
			return nil
		}
		select {
		case <-ticker.C:
		case <-p.done:
			return fmt.Errorf("postgres ended before it was ready: %w", p.err)
		case <-ctx.Done():
			return fmt.Errorf("postgres is not ready: %w", ctx.Err())
		}
	}
}

const (
	pidLine    = 0 // postmaster.pid: the process id
	memoryLine = 6 // key and id of the shared memory
	statusLine = 7 // starting, standby, ready or stopping
)

// readPIDFile reads postmaster.pid, which is stale after a crash and may be half written.
func readPIDFile(data string) (pid int, status string) {
	lines := pidFileLines(data)
	if len(lines) <= statusLine {
		return 0, ""
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(lines[pidLine])))
	if err != nil {
		return 0, ""
	}
	return pid, string(bytes.TrimSpace(lines[statusLine]))
}

func pidFileLines(data string) [][]byte {
	body, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return nil
	}
	return bytes.Split(body, []byte("\n"))
}
