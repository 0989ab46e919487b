package harness

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/parley-rt/parley/e2e/network"
)

// ControlPlane is a NATS or etcd server, a process of its own, and its successors on the same data and ports.
type ControlPlane struct {
	kind    planeKind
	place   place
	tb      testing.TB
	binary  string
	ports   []int
	dir     string
	log     *os.File
	process *process
}

// planeKind is what differs.
type planeKind struct {
	name, scheme string
	build        func() (string, error)
	// arguments of a server that keeps its data in dir and listens on the ports.
	arguments func(dir, ip string, ports []int) []string
}

const planeTimeout = 30 * time.Second

// NewNATS gives a NATS server with JetStream a port and a directory. It is not started.
func NewNATS(tb testing.TB) *ControlPlane {
	tb.Helper()
	return NewNATSOn(tb, nil)
}

// NewNATSOn is NewNATS on a host of its own.
func NewNATSOn(tb testing.TB, host *network.Host) *ControlPlane {
	tb.Helper()
	return newControlPlane(tb, host, planeKind{
		name: "NATS", scheme: "nats://", build: buildNATS,
		arguments: func(dir, ip string, ports []int) []string {
			return []string{"-js", "-sd", dir, "-a", ip, "-p", strconv.Itoa(ports[0])}
		},
	})
}

// NewEtcd gives an etcd server ports and a directory. It is not started.
func NewEtcd(tb testing.TB) *ControlPlane {
	tb.Helper()
	return NewEtcdOn(tb, nil)
}

// NewEtcdOn is NewEtcd on a host of its own.
func NewEtcdOn(tb testing.TB, host *network.Host) *ControlPlane {
	tb.Helper()
	return newControlPlane(tb, host, planeKind{
		name: "etcd", scheme: "etcd://", build: buildEtcd,
		arguments: func(dir, ip string, ports []int) []string {
			client, peer := fmt.Sprintf("http://%s:%d", ip, ports[0]), fmt.Sprintf("http://%s:%d", ip, ports[1])
			return []string{
				"--data-dir", dir, "--listen-client-urls", client, "--advertise-client-urls", client,
				"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default=" + peer,
				"--log-level", "warn", "--logger", "zap",
			}
		},
	})
}

func newControlPlane(tb testing.TB, host *network.Host, kind planeKind) *ControlPlane {
	tb.Helper()
	binary, err := kind.build()
	if err != nil {
		tb.Fatal(err)
	}
	ports, err := freePorts(2)
	if err != nil {
		tb.Fatal(err)
	}
	c := &ControlPlane{kind: kind, place: place{host: host}, tb: tb, binary: binary, ports: ports, dir: tb.TempDir()}
	if c.log, err = os.Create(filepath.Join(c.dir, strings.ToLower(kind.name)+".log")); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if c.process != nil {
			c.Kill9()
		}
		_ = c.log.Close() // written by the server
		if tb.Failed() {
			tb.Logf("the last output of %s:\n%s", kind.name, tail(c.log.Name(), shownLines))
		}
		if err := keepLog(c.log.Name(), tb.Name()+"-"+kind.name); err != nil {
			tb.Error(err)
		}
	})
	return c
}

// buildNATS builds the server in the version that the control plane is tested with.
var buildNATS = sync.OnceValues(func() (string, error) {
	return goBuildPackage("libs/dcplane", "github.com/nats-io/nats-server/v2", "nats-server")
})

// buildEtcd does the same, in a module that has nothing else. Go keeps the result in its cache.
var buildEtcd = sync.OnceValues(func() (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	const pkg = "go.etcd.io/etcd/server/v3"
	cmd := exec.Command("go", "tool", "-n", pkg)
	cmd.Dir = filepath.Join(root, "tools", "etcd")
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go tool -n %s in ./tools/etcd: %w\n%s", pkg, err, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
})

// URL survives Start and Kill9.
func (c *ControlPlane) URL() string { return c.kind.scheme + c.addr() }

func (c *ControlPlane) addr() string {
	return net.JoinHostPort(c.place.ip(), strconv.Itoa(c.ports[0]))
}

// Start starts the server, on what an earlier life left, and returns when it accepts connections.
func (c *ControlPlane) Start() {
	c.tb.Helper()
	p, err := launch(c.place.command(c.binary, c.kind.arguments(filepath.Join(c.dir, "data"), c.place.ip(), c.ports)...), c.log, nil)
	if err != nil {
		c.tb.Fatal(err)
	}
	c.process = p
	ctx, cancel := context.WithTimeout(context.Background(), planeTimeout)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", c.addr())
		if err == nil {
			_ = conn.Close() // nothing was said
			return
		}
		if ended := p.exit(); ended != nil || ctx.Err() != nil {
			c.tb.Fatalf("%s does not accept connections: %v, %v", c.kind.name, err, ended)
		}
		<-ticker.C
	}
}

// Kill9 ends the server without any notice and returns when it is gone.
func (c *ControlPlane) Kill9() {
	p := c.process
	c.process = nil
	p.kill()
}

// Freeze stops the server as a hung machine would.
func (c *ControlPlane) Freeze() { c.process.signal(syscall.SIGSTOP) }

// Thaw ends Freeze.
func (c *ControlPlane) Thaw() { c.process.signal(syscall.SIGCONT) }
