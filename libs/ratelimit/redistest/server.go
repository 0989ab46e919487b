package redistest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// installCommand is what an error about a missing Redis tells to do.
const installCommand = "apt-get install -y --no-install-recommends redis-server"

const (
	patience = 30 * time.Second
	pause    = 10 * time.Millisecond
)

// Server is a Redis server that listens on 127.0.0.1 only. Its methods are for one goroutine at a time.
type Server struct {
	port int
	args []string

	cmd  *exec.Cmd // of the shell that keeps it; nil: it does not run
	hold io.Closer
	pid  int
	log  *tail
}

// keep runs a server and kills it when this process has ended, in whatever way: then the kernel closes the pipe.
const keep = `redis-server "$@" </dev/null & pid=$!; echo "pid $pid"; while read -r _ <&3; do :; done; kill -KILL "$pid" 2>/dev/null; wait "$pid"; exit 0`

// New starts an empty server on a free port, with more settings in the form of a command line.
func New(ctx context.Context, settings ...string) (*Server, error) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return nil, fmt.Errorf("redis-server is not on PATH: %s: %w", installCommand, err)
	}
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	s := &Server{port: port, args: append([]string{
		"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--loglevel", "notice",
		"--repl-diskless-sync-delay", "0", "--dir", "/",
	}, settings...)}
	return s, s.Start(ctx)
}

// NewReplica starts a server that follows another one, and waits until it does.
func NewReplica(ctx context.Context, of *Server) (*Server, error) {
	s, err := New(ctx, "--replicaof", "127.0.0.1 "+strconv.Itoa(of.port))
	if err != nil {
		return nil, err
	}
	for {
		info, err := s.Do(ctx, "INFO", "replication")
		if err == nil && strings.Contains(info, "master_link_status:up") {
			return s, nil
		}
		if ctx.Err() != nil {
			return nil, errors.Join(fmt.Errorf("wait for the replica: %w", ctx.Err()), s.Close())
		}
		time.Sleep(pause)
	}
}

func freePort(ctx context.Context) (int, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	return port, l.Close()
}

// Addr is where the server listens, also after another Start.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// URL is its address for a client.
func (s *Server) URL() string { return "redis://" + s.Addr() + "/0" }

// PID is the server's process; 0: it does not run.
func (s *Server) PID() int { return s.pid }

// Start starts the server, empty, at the address that it had, and waits until it answers.
func (s *Server) Start(ctx context.Context) error {
	if s.cmd != nil {
		return errors.New("the Redis server runs already")
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "/bin/sh", append([]string{"-c", "exec 3<&0; " + keep, "sh"}, s.args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // or a signal from the terminal would end it
	s.log = &tail{}
	cmd.Stderr = s.log
	hold, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("start Redis: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start Redis: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start Redis: %w", err)
	}
	s.cmd, s.hold = cmd, hold
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	if _, scanErr := fmt.Sscanf(line, "pid %d\n", &s.pid); err != nil || scanErr != nil {
		return errors.Join(fmt.Errorf("start Redis: %w", errors.Join(err, scanErr)), s.Close())
	}
	go func() { _, _ = io.Copy(s.log, lines) }() // until the server ends, which Close waits for
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		if _, err = s.Do(waiting, "PING"); err == nil {
			return nil
		}
		if waiting.Err() != nil {
			return errors.Join(fmt.Errorf("wait for Redis: %w: %s", err, s.log), s.Close())
		}
		time.Sleep(pause)
	}
}

// Kill ends the server at once, as kill -9 does, and waits until it is gone.
func (s *Server) Kill() error { return s.Close() }

// Freeze stops the server: the kernel still takes connections and requests for it. Thaw lets it go on with them.
func (s *Server) Freeze() error { return s.signal(syscall.SIGSTOP) }

// Thaw ends Freeze.
func (s *Server) Thaw() error { return s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) error {
	if s.cmd == nil {
		return errors.New("the Redis server does not run")
	}
	if err := syscall.Kill(s.pid, sig); err != nil {
		return fmt.Errorf("signal Redis: %w", err)
	}
	return nil
}

// Promote makes a replica a primary.
func (s *Server) Promote(ctx context.Context) error {
	_, err := s.Do(ctx, "REPLICAOF", "NO", "ONE")
	return err
}

// Close kills the server. One that does not run is fine.
func (s *Server) Close() error {
	if s.cmd == nil {
		return nil
	}
	err := s.hold.Close()
	_ = s.cmd.Wait() // the shell has done its work, or is gone
	s.cmd, s.pid = nil, 0
	if err != nil {
		return fmt.Errorf("stop Redis: %w", err)
	}
	return nil
}

// Do sends one command and returns the answer's text. It is for tests to look and to lead; clients have a library.
func (s *Server) Do(ctx context.Context, args ...string) (string, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.Addr())
	if err != nil {
		return "", fmt.Errorf("%s: %w", args[0], err)
	}
	defer func() { _ = conn.Close() }()
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(patience)
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return "", fmt.Errorf("%s: %w", args[0], err)
	}
	var request strings.Builder
	_, _ = fmt.Fprintf(&request, "*%d\r\n", len(args))
	for _, a := range args {
		_, _ = fmt.Fprintf(&request, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := io.WriteString(conn, request.String()); err != nil {
		return "", fmt.Errorf("%s: %w", args[0], err)
	}
	return read(args[0], bufio.NewReader(conn))
}

func read(command string, r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("%s: %w", command, err)
	}
	line = strings.TrimRight(line, "\r\n")
	switch line[0] {
	case '-':
		return "", fmt.Errorf("%s: %s", command, line[1:])
	case '$':
		size, err := strconv.Atoi(line[1:])
		if err != nil || size < 0 {
			return "", err //nolint:wrapcheck // nil answers are empty
		}
		body := make([]byte, size)
		if _, err := io.ReadFull(r, body); err != nil {
			return "", fmt.Errorf("%s: %w", command, err)
		}
		return string(body), nil
	default:
		return line[1:], nil
	}
}

// tail keeps the end of what a process prints.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if len(t.text) > 8<<10 {
		t.text = t.text[len(t.text)-4<<10:]
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
