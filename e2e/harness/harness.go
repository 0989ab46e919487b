package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	readyTimeout = 60 * time.Second
	termTimeout  = 30 * time.Second
	shownLines   = 120
)

// Server is a `parley dev` process and its successors on the same data.
type Server struct {
	binary  string
	args    []string // without the addresses
	env     []string
	logPath string
	log     *os.File
	fatal   func(error)
	process *process // nil after Kill9 or Term
	at      addresses
}

// StartDev starts `parley dev` on an empty data directory and free ports of 127.0.0.1, with more arguments if given, and
// returns when it is ready. The test fails when the server ends by itself.
func StartDev(tb testing.TB, args ...string) *Server {
	tb.Helper()
	return StartDevOn(tb, SQLite, args...)
}

// StartDevOn is StartDev with a journal of that kind, which is empty.
func StartDevOn(tb testing.TB, journal Journal, args ...string) *Server {
	tb.Helper()
	return startDev(tb, Build(tb), journal, nil, args...)
}

// StartDevTagged is StartDevOn with a binary that is built with these tags, and with more variables, which SetEnv changes.
func StartDevTagged(tb testing.TB, journal Journal, tags string, env []string, args ...string) *Server {
	tb.Helper()
	binary, err := built("cmd/parley", tags)
	if err != nil {
		tb.Fatal(err)
	}
	return startDev(tb, binary, journal, env, args...)
}

func startDev(tb testing.TB, binary string, journal Journal, env []string, args ...string) *Server {
	tb.Helper()
	s, err := newServer(binary, tb.TempDir(), journal, args, func(err error) {
		tb.Helper()
		tb.Fatal(err)
	})
	if err == nil {
		s.env = env
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		err := s.end()
		if err != nil {
			tb.Error(err)
		}
		if tb.Failed() {
			tb.Logf("the server's last output:\n%s", tail(s.logPath, shownLines))
		}
		if err := keepLog(s.logPath, tb.Name()); err != nil {
			tb.Error(err)
		}
	})
	if err := s.start(); err != nil {
		tb.Fatal(err)
	}
	return s
}

// URL is the gateway's address for browsers, like "http://127.0.0.1:41234". It survives Restart.
func (s *Server) URL() string { return "http://" + s.at.gateway }

// WebSocket is the address for clients, like "ws://127.0.0.1:41234/ws". It survives Restart.
func (s *Server) WebSocket() string { return "ws://" + s.at.gateway + "/ws" }

// OpsURL is the ops port's address. It survives Restart.
func (s *Server) OpsURL() string { return "http://" + s.at.ops }

// APIURL is the address of the API for administrators. It survives Restart.
func (s *Server) APIURL() string { return "http://" + s.at.api }

// PID is the number of the running process, 0 when there is none.
func (s *Server) PID() int {
	if s.process == nil {
		return 0
	}
	return s.process.pid
}

// Log returns everything that the server printed so far, in all its lives.
func (s *Server) Log() string {
	body, err := os.ReadFile(s.logPath)
	if err != nil {
		s.fatal(fmt.Errorf("read the server's log: %w", err))
	}
	return string(body)
}

// Kill9 ends the server without any notice and returns when it is gone.
func (s *Server) Kill9() {
	p := s.running("kill")
	s.process = nil
	p.kill()
}

// Term asks the server to end, waits until it has, and requires a clean exit.
func (s *Server) Term() {
	p := s.running("terminate")
	s.process = nil
	p.signal(syscall.SIGTERM)
	timer := time.NewTimer(termTimeout)
	defer timer.Stop()
	select {
	case <-p.done:
		if p.err != nil {
			s.fatal(fmt.Errorf("parley dev after SIGTERM: %w", p.err))
		}
	case <-timer.C:
		p.signal(syscall.SIGQUIT) // prints all goroutines
		p.kill()
		s.fatal(fmt.Errorf("parley dev still ran %s after SIGTERM", termTimeout))
	}
}

// SetEnv replaces the variables of the server's next lives.
func (s *Server) SetEnv(env ...string) { s.env = env }

// AwaitDeath waits until the server has killed itself, at a place where it was told to.
func (s *Server) AwaitDeath(within time.Duration) {
	if s.process == nil {
		s.fatal(fmt.Errorf("await death: the server does not run"))
	}
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-s.process.done:
		s.process = nil
	case <-timer.C:
		s.fatal(fmt.Errorf("parley dev (pid %d) still lives after %s", s.process.pid, within))
	}
}

// Restart starts the server again after Kill9 or Term, on the same data and ports, and returns when it is ready.
func (s *Server) Restart() {
	if s.process != nil {
		s.fatal(fmt.Errorf("restart: the server still runs"))
	}
	if err := s.start(); err != nil {
		s.fatal(err)
	}
}

func newServer(binary, dir string, journal Journal, args []string, fatal func(error)) (*Server, error) {
	keep, err := journal.arguments()
	if err != nil {
		return nil, err
	}
	logPath := filepath.Join(dir, "server.log")
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the server's log: %w", err)
	}
	args = slices.Concat([]string{"dev", "--data", filepath.Join(dir, "data")}, keep, args)
	return &Server{binary: binary, args: args, logPath: logPath, log: log, fatal: fatal, at: addresses{"127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"}}, nil
}

func (s *Server) start() error {
	args := append(append([]string(nil), s.args...), "--listen", s.at.gateway, "--ops-listen", s.at.ops, "--api-listen", s.at.api)
	p, at, err := start(s.binary, args, s.log, readyTimeout, s.env...)
	if err != nil {
		return err
	}
	s.process = p
	if at.gateway == "" || at.ops == "" || at.api == "" {
		return fmt.Errorf("parley dev did not print the addresses of its gateway, API and ops port; it printed:\n%s", tail(s.logPath, shownLines))
	}
	s.at = at
	return nil
}

// running returns the process, which must not have ended by itself.
func (s *Server) running(verb string) *process {
	if s.process == nil {
		s.fatal(fmt.Errorf("%s: the server does not run", verb))
	}
	if err := s.process.exit(); err != nil {
		p := s.process
		s.process = nil
		s.fatal(fmt.Errorf("parley dev (pid %d) ended by itself: %w", p.pid, err))
	}
	return s.process
}

// end leaves no process behind and says what went wrong unnoticed.
func (s *Server) end() error {
	defer func() { _ = s.log.Close() }()
	if p := s.process; p != nil {
		s.process = nil
		if err := p.exit(); err != nil {
			return fmt.Errorf("parley dev (pid %d) ended by itself: %w", p.pid, err)
		}
		p.kill()
	}
	body, err := os.ReadFile(s.logPath)
	if err != nil {
		return fmt.Errorf("read the server's log: %w", err)
	}
	if strings.Contains(string(body), "WARNING: DATA RACE") {
		return fmt.Errorf("the server has a data race:\n%s", body)
	}
	return nil
}

// keepLog copies a server's output to PARLEY_E2E_LOGS, when set.
func keepLog(path, name string) error {
	dir := os.Getenv("PARLEY_E2E_LOGS")
	if dir == "" {
		return nil
	}
	body, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("keep the server's log: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("keep the server's log: %w", err)
	}
	name = strings.NewReplacer("/", "-", " ", "-").Replace(name)
	if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%d.log", name, os.Getpid())), body, 0o600); err != nil {
		return fmt.Errorf("keep the server's log: %w", err)
	}
	return nil
}

func report(err error) int {
	_, _ = fmt.Fprintln(os.Stderr, "harness:", err)
	return 1
}
