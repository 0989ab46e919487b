package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/parley-rt/parley/e2e/network"
)

// Kind is a binary of Parley.
type Kind string

// The kinds of nodes.
const (
	Gateway Kind = "gateway"
	Rooms   Kind = "rooms"
)

// Deployment is what the nodes of a datacenter have in common.
type Deployment struct {
	// JournalURL and ControlPlaneURL are what the nodes are told; nothing has to be there yet.
	JournalURL, ControlPlaneURL string
	// Network gives each node a host of its own. Nil: all are at 127.0.0.1.
	Network *network.Network
	// RoomsCommand is the directory in the checkout of another command to run as rooms nodes. Empty: theirs.
	RoomsCommand string
	// BuildTags are for the nodes' binaries.
	BuildTags []string
	// Resolver is a file that nodes see in place of /etc/resolv.conf, which takes root. Empty: they see the machine's.
	Resolver string
	nodes    []*Node
}

// Node is a gateway or rooms process and its successors, with the same name, ports and data directory. Its methods are for one
// goroutine at a time; URL, WebSocket and OpsURL are for all.
type Node struct {
	Kind Kind
	Name string

	place      place
	tb         testing.TB
	binary     string
	env        []string
	logPath    string
	log        *os.File
	process    *process
	remoting   int
	discovery  int
	peers      int
	opsAddr    string
	listenAddr string
	dir        string
}

// NewNodes gives n nodes of a kind names and ports; they know each other as seeds, so name all of a kind at once, unless more
// tells another discovery. Nothing is started. More is added to their environment and wins.
func (d *Deployment) NewNodes(tb testing.TB, kind Kind, n int, more ...string) []*Node {
	tb.Helper()
	binary, err := d.build(kind)
	if err != nil {
		tb.Fatal(err)
	}
	nodes := make([]*Node, n)
	var seeds []string
	for i := range nodes {
		ports, err := freePorts(5)
		if err != nil {
			tb.Fatal(err)
		}
		name := fmt.Sprintf("%s-%d", kind, i+1)
		where := place{resolver: d.Resolver}
		if d.Network != nil {
			if where.host, err = d.Network.Host(name); err != nil {
				tb.Fatal(err)
			}
		}
		at := func(port int) string { return net.JoinHostPort(where.ip(), strconv.Itoa(port)) }
		nodes[i] = &Node{
			Kind: kind, Name: name, place: where, tb: tb, binary: binary, dir: tb.TempDir(),
			remoting: ports[0], discovery: ports[1], peers: ports[2], opsAddr: at(ports[3]), listenAddr: at(ports[4]),
		}
		seeds = append(seeds, at(ports[1]))
	}
	for _, node := range nodes {
		if err := node.prepare(d, seeds, more); err != nil {
			tb.Fatal(err)
		}
	}
	d.nodes = append(d.nodes, nodes...)
	return nodes
}

func (n *Node) prepare(d *Deployment, seeds, more []string) error {
	// Nothing of this process's own configuration.
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "PARLEY_") {
			n.env = append(n.env, pair)
		}
	}
	n.env = append(n.env,
		"PARLEY_DC=dc-a", "PARLEY_REGION=local", "PARLEY_NODE="+n.Name,
		"PARLEY_ADVERTISE_HOST="+n.place.ip(),
		"PARLEY_REMOTING_PORT="+strconv.Itoa(n.remoting),
		"PARLEY_DISCOVERY_PORT="+strconv.Itoa(n.discovery),
		"PARLEY_PEERS_PORT="+strconv.Itoa(n.peers),
		"PARLEY_JOURNAL_URL="+d.JournalURL, "PARLEY_CONTROL_PLANE_URL="+d.ControlPlaneURL,
		"PARLEY_OPS_LISTEN="+n.opsAddr, "PARLEY_DATA_DIR="+filepath.Join(n.dir, "data"),
		"PARLEY_LOG_LEVEL=info", "PARLEY_LOG_FORMAT=json",
	)
	if !slices.ContainsFunc(more, func(pair string) bool { return strings.HasPrefix(pair, "PARLEY_DISCOVERY=") }) {
		n.env = append(n.env, "PARLEY_DISCOVERY=static", "PARLEY_SEEDS="+strings.Join(seeds, ","))
	}
	switch n.Kind {
	case Gateway:
		n.env = append(n.env, "PARLEY_LISTEN="+n.listenAddr, "PARLEY_AUTH_MODE=none")
	case Rooms:
		n.env = append(n.env, "PARLEY_API_LISTEN="+n.listenAddr, "PARLEY_AUTH_MODE=none")
	}
	n.env = append(n.env, more...)
	n.logPath = filepath.Join(n.dir, n.Name+".log")
	var err error
	if n.log, err = os.OpenFile(n.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return fmt.Errorf("open the log of %s: %w", n.Name, err)
	}
	n.tb.Cleanup(n.end)
	return nil
}

// Start runs the process and does not wait for it: AwaitReady does.
func (n *Node) Start() {
	n.tb.Helper()
	n.StartWith()
}

// StartWith is Start with more in the environment, for this life only.
func (n *Node) StartWith(more ...string) {
	n.tb.Helper()
	if n.process != nil {
		n.tb.Fatalf("start %s: it runs", n.Name)
	}
	cmd := n.place.command(n.binary)
	cmd.Env = slices.Concat(n.env, more)
	p, err := launch(cmd, n.log, nil)
	if err != nil {
		n.tb.Fatal(err)
	}
	n.process = p
}

// Running says whether the process lives, and how it ended when it did so by itself.
func (n *Node) Running() (bool, error) {
	if n.process == nil {
		return false, nil
	}
	if err := n.process.exit(); err != nil {
		return false, err
	}
	return true, nil
}

// Confine has the process begin in a control group from its next start on; group is the group's directory.
func (n *Node) Confine(group string) { n.place.group = group }

// Host is the node's own, nil when it has none.
func (n *Node) Host() *network.Host { return n.place.host }

// PID is the number of the running process, 0 when there is none.
func (n *Node) PID() int {
	if n.process == nil {
		return 0
	}
	return n.process.pid
}

// Kill9 ends the process without any notice and returns when it is gone.
func (n *Node) Kill9() {
	p := n.process
	n.process = nil
	p.kill()
}

// Term asks the process to end and returns how it did; it is killed when it takes longer than the bound.
func (n *Node) Term(within time.Duration) error {
	p := n.process
	n.process = nil
	p.signal(syscall.SIGTERM)
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-p.done:
		return p.err
	case <-timer.C:
		p.signal(syscall.SIGQUIT) // prints all goroutines
		p.kill()
		return fmt.Errorf("%s still ran %s after SIGTERM", n.Name, within)
	}
}

// LastError is the node's newest log line of level ERROR, empty when there is none.
func (n *Node) LastError() string {
	lines := strings.Split(n.Log(), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if strings.Contains(lines[i], `"level":"ERROR"`) || strings.HasPrefix(lines[i], "panic:") {
			return lines[i]
		}
	}
	return ""
}

// AwaitEnd waits until the process has ended by itself and returns how it did.
func (n *Node) AwaitEnd(ctx context.Context) error {
	p := n.process
	select {
	case <-p.done:
		n.process = nil
		return p.err
	case <-ctx.Done():
		return fmt.Errorf("%s still runs: %w", n.Name, ctx.Err())
	}
}

// Signal sends the process a signal and does not wait for what it does.
func (n *Node) Signal(s syscall.Signal) { n.process.signal(s) }

// Freeze stops the process as a hung machine would: connections stay open, nobody answers.
func (n *Node) Freeze() { n.process.signal(syscall.SIGSTOP) }

// Thaw ends Freeze.
func (n *Node) Thaw() { n.process.signal(syscall.SIGCONT) }

// URL is a gateway's address for browsers, and a rooms node's API for administrators.
func (n *Node) URL() string { return "http://" + n.listenAddr }

// WebSocket is a gateway's address for clients.
func (n *Node) WebSocket() string { return "ws://" + n.listenAddr + "/ws" }

// OpsURL is the ops port's address.
func (n *Node) OpsURL() string { return "http://" + n.opsAddr }

// Log returns everything that the node printed so far, in all its lives.
func (n *Node) Log() string {
	body, err := os.ReadFile(n.logPath)
	if err != nil {
		n.tb.Fatal(err)
	}
	return string(body)
}

// Readiness returns whether the node is ready and what /readyz?verbose says.
func (n *Node) Readiness(ctx context.Context) (bool, string) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.OpsURL()+"/readyz?verbose", nil)
	if err != nil {
		return false, err.Error()
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return false, err.Error()
	}
	return res.StatusCode == http.StatusOK, string(body)
}

// AwaitReady returns when the node is ready, or with why it is not when ctx ends or the process does.
func (n *Node) AwaitReady(ctx context.Context) error {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		ready, why := n.Readiness(ctx)
		if ready {
			return nil
		}
		if running, err := n.Running(); !running {
			return fmt.Errorf("%s ended before it was ready: %w\n%s", n.Name, err, tail(n.logPath, shownLines))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w: %s\n%s", n.Name, ctx.Err(), why, tail(n.logPath, shownLines))
		case <-ticker.C:
		}
	}
}

// end leaves no process behind.
func (n *Node) end() {
	if p := n.process; p != nil {
		n.process = nil
		if err := p.exit(); err != nil {
			n.tb.Errorf("%s (pid %d) ended by itself: %v", n.Name, p.pid, err)
		} else {
			p.kill()
		}
	}
	_ = n.log.Close() // written by others
	body := n.Log()
	if strings.Contains(body, "WARNING: DATA RACE") {
		n.tb.Errorf("%s has a data race:\n%s", n.Name, body)
	}
	if n.tb.Failed() {
		n.tb.Logf("the last output of %s:\n%s", n.Name, tail(n.logPath, shownLines))
	}
	if err := keepLog(n.logPath, n.tb.Name()+"-"+n.Name); err != nil {
		n.tb.Error(err)
	}
}

// build builds what the nodes of a kind run.
func (d *Deployment) build(kind Kind) (string, error) {
	directory := map[Kind]string{Gateway: "services/gateway/cmd/gateway", Rooms: "services/rooms/cmd/rooms"}[kind]
	if kind == Rooms && d.RoomsCommand != "" {
		directory = d.RoomsCommand
	}
	if directory == "" {
		return "", fmt.Errorf("unknown kind %q", kind)
	}
	return built(directory, strings.Join(d.BuildTags, ","))
}

var builds struct {
	mu   sync.Mutex
	done map[string]func() (string, error)
}

// built builds a command with tags, once.
func built(directory, tags string) (string, error) {
	builds.mu.Lock()
	if builds.done == nil {
		builds.done = make(map[string]func() (string, error))
	}
	once, ok := builds.done[directory+" "+tags]
	if !ok {
		name, flags := filepath.Base(directory), raceFlags()
		if tags != "" {
			name, flags = name+"-"+strings.ReplaceAll(tags, ",", "-"), append(flags, "-tags", tags)
		}
		once = sync.OnceValues(func() (string, error) { return goBuildPackage(directory, ".", name, flags...) })
		builds.done[directory+" "+tags] = once
	}
	builds.mu.Unlock()
	return once()
}

// Ports that are handed out are below the range from which systems give ports to outgoing connections, and once per process.
const (
	firstFreePort = 12_000
	lastFreePort  = 19_999
)

var (
	portMu   sync.Mutex
	nextPort = firstFreePort + rand.IntN(lastFreePort-firstFreePort)
)

// freePorts returns ports of loopback that nobody has bound for TCP or UDP.
func freePorts(n int) ([]int, error) {
	portMu.Lock()
	defer portMu.Unlock()
	var ports []int
	for range lastFreePort - firstFreePort {
		if nextPort++; nextPort > lastFreePort {
			nextPort = firstFreePort
		}
		if portIsFree(nextPort) {
			if ports = append(ports, nextPort); len(ports) == n {
				return ports, nil
			}
		}
	}
	return nil, errors.New("no free ports")
}

func portIsFree(port int) bool {
	addr := net.JoinHostPort(loopback, strconv.Itoa(port))
	var config net.ListenConfig
	l, err := config.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return false
	}
	defer func() { _ = l.Close() }()
	u, err := config.ListenPacket(context.Background(), "udp", addr)
	if err != nil {
		return false
	}
	return u.Close() == nil
}
