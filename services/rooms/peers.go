package rooms

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/dcplane"
)

// What the nodes of other services are called in the directory.
const (
	gatewayService   = "gateway"
	schedulerService = "scheduler"
)

// lateNode is the node for those that are made before it.
type lateNode struct {
	node atomic.Pointer[actorkit.Node]
	// toSelf takes what is sent to self; nil: nobody does.
	self   string
	toSelf func(node string, f actorkit.Frame) error
}

func (l *lateNode) Send(node string, f actorkit.Frame) error {
	if l.toSelf != nil && node == l.self {
		return l.toSelf(node, f)
	}
	if n := l.node.Load(); n != nil {
		return n.Send(node, f)
	}
	return actorkit.ErrLinkDown
}

func (l *lateNode) Link(node string) (actorkit.LinkStatus, bool) {
	if n := l.node.Load(); n != nil {
		return n.Link(node)
	}
	return actorkit.LinkStatus{}, false
}

// livingEvery is how often Links are looked at that are kept only because their peers answer.
const livingEvery = 500 * time.Millisecond

// watchPeers keeps Links to the DC's gateway nodes, which subscribe here, to its scheduler nodes, which publish here, and to its
// other rooms nodes, whose Links tell
// whether they live. A peer that is not in the directory any more but answers keeps its Link: it may merely be cut off from
// the control plane.
func (s *Service) watchPeers(ctx context.Context) {
	living := time.NewTicker(livingEvery)
	defer living.Stop()
	for {
		changed := s.deps.Directory.Changed()
		// Before the first complete view there is nobody: Links that exist must not be closed for that.
		if s.deps.Directory.Ready() {
			s.node.SetPeers(s.node.KeepLiving(s.peers()))
		}
		select {
		case <-changed:
		case <-living.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *Service) peers() []actorkit.Peer {
	var peers []actorkit.Peer
	taken := make(map[string]string)
	for _, service := range []string{gatewayService, schedulerService, ServiceName} {
		for _, n := range s.deps.Directory.Nodes(s.cfg.DC, service) {
			if service == ServiceName && n.Name == s.cfg.Node {
				continue
			}
			if other, ok := taken[n.Name]; ok || n.Name == s.cfg.Node {
				s.logger.Warn("node name is used twice in the datacenter", slog.String("peer", n.Name), slog.String("other_service", other))
				continue
			}
			taken[n.Name] = service
			peers = append(peers, actorkit.Peer{
				Node: n.Name, Incarnation: n.Incarnation, Service: n.Service, Host: n.Host, RemotingPort: n.RemotingPort,
			})
		}
	}
	return peers
}

// waitForDirectory waits until the directory is complete and shows this node.
func (s *Service) waitForDirectory(ctx context.Context) error {
	for {
		changed := s.deps.Directory.Changed()
		_, known := s.deps.Directory.Lookup(s.cfg.DC, ServiceName, s.cfg.Node)
		if s.deps.Directory.Ready() && known {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for the directory: %w", ctx.Err())
		}
	}
}

// watchRegistration notices when another process takes this node's name: it would claim this node's rooms as its own.
func (s *Service) watchRegistration(ctx context.Context, reg dcplane.Registration) {
	select {
	case err := <-reg.Lost():
		if err == nil {
			return
		}
		var superseded *dcplane.SupersededError
		if errors.As(err, &superseded) {
			s.blind.lose(err)
			s.logger.Error("another process has taken this node's name", slog.Any("err", err))
		}
	case <-ctx.Done():
	}
}

// roomsDirectory is what the room host knows of the DC's rooms nodes.
type roomsDirectory struct {
	directory dcplane.Directory
	dc        string
}

// Nodes implements roomhost.Directory.
func (d roomsDirectory) Nodes() ([]dcplane.Node, bool) {
	return d.directory.Nodes(d.dc, ServiceName), d.directory.Age() <= dcplane.DefaultLease
}

// Lookup implements roomhost.Directory.
func (d roomsDirectory) Lookup(node string) (bool, time.Time) {
	asOf := time.Now().Add(-d.directory.Age())
	_, ok := d.directory.Lookup(d.dc, ServiceName, node)
	return ok, asOf
}
