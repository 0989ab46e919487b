package harness

import (
	"fmt"
	"os"
	"sync"
	"testing"
)

// Shared are servers that the tests of a package share, one on each journal that a test asks for:
//
//	var shared harness.Shared
//
//	func TestMain(m *testing.M) { os.Exit(shared.Run(m)) }
//
// The zero value is ready to use, by any number of tests at the same time.
type Shared struct {
	mu      sync.Mutex
	started map[Journal]*sharedServer
}

type sharedServer struct {
	dir    string
	server *Server
	err    error
}

// Run runs the package's tests, ends the servers, and returns the exit code for os.Exit.
func (s *Shared) Run(m *testing.M) int {
	code := m.Run()
	s.mu.Lock()
	defer s.mu.Unlock()
	for journal, one := range s.started {
		if err := one.end(journal, code != 0); err != nil {
			code = report(err)
		}
	}
	return code
}

// Server returns the server on that journal. The first call starts it; when that fails, it fails for all.
func (s *Shared) Server(tb testing.TB, journal Journal) *Server {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.started[journal]
	if one == nil {
		one = &sharedServer{}
		if s.started == nil {
			s.started = map[Journal]*sharedServer{}
		}
		s.started[journal] = one
		one.err = one.start(journal)
	}
	if one.err != nil {
		tb.Fatal(one.err)
	}
	return one.server
}

func (s *sharedServer) start(journal Journal) error {
	binary, err := build()
	if err != nil {
		return err
	}
	if s.dir, err = os.MkdirTemp("", "parley-e2e-data-"); err != nil {
		return fmt.Errorf("make the server's directory: %w", err)
	}
	if s.server, err = newServer(binary, s.dir, journal, nil, func(err error) { panic(err) }); err != nil {
		return err
	}
	return s.server.start()
}

func (s *sharedServer) end(journal Journal, failed bool) error {
	if s.server == nil {
		return os.RemoveAll(s.dir)
	}
	err := s.server.end()
	if failed || err != nil {
		_, _ = fmt.Fprintf(os.Stderr, "the last output of the server on %s:\n%s\n", journal, tail(s.server.logPath, shownLines))
	}
	if err == nil {
		err = keepLog(s.server.logPath, "shared-"+string(journal))
	}
	if err != nil {
		return err
	}
	return os.RemoveAll(s.dir)
}
