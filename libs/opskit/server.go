package opskit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"syscall"
	"time"

	"github.com/parley-rt/parley/libs/opskit/logkey"
)

// OpsConfig configures the ops port.
type OpsConfig struct {
	// Listen is the address of the ops port, never the clients' one. Port 0
	// takes a free port. Empty means 127.0.0.1:9090.
	Listen string `default:"127.0.0.1:9090" help:"Address of the ops port: probes, metrics, version and profiles."`
}

const (
	defaultOpsListen     = "127.0.0.1:9090"
	opsReadHeaderTimeout = 5 * time.Second
	opsIdleTimeout       = time.Minute
	opsMaxHeaderBytes    = 16 << 10
)

// OpsServer serves what operators and their machines ask a process: /livez (and
// /healthz), /readyz, /metrics, /version and /debug/pprof. It is a Component and
// Monitored. There is no authentication: bind it where only operators reach.
type OpsServer struct {
	listen  string
	health  *Health
	logger  *slog.Logger
	mux     *http.ServeMux
	failure chan error

	server   *http.Server
	listener net.Listener
	served   chan struct{}
}

var _ Monitored = (*OpsServer)(nil)

// NewOpsServer returns a server that does not listen yet. t may be nil, which
// leaves /metrics out.
func NewOpsServer(cfg OpsConfig, h *Health, t *Telemetry, logger *slog.Logger) *OpsServer {
	s := &OpsServer{
		listen: orElse(cfg.Listen, defaultOpsListen), health: h, logger: logger,
		mux: http.NewServeMux(), failure: make(chan error, 1),
	}
	s.mux.HandleFunc("GET /livez", livez)
	s.mux.HandleFunc("GET /healthz", livez)
	s.mux.HandleFunc("GET /readyz", s.readyz)
	s.mux.HandleFunc("GET /version", s.version)
	if t != nil {
		s.mux.Handle("GET /metrics", t.MetricsHandler())
	}
	s.mux.HandleFunc("/debug/pprof/", pprof.Index)
	s.mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	s.mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	s.mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	s.mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return s
}

// Mux is where components add pages of their own, before Start.
func (s *OpsServer) Mux() *http.ServeMux { return s.mux }

// Name is "ops".
func (s *OpsServer) Name() string { return "ops" }

// Addr is the address really bound; empty before Start.
func (s *OpsServer) Addr() string {
	if s.listener == nil {
		return ""
	}
	return s.listener.Addr().String()
}

// Failure delivers the error that ended serving, if one does.
func (s *OpsServer) Failure() <-chan error { return s.failure }

// Start binds the port and serves in the background.
func (s *OpsServer) Start(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.listen)
	if err != nil {
		return listenError(s.listen, err)
	}
	s.listener = listener
	s.served = make(chan struct{})
	s.server = &http.Server{
		Handler:           s.mux,
		ReadHeaderTimeout: opsReadHeaderTimeout,
		IdleTimeout:       opsIdleTimeout,
		MaxHeaderBytes:    opsMaxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(RateLimited(s.logger).Handler(), slog.LevelDebug),
		// No write timeout: a profile streams for as long as it was asked to.
	}
	go func() {
		defer close(s.served)
		if err := s.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.failure <- fmt.Errorf("serve ops port: %w", err)
		}
	}()
	s.logger.Info("ops port listening", slog.String(logkey.Addr, s.Addr()))
	return nil
}

// Stop lets requests under way finish until ctx ends, then cuts them.
func (s *OpsServer) Stop(ctx context.Context) error {
	err := s.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("finish ops requests: %w", err), s.server.Close())
	}
	<-s.served
	return err
}

// listenError ends with what to do about it.
func listenError(addr string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("listen on %s: address in use: set PARLEY_OPS_LISTEN or --ops-listen: %w", addr, err)
	}
	return fmt.Errorf("listen on %s (PARLEY_OPS_LISTEN, --ops-listen): %w", addr, err)
}

func livez(w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, "ok\n") }

// readyz answers 200 or 503. A failing answer always lists the checks: whoever
// reads it wants to know which.
func (s *OpsServer) readyz(w http.ResponseWriter, r *http.Request) {
	ok, details := s.health.Ready(r.Context())
	if ok && !r.URL.Query().Has("verbose") {
		writeText(w, http.StatusOK, "ok\n")
		return
	}
	status := http.StatusOK
	if !ok {
		status = http.StatusServiceUnavailable
	}
	writeText(w, status, formatChecks("readyz", ok, details))
}

func (s *OpsServer) version(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(Version()); err != nil {
		s.logger.Debug("version not sent", slog.Any(logkey.Err, err))
	}
}

func writeText(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body)) // the prober is gone: nobody to tell
}
