package scheduler

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/dcplane"
)

// roomsService is what rooms nodes are called in the directory.
const roomsService = "rooms"

// livingEvery is how often Links are looked at that are kept only because their peers answer.
const livingEvery = 500 * time.Millisecond

// lateNode is the node for those that are made before it.
type lateNode struct{ node atomic.Pointer[actorkit.Node] }

func (l *lateNode) Send(node string, f actorkit.Frame) error {
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

// roomsNodes names the rooms nodes in the order in which they are asked about a room.
func (s *Service) roomsNodes(room string) []string {
	return dcplane.Preferred(room, s.deps.Directory.Nodes(s.cfg.DC, roomsService))
}

// watchPeers keeps Links to the DC's rooms nodes, which take the firings, and to its other scheduler nodes, which have the book or ask
// for it. A peer that is not in the directory any more but answers keeps its Link: it may merely be cut off from the control plane.
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
	taken := map[string]bool{s.cfg.Node: true}
	for _, service := range []string{roomsService, ServiceName} {
		for _, n := range s.deps.Directory.Nodes(s.cfg.DC, service) {
			if taken[n.Name] {
				continue
			}
			taken[n.Name] = true
			peers = append(peers, actorkit.Peer{
				Node: n.Name, Incarnation: n.Incarnation, Service: n.Service, Host: n.Host, RemotingPort: n.RemotingPort,
			})
		}
	}
	return peers
}

// watchRegistration notices when another process takes this node's name: others then talk to that one.
func (s *Service) watchRegistration(ctx context.Context, reg dcplane.Registration) {
	select {
	case err := <-reg.Lost():
		var superseded *dcplane.SupersededError
		if errors.As(err, &superseded) {
			s.logger.Error("another process has taken this node's name", slog.Any("err", err))
			s.fail(err)
		}
	case <-ctx.Done():
	}
}
