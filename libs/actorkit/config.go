package actorkit

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"time"

	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
)

const (
	defaultQueueBytes = 8 << 20
	defaultBatchBytes = 1 << 20
	defaultAskTimeout = 2 * time.Second
	defaultHeartbeat  = 500 * time.Millisecond

	// maxFrameBytes keeps a batch of one frame below GoAkt's 16 MiB remoting frame.
	maxFrameBytes = 12 << 20
	// maxBatchFrames bounds the turn in which a door hands a batch over.
	maxBatchFrames = 8192
	maxIDBytes     = 64
)

// NodeConfig describes a clustered actor system. Zero values mean the default named at each field.
type NodeConfig struct {
	// System is the actor system's name, the cluster's label: nodes of different names never merge. "gateway-<dc>".
	System string
	// Node is this node's name, unique within the datacenter; 1–64 bytes.
	Node string
	// Incarnation is random per process life; at most 64 bytes. Default: random.
	Incarnation string
	// Service is copied to Self.
	Service string
	// Host is the IPv4 address that is bound and that peers connect to. Default 127.0.0.1. GoAkt takes the bound address
	// for the node's identity, so it can be neither 0.0.0.0 nor a name nor behind NAT, and cannot parse one of IPv6.
	Host string
	// Ports; 0 means a free one.
	RemotingPort, DiscoveryPort, PeersPort int
	// Seeds are host:discoveryPort of all nodes of the service, this one or not. Empty: only this node.
	Seeds []string
	// Finder finds the nodes of the service in another way. Default: the seeds.
	Finder Finder
	// Quorum is how many members, this one included, must answer before StartNode returns, however long that takes; below it the
	// cluster's registry refuses to work, and members look for the others again. Default 1.
	Quorum int
	// Waiting is told why StartNode waits whenever that changes, and nil when the wait is over. Default: nobody.
	Waiting func(error)
	// TLS protects every connection between nodes, in both directions: see TLSFiles.Load. All nodes of a deployment, of whatever
	// service, have it or none. Default: plain connections; whoever reaches the ports can then do what a node can.
	TLS *tls.Config
	// DataDir holds GoAkt's own files, in a subdirectory of this node that is emptied at the start. Default: GoAkt's
	// choice, .goakt in the user's home directory. See StartNode.
	DataDir string

	// Neighbours are the nodes of other services in this process. Default: none.
	Neighbours *Neighbours

	// Logger gets GoAkt's warnings too, each at most once a second. Default: discard.
	Logger *slog.Logger
	// MeterProvider gets this package's instruments. Default: none.
	MeterProvider metric.MeterProvider

	// QueueBytes bounds what waits for one peer. Default 8 MiB.
	QueueBytes int
	// BatchBytes bounds one batch; a larger frame travels alone. Default 1 MiB, at most 8 MiB.
	BatchBytes int
	// AskTimeout bounds one batch's round trip, and is how long a peer may be silent. Default 2 s.
	AskTimeout time.Duration
	// Heartbeat is sent when nothing else was for so long. Default 500 ms; at most half of AskTimeout.
	Heartbeat time.Duration
}

func (c NodeConfig) withDefaults() NodeConfig {
	if c.Incarnation == "" {
		c.Incarnation = rand.Text()
	}
	if c.Host == "" {
		c.Host = "127.0.0.1"
	}
	if c.Finder == nil {
		c.Finder = SeedFinder(c.Seeds, nil)
	}
	if c.Quorum == 0 {
		c.Quorum = 1
	}
	if c.Waiting == nil {
		c.Waiting = func(error) {}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.MeterProvider == nil {
		c.MeterProvider = metricnoop.NewMeterProvider()
	}
	if c.QueueBytes == 0 {
		c.QueueBytes = defaultQueueBytes
	}
	if c.BatchBytes == 0 {
		c.BatchBytes = defaultBatchBytes
	}
	if c.AskTimeout == 0 {
		c.AskTimeout = defaultAskTimeout
	}
	if c.Heartbeat == 0 {
		c.Heartbeat = defaultHeartbeat
	}
	return c
}

// validate returns all problems of a configuration with defaults filled in.
func (c NodeConfig) validate() error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if !regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]*$`).MatchString(c.System) {
		bad("system name %q: want letters, digits, '.', '_' and '-', the first a letter or digit", c.System)
	}
	if n := len(c.Node); n == 0 || n > maxIDBytes {
		bad("node name %q: want 1 to %d bytes", c.Node, maxIDBytes)
	}
	if len(c.Incarnation) > maxIDBytes {
		bad("incarnation %q: want at most %d bytes", c.Incarnation, maxIDBytes)
	}
	if ip := net.ParseIP(c.Host); ip.To4() == nil || ip.IsUnspecified() {
		bad("host %q: want the IPv4 address that peers connect to", c.Host)
	}
	ports := []struct {
		name string
		port int
	}{{"remoting", c.RemotingPort}, {"discovery", c.DiscoveryPort}, {"peers", c.PeersPort}}
	for i, p := range ports {
		if p.port < 0 || p.port > 65535 {
			bad("%s port %d: want 0 to 65535", p.name, p.port)
		}
		for _, q := range ports[:i] {
			if p.port != 0 && p.port == q.port {
				bad("%s and %s port are both %d", q.name, p.name, p.port)
			}
		}
	}
	for _, s := range c.Seeds {
		if host, port, err := net.SplitHostPort(s); err != nil || host == "" || port == "" {
			bad("seed %q: want host:port", s)
		}
	}
	if c.Quorum < 1 {
		bad("quorum %d: want at least 1", c.Quorum)
	}
	if c.QueueBytes < 0 {
		bad("queue of %d bytes: want a positive number", c.QueueBytes)
	}
	if c.BatchBytes < 0 || c.BatchBytes > 8<<20 {
		bad("batches of %d bytes: want 1 to 8 MiB", c.BatchBytes)
	}
	if c.Heartbeat < 0 || c.AskTimeout < 2*c.Heartbeat {
		bad("ask timeout %v: want at least twice the heartbeat %v", c.AskTimeout, c.Heartbeat)
	}
	if len(problems) > 0 {
		return fmt.Errorf("%w: %w", ErrInvalidConfig, errors.Join(problems...))
	}
	return nil
}
