package etcdtest

import (
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
)

// process is one life of a server.
type process struct {
	pid  int
	done chan struct{} // closed after it was reaped
	err  error         // how it ended; valid after done
}

func launch(cmd *exec.Cmd) (*process, error) {
	p := &process{done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// The kernel watches the thread that forked (see attributes): keep it until the child is gone.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			p.err = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		<-p.done
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return p, nil
}

func (p *process) signal(s syscall.Signal) error {
	select {
	case <-p.done:
		return nil // its number may be another's by now
	default:
		return syscall.Kill(p.pid, s)
	}
}
