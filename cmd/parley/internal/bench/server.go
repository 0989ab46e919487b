package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Target is the server under test.
type Target struct {
	// URL of its WebSocket endpoint; empty: start a `parley dev` of this binary on a fresh data directory.
	URL string
	// PID whose CPU and memory are charged; needed with URL.
	PID int
	// Args are added to the `parley dev` that is started.
	Args []string
	// Command is started instead of `parley dev`, with this binary.
	Command []string
	// DatabasePID is the process whose CPU, with that of its children, is charged as the database's; 0: there is none.
	DatabasePID int
	// tls: the server that is started shows clients a certificate made for the run.
	tls bool
}

type server struct {
	url           string
	pid, database int
	stop          func() error
}

// databaseUsage is what the database has consumed so far, nothing without one.
func (s *server) databaseUsage() (usage, error) {
	if s.database == 0 {
		return usage{}, nil
	}
	return familyUsage(s.database)
}

var gatewayLine = regexp.MustCompile(`(?m)^\s*websocket\s+(wss?://\S+)`)

// startServer returns the target's server, started when it has no URL. The caller calls stop.
func startServer(ctx context.Context, t Target) (*server, error) {
	if t.URL != "" {
		if _, err := url.Parse(t.URL); err != nil {
			return nil, fmt.Errorf("target url: %w", err)
		}
		if t.PID == 0 {
			return nil, errors.New("--pid of the server is needed with --url: its CPU time is half of the result")
		}
		return &server{url: t.URL, pid: t.PID, database: t.DatabasePID, stop: func() error { return nil }}, nil
	}
	data, err := os.MkdirTemp("", "parley-bench-")
	if err != nil {
		return nil, fmt.Errorf("create data directory: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own binary: %w", err)
	}
	if t.tls {
		cert, key, err := makeCertificate(data)
		if err != nil {
			return nil, errors.Join(err, os.RemoveAll(data))
		}
		t.Args = append(t.Args[:len(t.Args):len(t.Args)], "--tls-cert", cert, "--tls-key", key)
	}
	args := append([]string{"dev", "--data", data, "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0"}, t.Args...)
	if t.Command != nil {
		args = t.Command
	}
	cmd := exec.CommandContext(ctx, self, args...)
	var log tail // shown only when something goes wrong
	cmd.Stderr = &log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 15 * time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start server: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start server: %w", err)
	}
	stop := func() error {
		signalled := cmd.Process.Signal(syscall.SIGTERM)
		_, _ = io.Copy(io.Discard, out)
		err := errors.Join(signalled, cmd.Wait(), os.RemoveAll(data))
		if err != nil {
			err = fmt.Errorf("stop server: %w\n%s", err, log.text())
		}
		return err
	}
	endpoint, err := awaitReady(out)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w\n%s", err, log.text()), stop())
	}
	return &server{url: endpoint, pid: cmd.Process.Pid, database: t.DatabasePID, stop: stop}, nil
}

// awaitReady reads the start-up table up to "ready" and returns the WebSocket address in it.
func awaitReady(out io.Reader) (string, error) {
	var table strings.Builder
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		table.WriteString(lines.Text() + "\n")
		if strings.TrimSpace(lines.Text()) == "ready" {
			match := gatewayLine.FindStringSubmatch(table.String())
			if match == nil {
				return "", fmt.Errorf("no websocket address in the server's table:\n%s", table.String())
			}
			return match[1], nil
		}
	}
	return "", fmt.Errorf("server ended before it was ready:\n%s", table.String())
}

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	end []byte
}

const tailBytes = 16 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = append(t.end, p...)
	if len(t.end) > 2*tailBytes {
		t.end = append(t.end[:0], t.end[len(t.end)-tailBytes:]...)
	}
	return len(p), nil
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.end)
}
