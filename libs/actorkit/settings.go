package actorkit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Settings are what an operator says about a node's place in the cluster of its service. The tags are those of the
// configuration loader; embed it in a program's configuration.
type Settings struct {
	AdvertiseHost string   `required:"true" placeholder:"HOST" help:"IPv4 address of this machine at which the other nodes reach it, or a name that resolves to one."`
	RemotingPort  int      `default:"3320" help:"TCP port for messages between nodes."`
	DiscoveryPort int      `default:"3321" help:"TCP and UDP port for gossip between nodes of the same service."`
	PeersPort     int      `default:"3322" help:"TCP port for the registry of the service's cluster."`
	Discovery     string   `enum:"static,nats,kubernetes,dns" default:"static" help:"How nodes of the same service find each other: static, nats, kubernetes or dns."`
	Seeds         []string `placeholder:"HOST:PORT" help:"host:discovery_port of every node of this service in the datacenter, comma-separated; with dns discovery a name that has all their addresses. Empty with static discovery: this node only."`
	ClusterQuorum int      `placeholder:"N" help:"How many nodes of this service must see each other before they start: more than half of all. Default with static discovery: more than half of the seeds; otherwise there is none."`

	KubernetesSelector  string `placeholder:"LABEL=VALUE" help:"With kubernetes discovery: label selector of the pods of this service."`
	KubernetesNamespace string `placeholder:"NAME" help:"With kubernetes discovery: namespace of the pods. Default: this pod's own."`

	ClusterTLS TLSFiles `embed:"" prefix:"cluster-tls-"`
}

// Kinds of discovery.
const (
	DiscoveryStatic     = "static"
	DiscoveryDNS        = "dns"
	DiscoveryNATS       = "nats"
	DiscoveryKubernetes = "kubernetes"
)

// resolveTimeout bounds the look-up of the advertised name.
const resolveTimeout = 3 * time.Second

// Validate returns every problem with what to do about it. It looks the advertised name up.
func (s Settings) Validate() error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	var own netip.Addr
	if s.AdvertiseHost != "" { // else it is reported as missing
		var err error
		if own, err = s.Host(); err != nil {
			problems = append(problems, err)
		}
	}
	for _, p := range s.ports() {
		if p.port < 0 || p.port > 65535 {
			bad("%s: %d is not a port: give 1 to 65535, or 0 for a free one", p.setting, p.port)
		}
	}
	for _, seed := range s.Seeds {
		if err := checkSeed(seed, own); err != nil {
			problems = append(problems, fmt.Errorf("PARLEY_SEEDS: %w", err))
		}
	}
	problems = append(problems, s.checkDiscovery()...)
	problems = append(problems, s.checkQuorum(own)...)
	if !s.ClusterTLS.Empty() {
		_, err := s.ClusterTLS.Load()
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

// checkDiscovery finds settings that a kind of discovery lacks, and those that it would not look at.
func (s Settings) checkDiscovery() []error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	seeded := s.Discovery == DiscoveryStatic || s.Discovery == DiscoveryDNS
	switch {
	case s.Discovery == DiscoveryDNS && len(s.Seeds) == 0:
		bad("PARLEY_SEEDS is required with dns discovery: give name:discovery_port, where the name has the addresses of all nodes of this service")
	case !seeded && len(s.Seeds) > 0:
		bad("PARLEY_SEEDS is of no use with %s discovery: leave it out, or set PARLEY_DISCOVERY to static or dns", s.Discovery)
	}
	switch {
	case s.Discovery == DiscoveryKubernetes && s.KubernetesSelector == "":
		bad("PARLEY_KUBERNETES_SELECTOR is required with kubernetes discovery: give the labels of this service's pods, such as app.kubernetes.io/name=rooms")
	case s.Discovery != DiscoveryKubernetes && s.KubernetesSelector+s.KubernetesNamespace != "":
		bad("PARLEY_KUBERNETES_SELECTOR and PARLEY_KUBERNETES_NAMESPACE are of no use with %s discovery: leave them out, or set PARLEY_DISCOVERY to kubernetes", s.Discovery)
	}
	if (len(s.Seeds) > 0 || s.Discovery == DiscoveryKubernetes) && s.DiscoveryPort == 0 {
		bad("PARLEY_DISCOVERY_PORT: 0 takes a free port, which the other nodes cannot know: give it a fixed one")
	}
	return problems
}

func (s Settings) checkQuorum(own netip.Addr) []error {
	switch n := s.nodes(own); {
	case s.ClusterQuorum < 0:
		return []error{fmt.Errorf("PARLEY_CLUSTER_QUORUM: %d is negative: give more than half of the nodes of this service", s.ClusterQuorum)}
	case s.Discovery == DiscoveryStatic && s.ClusterQuorum > n:
		return []error{fmt.Errorf("PARLEY_CLUSTER_QUORUM: %d can never be reached by the %d nodes in PARLEY_SEEDS: give more than half of them, %d, or name all nodes",
			s.ClusterQuorum, n, n/2+1)}
	case s.Discovery != DiscoveryStatic && s.ClusterQuorum == 0:
		return []error{fmt.Errorf("PARLEY_CLUSTER_QUORUM is required with %s discovery, which does not tell how many nodes there should be: "+
			"give more than half of the nodes of this service, such as 2 of 3", s.Discovery)}
	default:
		return nil
	}
}

// Host returns the IPv4 address that AdvertiseHost means.
func (s Settings) Host() (netip.Addr, error) {
	const setting = "PARLEY_ADVERTISE_HOST"
	addr, err := netip.ParseAddr(s.AdvertiseHost)
	if err != nil {
		ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
		defer cancel()
		found, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", s.AdvertiseHost)
		if err != nil || len(found) == 0 {
			return netip.Addr{}, fmt.Errorf("%s: %q is neither an IPv4 address nor a name that resolves to one: give this machine's address that the other nodes connect to",
				setting, s.AdvertiseHost)
		}
		addr = found[0]
	}
	addr = addr.Unmap()
	switch {
	case !addr.Is4():
		return netip.Addr{}, fmt.Errorf("%s: %s is an IPv6 address, which the actor system cannot use: give an IPv4 address", setting, addr)
	case addr.IsUnspecified():
		return netip.Addr{}, fmt.Errorf("%s: nobody can connect to %s: give this machine's own address", setting, addr)
	case addr.IsMulticast(), addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return netip.Addr{}, fmt.Errorf("%s: %s is not the address of one machine: give this machine's own address", setting, addr)
	case !isLocal(addr):
		return netip.Addr{}, fmt.Errorf("%s: no interface of this machine has the address %s: nodes bind the address that they advertise, "+
			"so it cannot be that of a NAT, a load balancer or a service: give the interface's own", setting, addr)
	}
	return addr, nil
}

func isLocal(addr netip.Addr) bool {
	if addr.IsLoopback() {
		return true // all of 127.0.0.0/8
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return true // the bind will tell
	}
	return slices.ContainsFunc(addrs, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && prefix.Addr().Unmap() == addr
	})
}

func checkSeed(seed string, own netip.Addr) error {
	host, port, err := net.SplitHostPort(seed)
	if err != nil || host == "" {
		return fmt.Errorf("%q is not host:port: give host:discovery_port of a node", seed)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%q has no port of 1 to 65535: give host:discovery_port of a node", seed)
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return nil //nolint:nilerr // It is a name, which may resolve later.
	}
	switch {
	case addr.IsUnspecified():
		return fmt.Errorf("nobody can connect to %q: give the node's own address", seed)
	case !addr.Unmap().Is4():
		return fmt.Errorf("%q is an IPv6 address, which nodes do not have: give an IPv4 address", seed)
	case own.IsValid() && own.IsLoopback() != addr.IsLoopback():
		return fmt.Errorf("%q and the advertised %s cannot reach each other, one of them is a loopback address: advertise the address of the network that the nodes share", seed, own)
	}
	return nil
}

// nodes counts the nodes that seeds name, this one included.
func (s Settings) nodes(own netip.Addr) int {
	names := map[string]bool{}
	port := strconv.Itoa(s.DiscoveryPort)
	self := net.JoinHostPort(own.String(), port)
	for _, seed := range s.Seeds {
		if strings.EqualFold(seed, net.JoinHostPort(s.AdvertiseHost, port)) {
			seed = self
		}
		names[seed] = true
	}
	names[self] = true
	return len(names)
}

// Apply fills in what s says of a node. s must be valid. server and cluster are for discovery by NATS: where, and what
// distinguishes the cluster from others there.
func (s Settings) Apply(c NodeConfig, server NATSServer, cluster string) (NodeConfig, error) {
	own, err := s.Host()
	if err != nil {
		return c, err
	}
	c.Host = own.String()
	c.RemotingPort, c.DiscoveryPort, c.PeersPort = s.RemotingPort, s.DiscoveryPort, s.PeersPort
	switch s.Discovery {
	case DiscoveryNATS:
		c.Finder = NATSFinder(server, cluster)
	case DiscoveryKubernetes:
		c.Finder = KubernetesFinder(KubernetesConfig{Selector: s.KubernetesSelector, Namespace: s.KubernetesNamespace, Port: s.DiscoveryPort})
	default:
		c.Finder = SeedFinder(s.Seeds, nil)
	}
	if !s.ClusterTLS.Empty() {
		if c.TLS, err = s.ClusterTLS.Load(); err != nil {
			return c, err
		}
	}
	c.Quorum = s.ClusterQuorum
	if c.Quorum == 0 {
		c.Quorum = s.nodes(own)/2 + 1
	}
	return c, nil
}

// Address is a port that a node binds on its own address.
type Address struct {
	Setting string // the variable that names it
	Addr    string // host:port
	UDP     bool   // as well as TCP
}

// Addresses are what a node of these settings binds; when its host is not known, on the loopback interface, where ports that
// are taken show as well.
func (s Settings) Addresses() []Address {
	own, err := s.Host()
	if err != nil {
		own = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	var all []Address
	for _, p := range s.ports() {
		all = append(all, Address{Setting: p.setting, Addr: net.JoinHostPort(own.String(), strconv.Itoa(p.port)), UDP: p.udp})
	}
	return all
}

type settingsPort struct {
	setting string
	port    int
	udp     bool
}

// ports: the UDP port of remoting is held to keep other nodes off, see reserve.
func (s Settings) ports() []settingsPort {
	return []settingsPort{
		{"PARLEY_REMOTING_PORT", s.RemotingPort, true},
		{"PARLEY_DISCOVERY_PORT", s.DiscoveryPort, true},
		{"PARLEY_PEERS_PORT", s.PeersPort, false},
	}
}
