package harness

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// Redis is a Redis server and its successors at the same address, each empty. Its methods are for one goroutine at a time.
type Redis struct {
	tb      testing.TB
	port    int
	log     *os.File
	process *process
}

// NewRedis gives a Redis server a port. It is not started.
func NewRedis(tb testing.TB) *Redis {
	tb.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		tb.Fatal("redis-server is missing: apt-get install -y --no-install-recommends redis-server")
	}
	ports, err := freePorts(1)
	if err != nil {
		tb.Fatal(err)
	}
	r := &Redis{tb: tb, port: ports[0]}
	if r.log, err = os.Create(filepath.Join(tb.TempDir(), "redis.log")); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if r.process != nil {
			r.process.kill()
		}
		_ = r.log.Close() // written by another
	})
	return r
}

// URL is what clients are told.
func (r *Redis) URL() string { return "redis://" + r.addr() }

func (r *Redis) addr() string { return net.JoinHostPort(loopback, strconv.Itoa(r.port)) }

// Start runs the server and waits until it takes connections.
func (r *Redis) Start() {
	r.tb.Helper()
	cmd := exec.Command("redis-server", "--port", strconv.Itoa(r.port), "--bind", loopback, "--save", "", "--appendonly", "no", "--dir", "/")
	var err error
	if r.process, err = launch(cmd, r.log, nil); err != nil {
		r.tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for err = fmt.Errorf("not tried"); err != nil; {
		var conn net.Conn
		if conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", r.addr()); err == nil {
			_ = conn.Close()
		} else if ctx.Err() != nil {
			r.tb.Fatalf("redis-server does not take connections: %v\n%s", err, tail(r.log.Name(), shownLines))
		}
	}
}

// Kill9 ends the server without any notice and returns when it is gone.
func (r *Redis) Kill9() {
	r.process.kill()
	r.process = nil
}

// Freeze stops the server as a hung machine would: the kernel takes connections and requests for it, nobody answers.
func (r *Redis) Freeze() { r.process.signal(syscall.SIGSTOP) }

// Thaw ends Freeze.
func (r *Redis) Thaw() { r.process.signal(syscall.SIGCONT) }
