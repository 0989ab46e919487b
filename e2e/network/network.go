package network

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
)

// ErrUnavailable wraps why there can be no Network here.
var ErrUnavailable = errors.New("no network namespaces")

// Install is what provides the commands that this package calls.
const Install = "apt-get install -y --no-install-recommends iproute2 iptables util-linux"

// Network is a switch with hosts. It is safe for concurrent use.
type Network struct {
	bridge  *namespace
	outside *Host
	prefix  string // of all addresses: "198.18.7."

	mu     sync.Mutex
	hosts  []*Host
	closed bool
}

// Host is one machine on the switch.
type Host struct {
	Name string
	ip   string
	ns   *namespace // nil for Outside
}

// namespace is a network namespace, which lives as long as the process that holds it.
type namespace struct {
	holder *exec.Cmd
	end    func() error
}

// The outside's interface has a name in a place that all share, and so do its addresses; each Network takes one number.
const (
	numbers      = 250
	outsideName  = "parley-e2e-"
	outsideHost  = 1
	firstHost    = 10
	addressesFor = "198.18." // set aside for tests of networks
)

// New returns a network with nobody on it but this process. Close ends it.
func New() (*Network, error) {
	if err := check(); err != nil {
		return nil, err
	}
	bridge, err := newNamespace()
	if err != nil {
		return nil, err
	}
	n := &Network{bridge: bridge}
	if err := n.setUp(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func check() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: this process is not root", ErrUnavailable)
	}
	for _, command := range []string{"ip", "iptables", "nsenter"} {
		if _, err := exec.LookPath(command); err != nil {
			return fmt.Errorf("%w: %w; install it with: %s", ErrUnavailable, err, Install)
		}
	}
	return nil
}

// setUp makes the bridge and this process's own port on it.
func (n *Network) setUp() error {
	for _, args := range []string{
		"link add br0 type bridge",
		"link set br0 up",
	} {
		if err := n.bridge.ip(args); err != nil {
			return err
		}
	}
	var last error
	for i := range numbers {
		number := (os.Getpid() + i) % numbers
		name := outsideName + strconv.Itoa(number)
		last = ip(fmt.Sprintf("link add %s type veth peer name outside netns %d", name, n.bridge.pid()))
		if last != nil {
			continue // another process's
		}
		n.prefix = addressesFor + strconv.Itoa(number) + "."
		n.outside = &Host{Name: "outside", ip: n.prefix + strconv.Itoa(outsideHost)}
		return errors.Join(
			ip(fmt.Sprintf("addr add %s/24 dev %s", n.outside.ip, name)),
			ip(fmt.Sprintf("link set %s up", name)),
			n.bridge.ip("link set outside master br0"),
			n.bridge.ip("link set outside up"),
		)
	}
	return last
}

// Outside is this process.
func (n *Network) Outside() *Host { return n.outside }

// Host adds a host.
func (n *Network) Host(name string) (*Host, error) {
	ns, err := newNamespace()
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	h := &Host{Name: name, ip: n.prefix + strconv.Itoa(firstHost+len(n.hosts)), ns: ns}
	port := fmt.Sprintf("port%d", len(n.hosts))
	n.hosts = append(n.hosts, h)
	err = errors.Join(
		n.bridge.ip(fmt.Sprintf("link add %s type veth peer name eth0 netns %d", port, ns.pid())),
		n.bridge.ip(fmt.Sprintf("link set %s master br0", port)),
		n.bridge.ip(fmt.Sprintf("link set %s up", port)),
		ns.ip(fmt.Sprintf("addr add %s/24 dev eth0", h.ip)),
		ns.ip("link set eth0 up"),
		ns.ip("link set lo up"),
	)
	if err != nil {
		return nil, fmt.Errorf("add host %s: %w", name, err)
	}
	return h, nil
}

// IP is the host's address.
func (h *Host) IP() string { return h.ip }

// Run rewrites a command that was not started yet to run on the host. Its process has the same number and parent as it would
// have had.
func (h *Host) Run(cmd *exec.Cmd) {
	if h.ns == nil {
		return
	}
	path, err := exec.LookPath("nsenter")
	if err != nil {
		path = "nsenter" // check found it; Start tells if it is gone
	}
	cmd.Args = append([]string{"nsenter", "--net=" + h.ns.file(), "--", cmd.Path}, cmd.Args[1:]...)
	cmd.Path, cmd.Err = path, nil
}

// Close removes everything. Processes on the hosts keep their namespaces until they end.
func (n *Network) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil
	}
	n.closed = true
	var errs []error
	for _, h := range n.hosts {
		errs = append(errs, h.ns.end())
	}
	return errors.Join(append(errs, n.bridge.end())...)
}

// Cut says which packets are lost.
type Cut struct {
	From, To *Host
	// Refuse tells the sender, for TCP.
	Refuse bool
}

// String names the direction and the manner.
func (c Cut) String() string {
	manner := "dropped"
	if c.Refuse {
		manner = "refused"
	}
	return fmt.Sprintf("%s to %s %s", c.From.Name, c.To.Name, manner)
}

// rule is what iptables is told, and where. Dropped packets are dropped where they arrive: whoever sends them notices nothing.
func (c Cut) rule() (*Host, string) {
	if c.Refuse {
		return c.From, "OUTPUT -d " + c.To.ip + " -p tcp -j REJECT --reject-with tcp-reset"
	}
	if c.To.ns == nil { // the outside's firewall is the machine's
		return c.From, "OUTPUT -d " + c.To.ip + " -j DROP"
	}
	return c.To, "INPUT -s " + c.From.ip + " -j DROP"
}

// Cut cuts; heal ends it.
func (n *Network) Cut(c Cut) (heal func() error, err error) {
	at, rule := c.rule()
	if at.ns == nil {
		return nil, fmt.Errorf("cut %s: the outside's firewall is the machine's", c)
	}
	if err := at.ns.iptables("-I " + rule); err != nil {
		return nil, fmt.Errorf("cut %s: %w", c, err)
	}
	return func() error {
		if err := at.ns.iptables("-D " + rule); err != nil {
			return fmt.Errorf("heal %s: %w", c, err)
		}
		return nil
	}, nil
}

// Lose loses a share of all packets that a host sends and gets, each by chance; heal ends it. share is a part of 1.
func (n *Network) Lose(h *Host, share float64) (heal func() error, err error) {
	if h.ns == nil {
		return nil, fmt.Errorf("lose packets of %s: the outside's firewall is the machine's", h.Name)
	}
	rule := fmt.Sprintf("-m statistic --mode random --probability %.4f -j DROP", share)
	both := func(what string) error {
		return errors.Join(h.ns.iptables(what+" INPUT "+rule), h.ns.iptables(what+" OUTPUT "+rule))
	}
	if err := both("-I"); err != nil {
		return nil, fmt.Errorf("lose packets of %s: %w", h.Name, err)
	}
	return func() error {
		if err := both("-D"); err != nil {
			return fmt.Errorf("heal %s: %w", h.Name, err)
		}
		return nil
	}, nil
}

func (s *namespace) pid() int { return s.holder.Process.Pid }

func (s *namespace) file() string { return fmt.Sprintf("/proc/%d/ns/net", s.pid()) }

func (s *namespace) ip(args string) error { return s.run("ip", args) }

// iptables waits for whoever else changes the same firewall.
func (s *namespace) iptables(args string) error { return s.run("iptables", "-w 10 "+args) }

func (s *namespace) run(command, args string) error {
	return run("nsenter", append([]string{"--net=" + s.file(), "--", command}, strings.Fields(args)...))
}

func ip(args string) error { return run("ip", strings.Fields(args)) }

func run(command string, args []string) error {
	if out, err := exec.Command(command, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", command, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
