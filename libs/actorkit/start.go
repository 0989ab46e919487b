package actorkit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/tochemey/goakt/v4/actor"
	"github.com/tochemey/goakt/v4/remote"
	"github.com/tochemey/goakt/v4/supervisor"
	gtls "github.com/tochemey/goakt/v4/tls"
)

const (
	// readTimeout bounds GoAkt's scan of the registry when a node joins; a scan that fails panics.
	readTimeout      = 15 * time.Second
	bootstrapTimeout = 45 * time.Second
	shutdownTimeout  = 20 * time.Second
	// partitions of the registry: it holds a few names per node.
	partitions = 23
	// portAttempts bounds how often a lost race for a free port is repeated.
	portAttempts = 5
)

// StartNode starts the clustered system and its door, which takes batches from then on. It waits until cfg.Quorum members
// answer, for as long as that takes, and then up to bootstrapTimeout for the cluster to agree.
//
// Concurrent starts in one process wait for each other, so the nodes of a quorum are in several. With DataDir set, the process's
// home directory (the environment variable) points into it until the node looks for peers, since GoAkt knows no other way; other
// readers may see that.
//
// After an error, also that of ctx's end, the process should exit: GoAkt may leave parts of the cluster engine running, and no
// other node starts in this process.
func StartNode(ctx context.Context, cfg NodeConfig, h Handler) (*Node, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if h == nil {
		return nil, fmt.Errorf("%w: no handler", ErrInvalidConfig)
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("start node %s: %w", cfg.Node, context.Cause(ctx))
	}
	sys, port, finder, cfg, err := startSystem(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("start node %s: %w", cfg.Node, err)
	}
	n := &Node{
		cfg: cfg, handler: h, sys: sys, port: port, provider: finder,
		self: Peer{
			Node: cfg.Node, Incarnation: cfg.Incarnation, Service: cfg.Service,
			Host: cfg.Host, RemotingPort: cfg.RemotingPort,
		},
		turn:    make(chan struct{}, 1),
		stopped: make(chan struct{}),
		deaf:    make(chan struct{}),
	}
	cfg.Waiting(nil)
	if ip := net.ParseIP(cfg.Host); cfg.TLS == nil && !ip.IsLoopback() {
		cfg.Logger.Warn("connections between nodes are not protected: whoever reaches the ports can do what a node can; set PARLEY_CLUSTER_TLS_CERT, _KEY and _CA",
			slog.String("addr", net.JoinHostPort(cfg.Host, strconv.Itoa(cfg.RemotingPort))))
	}
	n.links.Store(&map[string]*link{})
	n.ctx, n.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := n.open(ctx); err != nil {
		n.cancel()
		return nil, errors.Join(fmt.Errorf("start node %s: %w", cfg.Node, err), sys.Stop(context.WithoutCancel(ctx)), port.Close())
	}
	return n, nil
}

// open spawns the door and starts the node's own goroutines.
func (n *Node) open(ctx context.Context) error {
	var err error
	if n.metrics, err = newMetrics(n.cfg.MeterProvider, n); err != nil {
		return fmt.Errorf("make instruments: %w", err)
	}
	n.hands = &door{node: n, inbox: newInbox(n.self.Incarnation)}
	guardian, err := userGuardian(n.sys)
	if err == nil {
		n.door, err = guardian.SpawnChild(ctx, doorName(n.cfg.Node), n.hands, resumeOptions()...)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("spawn the door: %w", err), n.metrics.reg.Unregister())
	}
	n.cfg.Neighbours.add(n)
	n.loops.Add(1)
	go n.tickLinks()
	return nil
}

// resumeOptions are for the actors that a node cannot do without: a message that makes one panic costs that message.
func resumeOptions() []actor.SpawnOption {
	return SpawnOptions(actor.WithSupervisor(supervisor.NewSupervisor(supervisor.WithAnyErrorDirective(supervisor.ResumeDirective))))
}

// userGuardian finds the parent of all actors of a program. As its child by name, unlike by ActorSystem.Spawn, an actor has
// a path that remote lookups find without the cluster registry, and is spawned without asking the registry whether an
// earlier life left the same name there.
func userGuardian(sys actor.ActorSystem) (*actor.PID, error) {
	if system := sys.TopicActor().Parent(); system != nil {
		if root := system.Parent(); root != nil {
			for _, child := range root.Children() {
				if child.Name() == guardianName {
					return child, nil
				}
			}
		}
	}
	return nil, fmt.Errorf("no %s in the actor system", guardianName)
}

// startSystem starts the actor system. It returns the reservation of its port and the configuration with the ports bound.
func startSystem(ctx context.Context, cfg NodeConfig) (actor.ActorSystem, net.PacketConn, *provider, NodeConfig, error) {
	for attempt := 1; ; attempt++ {
		try := cfg
		chosen, err := try.fillPorts()
		if err != nil {
			return nil, nil, nil, cfg, err
		}
		sys, port, finder, err := trySystem(ctx, try)
		if err == nil {
			return sys, port, finder, try, nil
		}
		if !chosen || !isAddrInUse(err) || attempt == portAttempts || ctx.Err() != nil {
			return nil, nil, nil, cfg, err
		}
	}
}

func trySystem(ctx context.Context, cfg NodeConfig) (actor.ActorSystem, net.PacketConn, *provider, error) {
	if spoilt.Load() {
		return nil, nil, nil, errSpoilt
	}
	port, err := reserve(cfg)
	if err != nil {
		return nil, nil, nil, err
	}
	self, err := gossipName(cfg.Host, cfg.DiscoveryPort, cfg.PeersPort)
	if err != nil {
		return nil, nil, nil, errors.Join(err, port.Close())
	}
	gossip := newProber(cfg.System, cfg.TLS)
	finder := &provider{
		finder: cfg.Finder, self: net.JoinHostPort(cfg.Host, strconv.Itoa(cfg.DiscoveryPort)), quorum: cfg.Quorum,
		alive: gossip.alive, logger: cfg.Logger, waiting: cfg.Waiting, ctx: ctx,
		joining: make(chan struct{}),
		farewell: func(ctx context.Context, others []string) error {
			return gossip.farewell(ctx, self, others, time.Now())
		},
	}
	sys, err := buildSystem(cfg, finder)
	if err != nil {
		return nil, nil, nil, errors.Join(err, port.Close())
	}
	started := make(chan error, 1)
	starting, end := context.WithCancel(ctx)
	defer end()
	go finder.insist(starting)
	go func() {
		started <- startAlone(func() error {
			restore, err := setHome(cfg.goaktDir())
			if err != nil {
				return err
			}
			defer restore()
			finder.opened = restore
			// Remoting inherits the end of the context that Start gets.
			return sys.Start(context.WithoutCancel(ctx))
		})
	}()
	select {
	case err = <-started:
		if err == nil && ctx.Err() == nil {
			return sys, port, finder, nil
		}
		if err != nil {
			spoilt.Store(true)
		} else {
			err = errors.Join(context.Cause(ctx), sys.Stop(context.WithoutCancel(ctx)))
		}
		return nil, nil, nil, errors.Join(err, port.Close())
	case <-ctx.Done():
		// GoAkt cannot be told to stop waiting. It is left behind, and stopped should it ever start.
		spoilt.Store(true)
		go func() {
			if err := <-started; err == nil {
				_ = sys.Stop(context.WithoutCancel(ctx))
			}
			_ = port.Close()
		}()
		return nil, nil, nil, context.Cause(ctx)
	}
}

func buildSystem(cfg NodeConfig, finder *provider) (actor.ActorSystem, error) {
	cluster := actor.NewClusterConfig().
		WithDiscovery(finder).
		WithDiscoveryPort(cfg.DiscoveryPort).
		WithPeersPort(cfg.PeersPort).
		WithMinimumPeersQuorum(uint32(cfg.Quorum)).
		WithPartitionCount(partitions).
		WithReplicaCount(1).
		WithReadTimeout(readTimeout).
		WithBootstrapTimeout(bootstrapTimeout).
		WithShutdownTimeout(shutdownTimeout).
		WithKinds(new(door)) // At least one kind is required.
	options := []actor.Option{
		actor.WithRemote(remote.NewConfig(cfg.Host, cfg.RemotingPort)),
		actor.WithCluster(cluster),
		actor.WithoutRelocation(),
		actor.WithShutdownTimeout(shutdownTimeout),
		actor.WithActorInitMaxRetries(1),
		actor.WithDefaultSupervisor(supervisor.NewSupervisor(supervisor.WithAnyErrorDirective(supervisor.StopDirective))),
		actor.WithLogger(goaktLogger(cfg.Logger)),
	}
	if cfg.TLS != nil {
		// Gossip listens with the client's part.
		options = append(options, actor.WithTLS(&gtls.Info{ClientConfig: cfg.TLS.Clone(), ServerConfig: cfg.TLS.Clone()}))
	}
	return actor.NewActorSystem(cfg.System, options...)
}
