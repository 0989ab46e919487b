package harness

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/parley-rt/parley/e2e/network"
)

// NATS is a NATS server with JetStream, a process of its own, and its successors on the same data and port.
type NATS struct {
	place   place
	tb      testing.TB
	binary  string
	port    int
	dir     string
	log     *os.File
	process *process
}

// buildNATS builds the server in the version that the control plane is tested with.
var buildNATS = sync.OnceValues(func() (string, error) {
	return goBuildPackage("libs/dcplane", "github.com/nats-io/nats-server/v2", "nats-server")
})

const natsTimeout = 30 * time.Second

// NewNATS gives a server a port and a directory. It is not started.
func NewNATS(tb testing.TB) *NATS {
	tb.Helper()
	return NewNATSOn(tb, nil)
}

// NewNATSOn is NewNATS on a host of its own.
func NewNATSOn(tb testing.TB, host *network.Host) *NATS {
	tb.Helper()
	binary, err := buildNATS()
	if err != nil {
		tb.Fatal(err)
	}
	ports, err := freePorts(1)
	if err != nil {
		tb.Fatal(err)
	}
	n := &NATS{place: place{host}, tb: tb, binary: binary, port: ports[0], dir: tb.TempDir()}
	if n.log, err = os.Create(filepath.Join(n.dir, "nats.log")); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if n.process != nil {
			n.Kill9()
		}
		_ = n.log.Close() // written by the server
		if tb.Failed() {
			tb.Logf("the last output of NATS:\n%s", tail(n.log.Name(), shownLines))
		}
	})
	return n
}

// URL survives Start and Kill9.
func (n *NATS) URL() string { return "nats://" + n.addr() }

func (n *NATS) addr() string { return net.JoinHostPort(n.place.ip(), strconv.Itoa(n.port)) }

// Start starts the server, on what an earlier life left, and returns when it accepts connections.
func (n *NATS) Start() {
	n.tb.Helper()
	p, err := launch(n.place.command(n.binary, "-js", "-sd", filepath.Join(n.dir, "data"), "-a", n.place.ip(), "-p", strconv.Itoa(n.port)), n.log, nil)
	if err != nil {
		n.tb.Fatal(err)
	}
	n.process = p
	ctx, cancel := context.WithTimeout(context.Background(), natsTimeout)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", n.addr())
		if err == nil {
			_ = c.Close() // nothing was said
			return
		}
		if ended := p.exit(); ended != nil || ctx.Err() != nil {
			n.tb.Fatalf("NATS does not accept connections: %v, %v", err, ended)
		}
		<-ticker.C
	}
}

// Kill9 ends the server without any notice and returns when it is gone.
func (n *NATS) Kill9() {
	p := n.process
	n.process = nil
	p.kill()
}

// Freeze stops the server as a hung machine would.
func (n *NATS) Freeze() { n.process.signal(syscall.SIGSTOP) }

// Thaw ends Freeze.
func (n *NATS) Thaw() { n.process.signal(syscall.SIGCONT) }
