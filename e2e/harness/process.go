package harness

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// process is one life of a server.
type process struct {
	pid  int
	done chan struct{} // closed after the process was reaped and its output read
	err  error         // how it ended; valid after done
}

// start runs the command, with more variables, with its output appended to log, and waits until it is ready. The returned addresses are what it
// printed.
func start(binary string, args []string, log *os.File, timeout time.Duration, env ...string) (*process, addresses, error) {
	ready := make(chan addresses, 1)
	cmd := exec.Command(binary, args...)
	cmd.Env = append(cmd.Environ(), env...)
	p, err := launch(cmd, log, func(out io.Reader) { follow(out, log, ready) })
	if err != nil {
		return nil, addresses{}, err
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case at := <-ready:
		return p, at, nil
	case <-p.done:
		return nil, addresses{}, fmt.Errorf("%s %s ended before it was ready: %w", binary, strings.Join(args, " "), p.exit())
	case <-timer.C:
		p.kill()
		return nil, addresses{}, fmt.Errorf("%s %s: not ready after %s", binary, strings.Join(args, " "), timeout)
	}
}

// launch runs the command as a process group of its own, with its errors appended to log. read gets its output and returns at
// its end; nil appends the output to log, too.
func launch(cmd *exec.Cmd, log *os.File, read func(io.Reader)) (*process, error) {
	cmd.SysProcAttr = childAttributes()
	cmd.Stderr = log
	var stdout io.Reader
	if read == nil {
		cmd.Stdout = log
	} else {
		var err error
		if stdout, err = cmd.StdoutPipe(); err != nil {
			return nil, fmt.Errorf("pipe: %w", err)
		}
	}
	p := &process{done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// The kernel watches the thread that forked (see childAttributes): keep it until the child is gone.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		if err := cmd.Start(); err != nil {
			p.err = err
			started <- err
			return
		}
		p.pid = cmd.Process.Pid
		started <- nil
		if read != nil {
			read(stdout)
		}
		p.err = cmd.Wait()
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return p, nil
}

// follow copies the output to log and sends the addresses at the line "ready".
func follow(out io.Reader, log io.Writer, ready chan<- addresses) {
	var at addresses
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		line := lines.Text()
		_, _ = fmt.Fprintln(log, line) // a log that cannot be written must not stop the server
		at.read(line)
		if strings.TrimSpace(line) == "ready" {
			select {
			case ready <- at:
			default: // only the first counts
			}
		}
	}
	_, _ = io.Copy(io.Discard, out) // after a line that is too long: never let the server block
}

// kill ends the whole process group at once and waits until it is gone.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
}

func (p *process) signal(s syscall.Signal) {
	select {
	case <-p.done: // the number may belong to another process by now
	default:
		_ = syscall.Kill(-p.pid, s) // ESRCH: it ended by itself, which done tells
	}
}

// exit returns how the process ended, or nil while it runs.
func (p *process) exit() error {
	select {
	case <-p.done:
		if p.err == nil {
			return errors.New("exit status 0")
		}
		return p.err
	default:
		return nil
	}
}

// tail returns the last lines of a file.
func tail(path string, lines int) string {
	body, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(body), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
