package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/libs/opskit"
	"github.com/parley-rt/parley/libs/opskit/certs"
	"github.com/parley-rt/parley/services/gateway/internal/hub"
	"github.com/parley-rt/parley/services/gateway/internal/member"
	"github.com/parley-rt/parley/services/gateway/internal/route"
	"github.com/parley-rt/parley/services/gateway/internal/webui"
	"github.com/parley-rt/parley/services/gateway/internal/ws"
)

// ServiceName is what gateway nodes are called in the directory.
const ServiceName = "gateway"

// tickEvery is the one clock of all connections and rooms.
const tickEvery = 100 * time.Millisecond

// Limits of the HTTP server that carries the handshakes.
const (
	readHeaderTimeout = 10 * time.Second
	requestTimeout    = 10 * time.Second
	idleTimeout       = 60 * time.Second
	maxHeaderBytes    = 16 << 10
)

// Service is one gateway node. Start and Stop once each.
type Service struct {
	cfg    Config
	deps   Deps
	logger *slog.Logger

	links    *lateNode
	router   *route.Router
	registry *member.Registry
	gate     *member.Gate
	sessions *member.Sessions
	wheel    *ws.Wheel
	auth     *authenticator // nil: everybody is let in
	limits   *limits
	pair     *certs.Pair // nil: clients connect without TLS

	mu       sync.Mutex
	started  bool
	local    actor.ActorSystem
	hub      *hub.Hub
	members  *member.Deps
	node     *actorkit.Node
	lost     atomic.Pointer[dcplane.SupersededError] // nil: the node's name is ours
	reg      dcplane.Registration
	acceptor *ws.Acceptor
	listener net.Listener
	entrance *entrance // the listener's, as clients find it
	shakes   *handshakes
	memory   *admission
	server   *http.Server
	// Goroutines of this service and how they end.
	cancel context.CancelFunc
	loops  sync.WaitGroup
	checks []func()
	// waiting and failure are about the node's cluster.
	waiting waiting
	failure chan error
	// leaving: what ends now ends with the node.
	leaving atomic.Bool
}

// New checks everything and starts nothing. The error tells all problems and wraps ErrInvalidConfig.
func New(cfg Config, deps Deps) (*Service, error) {
	cfg, deps = cfg.withDefaults(), deps.withDefaults()
	if err := errors.Join(cfg.validate(), deps.validate()); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidConfig, err)
	}
	links := &lateNode{}
	logger := deps.Logger.With(slog.String("service", ServiceName), slog.String("node", cfg.Node))
	authenticator, err := newAuthenticator(cfg, deps, logger)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidConfig, err)
	}
	limits, err := newLimits(cfg, deps, logger)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidConfig, err)
	}
	var pair *certs.Pair
	if cfg.ClientTLS != (certs.Files{}) {
		if pair, err = certs.Load(cfg.ClientTLS, certs.Deps{Logger: logger, MeterProvider: deps.MeterProvider}); err != nil {
			return nil, fmt.Errorf("%w: TLS for clients: %w", ErrInvalidConfig, err)
		}
	}
	return &Service{
		cfg: cfg, deps: deps, logger: logger, auth: authenticator, limits: limits, pair: pair,
		links:    links,
		failure:  make(chan error, 1),
		router:   route.NewRouter(links),
		registry: member.NewRegistry(),
		gate:     member.NewGate(member.GateConfig{MinRate: float64(cfg.AcceptMinPerSecond)}, time.Now),
		sessions: member.NewSessions(deps.Backend, cfg.SessionTTL, member.NewGuest),
		wheel:    ws.NewWheel(cfg.PingEvery),
	}, nil
}

// Name implements opskit.Component.
func (s *Service) Name() string { return ServiceName }

// Addr is the address that clients connect to, with the port really bound. Empty before Start.
func (s *Service) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return ""
	}
	return s.listener.Addr().String()
}

// Start brings the node up and begins to serve. When it fails nothing is left running.
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
		return errors.Join(fmt.Errorf("start gateway node %s: %w", s.cfg.Node, err), s.stop(stopCtx))
	}
	return nil
}

func (s *Service) start(ctx context.Context) error {
	var err error
	// First what fails most often: the port may be taken.
	listen := &net.ListenConfig{Control: boundBuffers}
	listen.SetMultipathTCP(false) // its connections do not inherit all that boundBuffers sets
	if s.listener, err = listen.Listen(ctx, "tcp", s.cfg.Listen); err != nil {
		return listenError(s.cfg.Listen, err)
	}
	if s.local, err = actorkit.StartLocal(ctx, ServiceName, s.logger); err != nil {
		return err
	}
	if err := s.makeParts(ctx); err != nil {
		return err
	}
	if err := s.limits.limiter.Start(); err != nil {
		return err
	}
	door := route.NewDoor(s.registry, s.hub, opskit.RateLimited(s.logger))
	s.addClusterCheck()
	if s.node, err = actorkit.StartNode(ctx, s.nodeConfig(), door); err != nil {
		return err
	}
	s.links.node.Store(s.node)

	loopCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	s.loops.Go(func() { s.watchRooms(loopCtx) })
	s.loops.Go(func() { s.tick(loopCtx) })
	s.loops.Go(func() { s.wheel.Run(loopCtx) })
	node := s.node
	s.loops.Go(func() { s.watchCluster(loopCtx, node) })
	if s.pair != nil {
		s.loops.Go(func() { s.pair.Run(loopCtx) })
	}
	if s.auth != nil {
		s.loops.Go(func() { s.auth.verifier.Run(loopCtx) })
	}
	s.loops.Go(func() { s.sessions.KeepOut(loopCtx, s.registry, s.logger) })
	s.loops.Go(func() { s.sessions.Keep(loopCtx, s.registry, opskit.RateLimited(s.logger)) })

	// Rooms nodes learn from the directory where to answer to.
	if s.reg, err = s.deps.Directory.Register(ctx, s.record(dcplane.StateStarting)); err != nil {
		return err
	}
	reg := s.reg
	s.loops.Go(func() { s.watchRegistration(loopCtx, reg) })
	s.waitForRooms(ctx)
	s.serve(loopCtx)
	s.addChecks()
	if err := s.reg.Update(ctx, dcplane.StateReady, 0); errors.Is(err, dcplane.ErrUnavailable) {
		s.logger.Warn("directory not told that the node is ready, the next renewal will", slog.Any("err", err))
	} else if err != nil {
		return err
	}
	s.logger.Info("gateway node is ready", slog.String("addr", s.listener.Addr().String()), slog.Bool("tls", s.pair != nil))
	return nil
}

// listenError ends with what to do about it.
func listenError(addr string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("listen on %s: address in use: set PARLEY_LISTEN or --listen: %w", addr, err)
	}
	return fmt.Errorf("listen on %s (PARLEY_LISTEN, --listen): %w", addr, err)
}

// onLoopback says whether only this machine reaches an address.
func onLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// makeParts makes what runs in the local actor system, and the acceptor.
func (s *Service) makeParts(ctx context.Context) error {
	logger := opskit.RateLimited(s.logger)
	var err error
	limit := s.cfg.BacklogBytes
	if limit == 0 && s.cfg.Memory != nil {
		limit = backlogOf(s.cfg.Memory)
	}
	backlog := ws.NewBacklog(limit)
	s.hub, err = hub.New(ctx, hub.Config{Backlog: backlog}, hub.Deps{
		System: s.local, Router: s.router, Logger: logger, Now: time.Now,
		MeterProvider: s.deps.MeterProvider, TracerProvider: s.deps.TracerProvider,
	})
	if err != nil {
		return err
	}
	s.members = &member.Deps{
		Config: member.Config{
			Node: s.cfg.Node, DC: s.cfg.DC, MaxRooms: s.cfg.MaxRooms, ReplayLimit: uint32(s.cfg.SessionReplayLimit),
			Limits: s.limits.members,
		},
		FirstFrameWait: s.cfg.FirstFrameWait,
		System:         s.local, Router: s.router, Hub: s.hub, Sessions: s.sessions, Gate: s.gate, Registry: s.registry,
		ShardEnded: s.shardEnded,
		Logger:     logger, Now: time.Now,
		MeterProvider: s.deps.MeterProvider, TracerProvider: s.deps.TracerProvider,
	}
	if s.auth != nil {
		s.members.Config.Authenticate, s.members.Authenticate, s.members.AuthTimeout = true, s.auth.check, s.cfg.AuthTimeout
	}
	if err := s.members.Init(ctx); err != nil {
		return err
	}
	s.entrance = newEntrance(s.listener, newPace(float64(s.cfg.AcceptMinPerSecond), float64(s.cfg.AcceptPerSecond)))
	files, err := openFiles()
	if err != nil {
		return err
	}
	plan, err := planSockets(files, s.cfg.MaxConnections, s.cfg.AcceptPerSecond)
	if err != nil {
		return err
	}
	s.gate.PacedBy(s.entrance.outlook)
	s.shakes = newHandshakes(plan.handshakes)
	if err := observeEntrance(s.deps.MeterProvider, s.entrance, s.shakes); err != nil {
		return err
	}
	sockets := s.cfg.ws()
	sockets.MaxConnections, sockets.Backlog = plan.connections, backlog
	sockets.OnlyHere = s.pair == nil && onLoopback(s.listener.Addr())
	s.acceptor, err = ws.NewAcceptor(sockets, s.wheel, s.deps.MeterProvider, logger, s.admit,
		func(c *ws.Conn, r *http.Request) ws.Handler { return member.NewClient(s.members, c, r) })
	if err != nil {
		return err
	}
	s.entrance.limit(plan.waiting, plan.refusals, func() int {
		open, _ := s.shakes.state()
		return plan.connections - s.acceptor.Active() - open
	})
	if s.memory, err = newAdmission(s.cfg.Memory, s.acceptor, backlog, s.narrow, s.deps.MeterProvider, s.logger); err != nil {
		return err
	}
	s.acceptor.IdentifyWith(s.identify)
	return nil
}

// narrow lets few sockets wait to become connections.
func (s *Service) narrow(on bool) {
	n := 0
	if on {
		n = pressedPlaces
	}
	s.entrance.setNarrow(n)
	s.shakes.setNarrow(n)
}

// opening is how long the first of those that were let in has waited for its session.
func (s *Service) opening() time.Duration {
	_, _, age := s.gate.State()
	return age
}

// admit says whether a handshake goes on, and if not, when it is to come back.
func (s *Service) admit(r *http.Request) (after time.Duration, ok bool) {
	if toRefuse(r) {
		return s.gate.Later(), false
	}
	return s.gate.Admit()
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
		Service: ServiceName, DC: s.cfg.DC, Region: s.cfg.Region, Name: s.cfg.Node, Incarnation: self.Incarnation,
		Host: self.Host, RemotingPort: self.RemotingPort, State: state, Version: s.cfg.Version,
	}
}

// serve begins to take connections.
func (s *Service) serve(ctx context.Context) {
	mux := http.NewServeMux()
	mux.Handle(s.cfg.WSPath, s.acceptor)
	mux.Handle("/", webui.HandlerFor(s.cfg.WSPath))
	s.server = &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      requestTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(opskit.RateLimited(s.logger).Handler(), slog.LevelDebug),
		ConnContext:       s.entrance.note,
		ConnState:         s.shakes.observe,
	}
	server, entrance := s.server, s.entrance
	s.loops.Go(entrance.take)
	s.loops.Go(func() { s.memory.run(ctx) })
	s.loops.Go(func() { reclaimMemory(ctx, s.acceptor.Opened, s.acceptor.Active, s.logger) })
	s.loops.Go(func() { entrance.adapt(ctx, s.opening) })
	var listener net.Listener = entrance
	if s.pair != nil { // behind the entrance: handshakes, which cost the most, come at its pace
		listener = tls.NewListener(ws.Listen(entrance), s.pair.ServerConfig())
	}
	s.loops.Go(func() {
		if err := server.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.logger.Error("client listener failed", slog.Any("err", err))
		}
	})
}

// tick drives all deadlines.
func (s *Service) tick(ctx context.Context) {
	t := time.NewTicker(tickEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			s.registry.Tick(now)
			s.hub.Tick()
		}
	}
}
