package gateway

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/dcplane"
)

// roomsService is what rooms nodes are called in the directory.
const roomsService = "rooms"

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

// livingEvery is how often Links are looked at that are kept only because their peers answer.
const livingEvery = 500 * time.Millisecond

// watchRooms keeps Links to the DC's rooms nodes and tells everybody who routes.
func (s *Service) watchRooms(ctx context.Context) {
	living := time.NewTicker(livingEvery)
	defer living.Stop()
	var last []dcplane.Node
	for {
		changed := s.deps.Directory.Changed()
		// Before the first complete view there is nobody: Links that exist must not be closed for that.
		if s.deps.Directory.Ready() {
			nodes, peers := s.living(s.deps.Directory.Nodes(s.cfg.DC, roomsService), last)
			s.node.SetPeers(peers)
			if last == nil || !slices.Equal(nodes, last) {
				s.router.SetNodes(nodes)
				s.hub.NodesChanged()
				last = nodes
			}
		}
		select {
		case <-changed:
		case <-living.C:
		case <-ctx.Done():
			return
		}
	}
}

// living adds the nodes that are not in the directory any more but answer: such a node may merely be cut off from the control
// plane, and no other takes its rooms. It is asked for what it runs and gets nothing new.
func (s *Service) living(nodes, last []dcplane.Node) ([]dcplane.Node, []actorkit.Peer) {
	peers := s.node.KeepLiving(peersOf(nodes))
	for _, p := range peers[len(nodes):] {
		i := slices.IndexFunc(last, func(n dcplane.Node) bool { return n.Name == p.Node })
		if i < 0 {
			continue
		}
		n := last[i]
		n.State = dcplane.StateDraining
		nodes = append(nodes, n)
	}
	slices.SortFunc(nodes, func(a, b dcplane.Node) int { return cmp.Compare(a.Name, b.Name) })
	return nodes, peers
}

// watchRegistration notices when another process takes this node's name: rooms nodes then talk to that one, so this one must
// get no more clients.
func (s *Service) watchRegistration(ctx context.Context, reg dcplane.Registration) {
	select {
	case err := <-reg.Lost():
		var superseded *dcplane.SupersededError
		if errors.As(err, &superseded) {
			s.lost.Store(superseded)
			s.logger.Error("another process has taken this node's name", slog.Any("err", err))
		}
	case <-ctx.Done():
	}
}

func peersOf(nodes []dcplane.Node) []actorkit.Peer {
	peers := make([]actorkit.Peer, len(nodes))
	for i, n := range nodes {
		peers[i] = actorkit.Peer{Node: n.Name, Incarnation: n.Incarnation, Service: n.Service, Host: n.Host, RemotingPort: n.RemotingPort}
	}
	return peers
}

// reachesRooms says whether a Link to a rooms node is up.
func (s *Service) reachesRooms() bool {
	for _, n := range s.deps.Directory.Nodes(s.cfg.DC, roomsService) {
		if status, ok := s.links.Link(n.Name); ok && status.Up {
			return true
		}
	}
	return false
}

// firstLinkWait bounds how long Start waits for a Link to a rooms node.
const firstLinkWait = 3 * time.Second

// waitForRooms waits a little for the first Link, so that "started" usually means that rooms can be joined. Without any
// rooms node the gateway starts all the same: clients can connect, and their requests wait.
func (s *Service) waitForRooms(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, firstLinkWait)
	defer cancel()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for {
		if s.reachesRooms() {
			return
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			s.logger.Warn("no rooms node can be reached yet")
			return
		}
	}
}
