package actorkit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tochemey/goakt/v4/actor"
)

// Node is a clustered actor system that holds nothing but its door, with one Link per peer. Methods are safe for
// concurrent use, and none but Stop blocks.
type Node struct {
	cfg     NodeConfig
	self    Peer
	handler Handler
	sys     actor.ActorSystem
	door    *actor.PID
	hands   *door // behind the PID
	metrics *metrics
	// provider looks for the other nodes of the service.
	provider *provider
	// port keeps other nodes off the remoting port.
	port net.PacketConn

	// ctx is the node's life: tasks end with it.
	ctx    context.Context
	cancel context.CancelFunc

	blind atomic.Bool
	links atomic.Pointer[map[string]*link]

	// peersMu guards the replacement of links, and floor.
	peersMu sync.Mutex
	// floor is where the batch numbers of a new Link go on: above those of all Links before it.
	floor uint64

	// turn is held while the handler runs. stopping is set by Stop.
	turn     chan struct{}
	stopping atomic.Bool

	// loops are the goroutines of the node and its Links.
	loops sync.WaitGroup

	// deaf is closed when the door has stopped before the node.
	deaf chan struct{}

	stopOnce sync.Once
	stopErr  error
	stopped  chan struct{}
}

// Self returns this node with the ports really bound.
func (n *Node) Self() Peer { return n.self }

// DiscoveryAddr returns host:discoveryPort, what other nodes name in Seeds.
func (n *Node) DiscoveryAddr() string {
	return net.JoinHostPort(n.cfg.Host, strconv.Itoa(n.cfg.DiscoveryPort))
}

// Send queues a frame for a peer, in order. It never blocks; the frame's body must not be changed afterwards. Errors:
// ErrUnknownPeer, ErrLinkDown, ErrLinkFull, ErrFrameTooLarge, ErrStopped. nil means queued, not arrived: a LinkDown drops
// what was queued.
func (n *Node) Send(node string, f Frame) error {
	if n.stopping.Load() {
		return ErrStopped
	}
	if size := frameSize(f); size > maxFrameBytes || size > n.cfg.QueueBytes {
		return fmt.Errorf("frame of %d bytes for %s: %w", size, node, ErrFrameTooLarge)
	}
	l := n.link(node)
	if l == nil {
		return fmt.Errorf("send to %s: %w", node, ErrUnknownPeer)
	}
	err := l.send(f)
	if err != nil {
		reason := n.metrics.down
		if errors.Is(err, ErrLinkFull) {
			reason = n.metrics.full
		}
		n.metrics.rejected.Add(n.ctx, 1, reason)
		return fmt.Errorf("send to %s: %w", node, err)
	}
	return nil
}

// Link returns the state of the Link to a peer; false when SetPeers did not name it.
func (n *Node) Link(node string) (LinkStatus, bool) {
	l := n.link(node)
	if l == nil {
		return LinkStatus{}, false
	}
	return l.status(), true
}

// SetBlind is announced to all peers with the next batch, which is sent within a tenth of Heartbeat.
func (n *Node) SetBlind(blind bool) { n.blind.Store(blind) }

// Stop refuses what arrives from now on, flushes what is queued to peers that answer (for AskTimeout at most), closes
// all Links and stops the system. Once it has returned nil no handler call is running or will come; so it must not be
// called by the handler. Later calls wait for the first one.
func (n *Node) Stop(ctx context.Context) error {
	n.stopOnce.Do(func() {
		n.stopErr = n.stop(ctx)
		close(n.stopped)
	})
	select {
	case <-n.stopped:
		return n.stopErr
	case <-ctx.Done():
		return fmt.Errorf("stop node %s: %w", n.self.Node, ctx.Err())
	}
}

func (n *Node) stop(ctx context.Context) error {
	n.stopping.Store(true)
	var errs []error
	select {
	case n.turn <- struct{}{}:
		<-n.turn
	case <-ctx.Done():
		errs = append(errs, fmt.Errorf("wait for the handler: %w", ctx.Err()))
	}
	n.flush(ctx)
	n.setPeers(nil, ErrStopped)
	n.cfg.Neighbours.remove(n)
	n.cancel()
	n.loops.Wait() // At most AskTimeout.
	// The system's shutdown is bounded by its own timeout; a caller's expired context must not leave it half done.
	if err := n.sys.Stop(context.WithoutCancel(ctx)); err != nil {
		if n.door.IsRunning() {
			errs = append(errs, fmt.Errorf("stop actor system: %w", err))
		} else {
			// Everything was stopped; what GoAkt could not do is to take our names out of a registry whose other members
			// are leaving too. The next life overwrites them.
			n.cfg.Logger.Warn("left the cluster with errors", slog.Any("err", err))
		}
	}
	errs = append(errs, n.metrics.reg.Unregister(), n.port.Close())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("stop node %s: %w", n.self.Node, err)
	}
	return nil
}

// flush waits until nothing is queued or in flight to any peer that is up.
func (n *Node) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.AskTimeout)
	defer cancel()
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	for {
		drained := true
		for _, l := range *n.links.Load() {
			drained = drained && l.drained()
		}
		if drained {
			return
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// enterHandler takes the handler's turn; false: the node is stopping.
func (n *Node) enterHandler() bool {
	n.turn <- struct{}{}
	if n.stopping.Load() {
		<-n.turn
		return false
	}
	return true
}

func (n *Node) leaveHandler() { <-n.turn }

// announce hands an event to the door, which calls the handler. It does not block.
func (n *Node) announce(e LinkEvent) {
	n.metrics.events.Add(n.ctx, 1, n.metrics.kinds[e.Kind])
	level := slog.LevelInfo
	if e.Kind == LinkDown && !closedByUs(e.Err) {
		level = slog.LevelWarn
	}
	n.cfg.Logger.Log(n.ctx, level, "link changed", slog.String("peer", e.Peer.Node), slog.String("state", e.Kind.String()), slog.Any("err", e.Err))
	_ = n.tell(n.door, &e) // Fails only when the system stops.
}

// closedByUs tells an end that this node wanted from a failure that an operator should see.
func closedByUs(err error) bool { return errors.Is(err, ErrStopped) || errors.Is(err, ErrUnknownPeer) }

func (n *Node) tell(pid *actor.PID, msg any) error {
	return n.sys.NoSender().Tell(context.Background(), pid, msg)
}

func (n *Node) link(node string) *link { return (*n.links.Load())[node] }

func (n *Node) load() (queued, up int64) {
	for _, l := range *n.links.Load() {
		b, isUp := l.queued()
		queued += int64(b)
		if isUp {
			up++
		}
	}
	return queued, up
}
