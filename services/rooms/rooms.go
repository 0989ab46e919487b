package rooms

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/libs/opskit"
	"github.com/parley-rt/parley/libs/protocol/names"
	"github.com/parley-rt/parley/libs/ratelimit"
	"github.com/parley-rt/parley/services/rooms/internal/door"
	"github.com/parley-rt/parley/services/rooms/internal/room"
	"github.com/parley-rt/parley/services/rooms/internal/roomhost"
)

// ServiceName is what rooms nodes are called in the directory.
const ServiceName = "rooms"

// tickEvery drives idle rooms, owed Closed frames and queue ages.
const tickEvery = 500 * time.Millisecond

// Service is one rooms node. Start and Stop once each.
type Service struct {
	cfg    Config
	deps   Deps
	logger *slog.Logger

	links *lateNode
	meter *room.Meter
	// limiter bounds what members post in rooms.
	limiter *ratelimit.Limiter
	door    *door.Door
	admin   *admin

	mu      sync.Mutex
	started bool
	local   actor.ActorSystem
	host    *actor.PID
	node    *actorkit.Node
	reg     dcplane.Registration
	// Goroutines of this service and how they end.
	cancel context.CancelFunc
	loops  sync.WaitGroup
	checks []func()
	// waiting and failure are about the node's cluster.
	waiting waiting
	failure chan error
	blind   *blindness
}

// New checks everything and starts nothing. The error tells all problems and wraps ErrInvalidConfig.
func New(cfg Config, deps Deps) (*Service, error) {
	cfg, deps = cfg.withDefaults(), deps.withDefaults()
	if err := errors.Join(cfg.validate(), deps.validate()); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidConfig, err)
	}
	s := &Service{
		cfg:     cfg,
		deps:    deps,
		logger:  deps.Logger.With(slog.String("service", ServiceName), slog.String("node", cfg.Node)),
		links:   &lateNode{},
		failure: make(chan error, 1),
		meter:   room.NewMeter(cfg.NodeQueueBytes),
	}
	var err error
	if s.limiter, err = ratelimit.New(ratelimit.Config{MeterProvider: deps.MeterProvider}, nil); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidConfig, err)
	}
	if s.admin, err = newAdmin(s); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidConfig, err)
	}
	return s, nil
}

// Name implements opskit.Component.
func (s *Service) Name() string { return ServiceName }

// Start brings the node up and makes it visible. When it fails nothing is left running.
func (s *Service) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started {
		return ErrState
	}
	s.started = true
	if err := s.start(ctx); err != nil {
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.DrainTimeout)
		defer cancel()
		return errors.Join(fmt.Errorf("start rooms node %s: %w", s.cfg.Node, err), s.stop(stopCtx))
	}
	return nil
}

func (s *Service) start(ctx context.Context) error {
	var err error
	if s.local, err = actorkit.StartLocal(ctx, ServiceName, s.logger); err != nil {
		return err
	}
	if err := s.spawnHost(ctx); err != nil {
		return err
	}
	s.addClusterCheck()
	if s.node, err = actorkit.StartNode(ctx, s.nodeConfig(), s.door); err != nil {
		return err
	}
	s.links.node.Store(s.node)
	loopCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	s.blind = newBlindness(s.cfg.BlindAfter, s.node.SetBlind)
	s.addChecks()
	s.loops.Go(func() { s.watchPeers(loopCtx) })
	s.loops.Go(func() { s.pollTakeovers(loopCtx) })
	s.loops.Go(func() { s.tick(loopCtx) })
	node := s.node
	s.loops.Go(func() { s.watchCluster(loopCtx, node) })

	if s.reg, err = s.deps.Directory.Register(ctx, s.record(dcplane.StateStarting)); err != nil {
		return err
	}
	reg := s.reg
	s.loops.Go(func() { s.watchRegistration(loopCtx, reg) })
	// A node that does not know its peers would take rooms from owners that live.
	if err := s.waitForDirectory(ctx); err != nil {
		return err
	}
	if err := s.reg.Update(ctx, dcplane.StateReady, 0); errors.Is(err, dcplane.ErrUnavailable) {
		s.logger.Warn("directory not told that the node is ready, the next renewal will", slog.Any("err", err))
	} else if err != nil {
		return err
	}
	if err := s.admin.start(ctx); err != nil {
		return err
	}
	self := s.node.Self()
	s.logger.Info("rooms node is ready", slog.String("addr", fmt.Sprintf("%s:%d", self.Host, self.RemotingPort)))
	return nil
}

func (s *Service) spawnHost(ctx context.Context) error {
	metrics, err := room.NewMetrics(s.deps.MeterProvider, s.meter)
	if err != nil {
		return fmt.Errorf("create metrics: %w", err)
	}
	rate := s.limiter.Own("room", ratelimit.Limit{Pieces: s.cfg.RateLimits.RoomMessages, Bytes: s.cfg.RateLimits.RoomBytes})
	if err := s.limiter.Start(); err != nil {
		return err
	}
	host := roomhost.New(roomhost.Config{
		Env: room.Env{
			Node:    s.cfg.Node,
			Journal: s.deps.Backend,
			Links:   s.links,
			Logger:  s.logger,
			Metrics: metrics,
			Tracer:  s.deps.TracerProvider.Tracer("github.com/parley-rt/parley/services/rooms"),
			Limits: room.Limits{
				MaxContentBytes: s.cfg.MaxContentBytes,
				Messages:        rate,
				Reads:           s.cfg.ReadsPerRoom,
				CommitTimeout:   s.cfg.CommitTimeout,
				StartTimeout:    s.cfg.StartTimeout,
			},
			Reads: make(chan struct{}, s.cfg.ReadsPerNode),
			Now:   s.cfg.now,
		},
		Node:       s.meter,
		Directory:  roomsDirectory{s.deps.Directory, s.cfg.DC},
		QueueBytes: s.cfg.RoomQueueBytes,
		IdleAfter:  s.cfg.IdleAfter,
		FencedMin:  s.cfg.FencedMin,
		FencedMax:  s.cfg.FencedMax,

		MovesPerSecond: s.cfg.MovesPerSecond,
		SettleAfter:    s.cfg.SettleAfter,
		RestFor:        s.cfg.RestFor,
		KnownAfter:     s.cfg.knownAfter,
	})
	if s.host, err = s.local.Spawn(ctx, names.RoomHost, host, actorkit.SpawnOptions()...); err != nil {
		return fmt.Errorf("spawn room host: %w", err)
	}
	s.door, err = door.New(door.Config{
		Host:          s.host,
		Links:         s.links,
		Answers:       s.admin,
		Service:       ServiceName,
		Scheduler:     schedulerService,
		Node:          s.meter,
		Metrics:       metrics,
		MeterProvider: s.deps.MeterProvider,
		Logger:        opskit.RateLimited(s.logger),
		Now:           s.cfg.now,
	})
	return err
}

// systemName is what the cluster of a DC is called.
func systemName(dc string) string { return ServiceName + "-" + dc }

func (s *Service) nodeConfig() actorkit.NodeConfig {
	return actorkit.NodeConfig{
		System:        systemName(s.cfg.DC),
		Node:          s.cfg.Node,
		Service:       ServiceName,
		Host:          s.cfg.Host,
		RemotingPort:  s.cfg.RemotingPort,
		DiscoveryPort: s.cfg.DiscoveryPort,
		PeersPort:     s.cfg.PeersPort,
		Seeds:         s.cfg.Seeds,
		Finder:        s.cfg.Finder,
		Waiting:       s.waiting.set,
		TLS:           s.cfg.TLS,
		Quorum:        s.cfg.Quorum,
		DataDir:       s.cfg.DataDir,
		Neighbours:    s.deps.Neighbours,
		Logger:        s.logger,
		MeterProvider: s.deps.MeterProvider,
	}
}

func (s *Service) record(state dcplane.NodeState) dcplane.Node {
	self := s.node.Self()
	return dcplane.Node{
		Service:      ServiceName,
		DC:           s.cfg.DC,
		Region:       s.cfg.Region,
		Name:         s.cfg.Node,
		Incarnation:  self.Incarnation,
		Host:         self.Host,
		RemotingPort: self.RemotingPort,
		State:        state,
		Version:      s.cfg.Version,
	}
}

// Stop drains: the node takes no more rooms and hands those it has over to others, one after the other, so that each pauses
// for a moment only. What nobody takes, or has no time for that, is released, and its subscribers are told. Then the node
// leaves. It is bounded by DrainTimeout and ctx; rooms that are left by then cost their next owner nothing but a claim.
func (s *Service) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stop(ctx)
}

func (s *Service) stop(ctx context.Context) error {
	var problems []error
	if s.reg != nil {
		if err := s.reg.Update(ctx, dcplane.StateDraining, 0); err != nil {
			s.logger.Warn("directory not told of the drain", slog.Any("err", err))
		}
	}
	problems = append(problems, s.admin.stop(ctx))
	if s.host != nil {
		problems = append(problems, s.drain(ctx))
	}
	for _, remove := range s.checks {
		remove()
	}
	s.checks = nil
	if s.reg != nil {
		if err := s.reg.Deregister(ctx); err != nil {
			s.logger.Warn("node not removed from the directory, its lease will", slog.Any("err", err))
		}
		s.reg = nil
	}
	if s.cancel != nil {
		s.cancel()
		s.cancel = nil
	}
	s.loops.Wait()
	if s.node != nil {
		problems = append(problems, s.node.Stop(ctx))
		s.node = nil
	}
	if s.local != nil {
		if err := s.local.Stop(context.WithoutCancel(ctx)); err != nil {
			problems = append(problems, fmt.Errorf("stop local actor system: %w", err))
		}
		s.local, s.host = nil, nil
		s.limiter.Close()
		s.logger.Info("rooms node stopped")
	}
	return errors.Join(problems...)
}

func (s *Service) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.DrainTimeout)
	defer cancel()
	done := make(chan struct{})
	// What is not handed over in half of the time is released in the other half (L5).
	deadline, _ := ctx.Deadline()
	until := time.Now().Add(time.Until(deadline) / 2)
	if err := actor.Tell(ctx, s.host, &roomhost.Drain{Done: done, MoveUntil: until}); err != nil {
		return fmt.Errorf("drain rooms: %w", err)
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("drain rooms: %w", ctx.Err())
	}
}
