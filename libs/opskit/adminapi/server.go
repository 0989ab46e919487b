package adminapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"connectrpc.com/connect"

	"github.com/parley-rt/parley/libs/opskit"
	"github.com/parley-rt/parley/libs/opskit/auth"
	"github.com/parley-rt/parley/libs/opskit/logkey"
)

const (
	readHeaderTimeout = 5 * time.Second
	// readTimeout bounds reading one request; with writeTimeout it is what a slow caller can cost.
	readTimeout    = 10 * time.Second
	writeTimeout   = 30 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 32 << 10
	// maxStreams of one HTTP/2 connection.
	maxStreams = 256
)

// Service makes the handler of a Connect service and tells the path below which it answers, as generated code does. Its
// interceptors are to be given after the options.
type Service func(options ...connect.HandlerOption) (path string, handler http.Handler)

// Part is a service that is served, and its table of errors.
type Part struct {
	Service Service
	Judge   Judge
}

// Server serves an API. Start and Stop once each.
type Server struct {
	cfg    Config
	logger *slog.Logger
	server *http.Server

	guard    *guard
	listener net.Listener
	served   sync.WaitGroup
	cancel   context.CancelFunc
}

// New checks the configuration and builds everything; it listens to nothing yet.
func New(cfg Config, deps Deps, parts ...Part) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	metrics, err := newMetrics(deps.Meter)
	if err != nil {
		return nil, fmt.Errorf("create metrics: %w", err)
	}
	guard, err := newGuard(cfg, metrics, deps)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	for _, part := range parts {
		mux.Handle(part.Service(
			connect.WithRequestGate(guard.authenticate),
			connect.WithRequestGate(guard.admit),
			connect.WithInterceptors(newObserver(cfg, metrics, deps, part.Judge)),
			connect.WithReadMaxBytes(cfg.MaxRequestBytes),
			connect.WithCodec(jsonCodec{"json"}),
			connect.WithCodec(jsonCodec{"json; charset=utf-8"}),
		))
	}
	logger := deps.Logger.With(slog.String(logkey.Component, "api"))
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &Server{
		cfg:    cfg,
		logger: logger,
		guard:  guard,
		server: &http.Server{
			Handler:           guard.places(mux),
			Protocols:         protocols,
			HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
			ReadHeaderTimeout: readHeaderTimeout,
			ReadTimeout:       readTimeout,
			WriteTimeout:      writeTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeaderBytes,
			ErrorLog:          slog.NewLogLogger(opskit.RateLimited(logger).Handler(), slog.LevelDebug),
		},
	}, nil
}

// Addr is the address really bound; empty before Start.
func (a *Server) Addr() string {
	if a.listener == nil {
		return ""
	}
	return a.listener.Addr().String()
}

// Start binds the address and serves in the background.
func (a *Server) Start(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", a.cfg.Listen)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("listen for the API on %s: address in use: set PARLEY_API_LISTEN or --api-listen: %w", a.cfg.Listen, err)
	case err != nil:
		return fmt.Errorf("listen for the API on %s (PARLEY_API_LISTEN, --api-listen): %w", a.cfg.Listen, err)
	}
	a.listener = listener
	ctx, a.cancel = context.WithCancel(context.WithoutCancel(ctx))
	a.served.Go(func() { a.guard.run(ctx) })
	a.served.Go(func() {
		if err := a.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			a.logger.Error("api listener failed", slog.Any(logkey.Err, err))
		}
	})
	if a.cfg.Auth.Mode == auth.ModeNone && !loopback(listener.Addr()) {
		a.logger.Warn("everybody who reaches the api is an administrator", slog.String(logkey.Addr, a.Addr()))
	}
	a.logger.Info("api listening", slog.String(logkey.Addr, a.Addr()))
	return nil
}

// Stop takes no more requests, lets those in flight finish until ctx ends, and then cuts them. It may be called when Start
// was not, or failed.
func (a *Server) Stop(ctx context.Context) error {
	if a.cancel == nil {
		return nil
	}
	defer a.served.Wait()
	defer a.cancel()
	err := a.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("finish API requests: %w", err), a.server.Close())
	}
	return err
}

func loopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}
