package api

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
	"github.com/parley-rt/parley/libs/protocol/admin/v1/adminv1connect"
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

// API is the server. Start and Stop once each.
type API struct {
	cfg    Config
	logger *slog.Logger
	server *http.Server

	guard    *guard
	listener net.Listener
	served   sync.WaitGroup
	cancel   context.CancelFunc
}

// New checks the configuration and builds everything; it listens to nothing yet.
func New(cfg Config, deps Deps) (*API, error) {
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
	mux.Handle(adminv1connect.NewRoomServiceHandler(
		&rooms{asker: deps.Rooms, heads: deps.Heads, now: deps.Now, blocks: deps.Blocks, audit: deps.Logger},
		connect.WithRequestGate(guard.authenticate),
		connect.WithRequestGate(guard.admit),
		connect.WithInterceptors(newObserver(cfg, metrics, deps), connect.UnaryInterceptorFunc(authorize)),
		connect.WithReadMaxBytes(cfg.maxRequestBytes()),
		connect.WithCodec(jsonCodec{"json"}),
		connect.WithCodec(jsonCodec{"json; charset=utf-8"}),
	))
	logger := deps.Logger.With(slog.String(logkey.Component, "api"))
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &API{
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
func (a *API) Addr() string {
	if a.listener == nil {
		return ""
	}
	return a.listener.Addr().String()
}

// Start binds the address and serves in the background.
func (a *API) Start(ctx context.Context) error {
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
func (a *API) Stop(ctx context.Context) error {
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
