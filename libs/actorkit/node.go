package actorkit

import (
	"context"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/metric"
)

// NodeConfig describes a clustered actor system. Zero values mean the default named at each field.
type NodeConfig struct {
	// System is the actor system's name, the cluster's label: nodes of different names never merge. "gateway-<dc>".
	System string
	// Node is this node's name, unique within the datacenter; 1–64 bytes.
	Node string
	// Incarnation is random per process life; 1–64 bytes. Default: random.
	Incarnation string
	// Service is copied to Self.
	Service string
	// Host is the IP address that peers connect to, and that is bound. Default 127.0.0.1. GoAkt takes the bound address
	// as the node's identity, so it can be neither 0.0.0.0 nor a name nor behind NAT.
	Host string
	// Ports; 0 means a free one.
	RemotingPort, DiscoveryPort, PeersPort int
	// Seeds are host:discoveryPort of all nodes of the service, own included. Empty: only this node.
	Seeds []string
	// Quorum is the number of members below which the cluster refuses to work. Default 1.
	Quorum int
	// DataDir gets GoAkt's own files (.goakt). Default: the user's home directory. See StartNode.
	DataDir string

	// Logger gets GoAkt's warnings too, each text at most once a second. Default: discard.
	Logger *slog.Logger
	// MeterProvider gets this package's instruments. Default: none.
	MeterProvider metric.MeterProvider

	// QueueBytes bounds what waits for one peer. Default 8 MiB.
	QueueBytes int
	// BatchBytes bounds one batch; a larger frame travels alone. Default 1 MiB.
	BatchBytes int
	// AskTimeout bounds one batch's round trip, and is how long a peer may be silent. Default 2 s.
	AskTimeout time.Duration
	// Heartbeat is sent when nothing else was for so long. Default 500 ms.
	Heartbeat time.Duration
}

// Node is a clustered actor system that holds nothing but its door and one Link per peer. Methods are safe for
// concurrent use.
type Node struct{}

// StartNode starts the clustered system and its door.
func StartNode(ctx context.Context, cfg NodeConfig, h Handler) (*Node, error) { panic("being written") }

// Self returns this node with the ports really bound.
func (n *Node) Self() Peer { panic("being written") }

// Addr returns this node's host:discoveryPort, what other nodes name in Seeds.
func (n *Node) DiscoveryAddr() string { panic("being written") }

// SetPeers makes Links to exactly these peers, this node itself excepted. A changed incarnation or address replaces the
// Link (with a LinkDown if it was up); a missing one is closed.
func (n *Node) SetPeers(peers []Peer) { panic("being written") }

// Send queues a frame for a peer, in order. It never blocks and the frame's body must not be changed afterwards.
// Errors: ErrUnknownPeer, ErrLinkDown, ErrLinkFull. nil means queued, not arrived: a LinkDown drops what was queued.
func (n *Node) Send(node string, f Frame) error { panic("being written") }

// Link returns the state of the Link to a peer; false when SetPeers did not name it.
func (n *Node) Link(node string) (LinkStatus, bool) { panic("being written") }

// SetBlind is announced to all peers with the next batch or heartbeat.
func (n *Node) SetBlind(blind bool) { panic("being written") }

// Stop closes all Links, the door and the system. No handler call is running or will come when it has returned nil.
func (n *Node) Stop(ctx context.Context) error { panic("being written") }
