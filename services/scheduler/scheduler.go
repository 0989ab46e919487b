package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/actorkit/ask"
	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/libs/opskit"
	"github.com/parley-rt/parley/libs/opskit/adminapi"
	"github.com/parley-rt/parley/services/scheduler/internal/api"
	"github.com/parley-rt/parley/services/scheduler/internal/book"
	"github.com/parley-rt/parley/services/scheduler/internal/book/core"
	"github.com/parley-rt/parley/services/scheduler/internal/desk"
	"github.com/parley-rt/parley/services/scheduler/internal/door"
)

// ServiceName is what scheduler nodes are called in the directory.
const ServiceName = "scheduler"

const (
	// lease is the name of the schedule book's lease.
	lease = "schedule-book"
	// apiDrain bounds how long Stop waits for requests of the API: a little more than one may take.
	apiDrain = 6 * time.Second
	scope    = "github.com/parley-rt/parley/services/scheduler"
)

// Service is one scheduler node. Start and Stop once each.
type Service struct {
	cfg    Config
	deps   Deps
	logger *slog.Logger

	links   lateNode
	asker   *ask.Asker
	desk    *desk.Desk
	door    *door.Door
	zones   *core.Zones
	metrics *book.Metrics
	api     *adminapi.Server // nil: none

	mu        sync.Mutex
	started   bool
	local     actor.ActorSystem
	node      *actorkit.Node
	reg       dcplane.Registration
	singleton lateSingleton
	// Goroutines of this service and how they end.
	cancel context.CancelFunc
	loops  sync.WaitGroup
	checks []func()
	// waiting and failure are about the node's cluster.
	waiting waiting
	failure chan error
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
		zones:   core.NewZones(),
		failure: make(chan error, 1),
	}
	s.asker = ask.New(ask.Config{
		Send:  s.links.Send,
		Nodes: s.roomsNodes,
		Blind: func(node string) bool {
			link, known := s.links.Link(node)
			return known && link.Up && link.Blind
		},
	})
	s.desk = desk.New(desk.Config{Holder: s.singleton.holder, Here: s.singleton.request, Self: cfg.Node, Send: s.links.Send})
	s.door = door.New(door.Config{
		Rooms: s.asker, Desk: s.desk, RoomsService: roomsService, SchedulerService: ServiceName, Logger: opskit.RateLimited(s.logger),
	})
	var err error
	if s.metrics, err = book.NewMetrics(deps.MeterProvider); err != nil {
		return nil, fmt.Errorf("create metrics: %w", err)
	}
	if cfg.APIListen != "" {
		s.api, err = adminapi.New(cfg.api(), adminapi.Deps{
			Logger: s.logger, Meter: deps.MeterProvider.Meter(scope), MeterProvider: deps.MeterProvider,
			Tracer: deps.TracerProvider.Tracer(scope), Now: time.Now,
		}, s.API())
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalidConfig, err)
		}
	}
	return s, nil
}

// Name implements opskit.Component.
func (s *Service) Name() string { return ServiceName }

// API is the service's API, for a server of another service in this process.
func (s *Service) API() adminapi.Part { return api.Part(s.desk, s.zones, s.cfg.now) }

// APIAddr is where the API listens; empty when it does not.
func (s *Service) APIAddr() string {
	if s.api == nil {
		return ""
	}
	return s.api.Addr()
}

// HasBook tells whether this node has the schedule book now.
func (s *Service) HasBook() bool {
	node, ok := s.singleton.holder()
	return ok && node == s.cfg.Node && s.singleton.running()
}

// Start brings the node up, makes it visible and begins to compete for the schedule book. When it fails nothing is left running.
func (s *Service) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started {
		return ErrState
	}
	s.started = true
	if err := s.start(ctx); err != nil {
		return errors.Join(fmt.Errorf("start scheduler node %s: %w", s.cfg.Node, err), s.stop(context.WithoutCancel(ctx)))
	}
	return nil
}

func (s *Service) start(ctx context.Context) error {
	var err error
	if s.local, err = actorkit.StartLocal(ctx, ServiceName, s.logger); err != nil {
		return err
	}
	s.addClusterCheck()
	if s.node, err = actorkit.StartNode(ctx, s.nodeConfig(), s.door); err != nil {
		return err
	}
	s.links.node.Store(s.node)
	loopCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	s.addChecks()
	s.loops.Go(func() { s.watchPeers(loopCtx) })
	node := s.node
	s.loops.Go(func() { s.watchCluster(loopCtx, node) })
	if s.reg, err = s.deps.Directory.Register(ctx, s.record(dcplane.StateStarting)); err != nil {
		return err
	}
	reg := s.reg
	s.loops.Go(func() { s.watchRegistration(loopCtx, reg) })
	if err := s.compete(ctx); err != nil {
		return err
	}
	if err := s.reg.Update(ctx, dcplane.StateReady, 0); errors.Is(err, dcplane.ErrUnavailable) {
		s.logger.Warn("directory not told that the node is ready, the next renewal will", slog.Any("err", err))
	} else if err != nil {
		return err
	}
	if s.api != nil {
		if err := s.api.Start(ctx); err != nil {
			return err
		}
	}
	self := s.node.Self()
	s.logger.Info("scheduler node is ready", slog.String("addr", fmt.Sprintf("%s:%d", self.Host, self.RemotingPort)))
	return nil
}

// compete begins to compete for the schedule book.
func (s *Service) compete(ctx context.Context) error {
	incarnation := s.node.Self().Incarnation
	owner := s.cfg.Node + "@" + incarnation
	singleton, err := actorkit.StartSingleton(ctx, actorkit.SingletonConfig{
		Name: lease, Node: s.cfg.Node, Incarnation: incarnation, TTL: s.cfg.LeaseTTL,
		Logger: s.logger, MeterProvider: s.deps.MeterProvider,
	}, s.deps.Backend, s.local, func(t *actorkit.Term) actor.Actor {
		return book.New(book.Config{
			Owner: owner, Journal: s.deps.Backend, Guard: t.Guard(), Term: t.Context(), Rooms: s.asker, Zones: s.zones,
			Metrics: s.metrics, Logger: s.logger, Now: s.cfg.now,
		})
	})
	if err != nil {
		return err
	}
	s.singleton.set(singleton)
	return nil
}

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

// systemName is what the cluster of a DC is called.
func systemName(dc string) string { return ServiceName + "-" + dc }

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

// Stop lets requests of the API finish, gives the schedule book back, so that another node has it within a moment, and leaves. It is
// bounded by ctx.
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
	if s.api != nil {
		drain, cancel := context.WithTimeout(ctx, apiDrain)
		problems = append(problems, s.api.Stop(drain))
		cancel()
	}
	problems = append(problems, s.singleton.stop(ctx))
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
		s.local = nil
		s.logger.Info("scheduler node stopped")
	}
	return errors.Join(problems...)
}
