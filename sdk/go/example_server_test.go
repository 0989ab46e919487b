package parley_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parley-rt/parley/sdk/go"
)

// TestMain ends what the examples began and looks for leaks after that.
func TestMain(m *testing.M) {
	code := m.Run()
	if err := errors.Join(examples.close(), goleak.Find()); err != nil && code == 0 {
		_, _ = fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// gateway is the address of the server that the examples run against: `parley dev`, built from this repository and started
// by the first example that asks. PARLEY_E2E_BINARY names a binary that is built already.
func gateway() string {
	url, err := examples.start()
	if err != nil {
		panic(err)
	}
	return url
}

func closeLater(c *parley.Client) { examples.clients = append(examples.clients, c) }

var examples devServer

type devServer struct {
	once    sync.Once
	url     string
	err     error
	dir     string
	cmd     *exec.Cmd
	clients []*parley.Client
}

var websocketRow = regexp.MustCompile(`\bws://\S+`)

func (s *devServer) start() (string, error) {
	s.once.Do(func() { s.url, s.err = s.run() })
	return s.url, s.err
}

func (s *devServer) run() (string, error) {
	var err error
	if s.dir, err = os.MkdirTemp("", "parley-examples-"); err != nil {
		return "", fmt.Errorf("make a directory: %w", err)
	}
	binary := os.Getenv("PARLEY_E2E_BINARY")
	if binary == "" {
		binary = filepath.Join(s.dir, "parley")
		build := exec.Command("go", "build", "-o", binary, ".")
		build.Dir = filepath.Join("..", "..", "cmd", "parley")
		if out, err := build.CombinedOutput(); err != nil {
			return "", fmt.Errorf("go build ./cmd/parley: %w\n%s", err, out)
		}
	}
	s.cmd = exec.Command(binary, "dev", "--data", filepath.Join(s.dir, "data"), "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0")
	var said strings.Builder
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return "", fmt.Errorf("pipe: %w", err)
	}
	s.cmd.Stderr = &said
	if err := s.cmd.Start(); err != nil {
		return "", fmt.Errorf("start parley dev: %w", err)
	}
	timer := time.AfterFunc(time.Minute, func() { _ = s.cmd.Process.Kill() })
	defer timer.Stop()
	url := ""
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if u := websocketRow.FindString(lines.Text()); u != "" && url == "" {
			url = u
		}
		if lines.Text() == "ready" && url != "" {
			return url, nil
		}
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.cmd = nil
	return "", fmt.Errorf("parley dev did not become ready: %s", said.String())
}

func (s *devServer) close() error {
	var problems []error
	for _, c := range s.clients {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		problems = append(problems, c.Close(ctx))
		cancel()
	}
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait() // killed
	}
	if s.dir != "" {
		problems = append(problems, os.RemoveAll(s.dir))
	}
	return errors.Join(problems...)
}
