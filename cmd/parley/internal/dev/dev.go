// Package dev runs every service of Parley in one process: the same gateway, rooms and scheduler as in production, on an embedded
// control plane, and on a SQLite journal unless told otherwise, with nothing to install.
package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"time"

	"github.com/parley-rt/parley/cmd/parley/internal/journal"
	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/libs/dcplane/nats"
	"github.com/parley-rt/parley/libs/dcplane/nats/embedded"
	dcopen "github.com/parley-rt/parley/libs/dcplane/open"
	"github.com/parley-rt/parley/libs/opskit"
	"github.com/parley-rt/parley/libs/opskit/adminapi"
	"github.com/parley-rt/parley/libs/opskit/auth"
	"github.com/parley-rt/parley/libs/opskit/certs"
	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/open"
	"github.com/parley-rt/parley/libs/ratelimit"
	"github.com/parley-rt/parley/libs/ratelimit/redis"
	"github.com/parley-rt/parley/services/gateway"
	"github.com/parley-rt/parley/services/rooms"
	"github.com/parley-rt/parley/services/scheduler"
)

// Options of a dev process. Listen, OpsListen and Data are needed.
type Options struct {
	// Listen is the clients' address, OpsListen the operators'. Port 0 takes a free one.
	Listen    string
	OpsListen string
	// APIListen is the administrators' address, without authentication; empty: there is none.
	APIListen string
	// Data is the directory that holds everything the process keeps.
	Data string
	// Journal is a URL; empty: SQLite in Data.
	Journal string
	// NoMigration refuses a journal whose schema is not up to date.
	NoMigration bool
	// ControlPlane is a URL; empty: an embedded NATS server in Data.
	ControlPlane string
	// RateLimits has the gateway keep its default rate limits. Redis is the URL of a server that counts for them; empty: the process
	// does.
	RateLimits bool
	Redis      string
	// TLS are the files of the certificate that clients are shown; empty: they connect without TLS.
	TLS      certs.Files
	LogLevel slog.Level
}

const (
	dc     = "local"
	region = "local"
	// stopTimeout bounds the stop of each part.
	stopTimeout = 10 * time.Second
	// connectTimeout is how long the control plane may stay silent before the start fails.
	connectTimeout = 15 * time.Second
)

// Run runs until ctx ends and then drains. It prints a table of addresses and "ready" to out, and logs to logs.
func Run(ctx context.Context, opts Options, out, logs io.Writer) (err error) {
	data, err := filepath.Abs(opts.Data)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	lock, err := lockDir(data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.release()) }()

	p := &process{opts: opts, data: data, out: out, logger: opskit.NewLogger(opskit.LogConfig{Level: opts.LogLevel, Writer: logs})}
	defer func() { err = errors.Join(err, p.close()) }()
	if err := p.open(ctx); err != nil {
		return err
	}
	components, err := p.components()
	if err != nil {
		return err
	}
	return opskit.Run(ctx, p.logger, stopTimeout, components...)
}

// process holds what the services share. Closing happens in reverse order of opening.
type process struct {
	opts      Options
	data      string
	out       io.Writer
	logger    *slog.Logger
	telemetry *opskit.Telemetry
	backend   persistence.Backend
	journal   journal.Location
	directory dcplane.Directory
	control   string
	limits    ratelimit.Store // nil: the gateway counts by itself
	closers   []func(context.Context) error
}

// open opens the journal and the control plane, once for both services.
func (p *process) open(ctx context.Context) error {
	var err error
	p.telemetry, err = opskit.SetupTelemetry(ctx, opskit.TelemetryConfig{
		Service: "parley", Version: opskit.Version().Version, Node: "dev", DC: dc,
	})
	if err != nil {
		return fmt.Errorf("set up telemetry: %w", err)
	}
	p.closers = append(p.closers, p.telemetry.Shutdown)

	if p.journal, err = journal.Locate(p.opts.Journal, p.data); err != nil {
		return err
	}
	p.backend, err = p.journal.Open(ctx, open.Options{
		Logger: p.logger, MeterProvider: p.telemetry.MeterProvider(), TracerProvider: p.telemetry.TracerProvider(),
		NoMigration: p.opts.NoMigration,
	})
	if err != nil {
		return err
	}
	p.closers = append(p.closers, p.backend.Close)
	if p.opts.Redis != "" {
		store, err := redis.Open(p.opts.Redis)
		if err != nil {
			return fmt.Errorf("--redis, PARLEY_REDIS_URL: %w", err)
		}
		p.limits = store
		p.closers = append(p.closers, func(context.Context) error { return store.Close() })
	}
	return p.openControlPlane(ctx)
}

func (p *process) openControlPlane(ctx context.Context) error {
	var err error
	if p.opts.ControlPlane == "" {
		p.control = "nats, embedded"
		p.directory, err = p.embedControlPlane(ctx)
	} else {
		p.control = dcopen.Redact(p.opts.ControlPlane)
		p.directory, err = dcopen.Open(p.opts.ControlPlane, dcopen.Options{Logger: p.logger, MeterProvider: p.telemetry.MeterProvider()})
	}
	if err != nil {
		return fmt.Errorf("control plane (--control-plane, PARLEY_CONTROL_PLANE_URL): %w", err)
	}
	p.closers = append(p.closers, p.directory.Close)
	connect, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if err := dcplane.AwaitReady(connect, p.directory); err != nil {
		return fmt.Errorf("connect to control plane %s (set PARLEY_CONTROL_PLANE_URL or --control-plane): %w", p.control, err)
	}
	return nil
}

func (p *process) embedControlPlane(ctx context.Context) (dcplane.Directory, error) {
	server, err := embedded.Start(ctx, embedded.Config{Dir: filepath.Join(p.data, "nats"), Logger: p.logger})
	if err != nil {
		return nil, fmt.Errorf("start embedded control plane: %w", err)
	}
	p.closers = append(p.closers, server.Shutdown)
	return nats.Open(nats.Config{InProcess: server, Logger: p.logger, MeterProvider: p.telemetry.MeterProvider()})
}

// close closes what open opened, each within stopTimeout.
func (p *process) close() error {
	var errs []error
	for i := len(p.closers) - 1; i >= 0; i-- {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		errs = append(errs, p.closers[i](ctx))
		cancel()
	}
	return errors.Join(errs...)
}

// components returns what runs, in start order.
func (p *process) components() ([]opskit.Component, error) {
	health := opskit.NewHealth()
	health.AddCheck("journal", p.backend.Ping)
	neighbours := &actorkit.Neighbours{}
	ops := opskit.NewOpsServer(opskit.OpsConfig{Listen: p.opts.OpsListen}, health, p.telemetry, p.logger)
	var limits gateway.RateLimits
	var roomLimits rooms.RateLimits
	if p.opts.RateLimits {
		limits, roomLimits = gateway.DefaultRateLimits(), rooms.DefaultRateLimits()
	}
	schedulerService, err := scheduler.New(scheduler.Config{
		DC: dc, Region: region, Node: "scheduler-1", Host: "127.0.0.1", Quorum: 1, DataDir: p.data,
	}, scheduler.Deps{
		Backend: p.backend, Directory: p.directory, Neighbours: neighbours, Health: health, Logger: p.logger,
		MeterProvider: p.telemetry.MeterProvider(), TracerProvider: p.telemetry.TracerProvider(),
	})
	if err != nil {
		return nil, fmt.Errorf("scheduler: %w", err)
	}
	roomsService, err := rooms.New(rooms.Config{
		DC: dc, Region: region, Node: "rooms-1", Host: "127.0.0.1", Quorum: 1, DataDir: p.data,
		APIListen: p.opts.APIListen, Auth: auth.Config{Mode: auth.ModeNone}, RateLimits: roomLimits,
	}, rooms.Deps{
		APIParts: []adminapi.Part{schedulerService.API()},
		Backend:  p.backend, Directory: p.directory, Neighbours: neighbours, Health: health, Logger: p.logger,
		MeterProvider: p.telemetry.MeterProvider(), TracerProvider: p.telemetry.TracerProvider(),
	})
	if err != nil {
		return nil, fmt.Errorf("rooms: %w", err)
	}
	gatewayService, err := gateway.New(gateway.Config{
		DC: dc, Region: region, Node: "gateway-1", Host: "127.0.0.1", Quorum: 1, DataDir: p.data,
		Listen: p.opts.Listen, Auth: auth.Config{Mode: auth.ModeNone}, DrainTimeout: drainTimeout,
		RateLimits: limits, ClientTLS: p.opts.TLS,
	}, gateway.Deps{
		RateLimits: p.limits,
		Backend:    p.backend, Directory: p.directory, Neighbours: neighbours, Health: health, Logger: p.logger,
		MeterProvider: p.telemetry.MeterProvider(), TracerProvider: p.telemetry.TracerProvider(),
	})
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	announce := opskit.NewComponent("announce", func(context.Context) error {
		return p.announce(addresses{gateway: gatewayService.Addr(), ops: ops.Addr(), api: roomsService.APIAddr()})
	}, nil)
	return []opskit.Component{ops, roomsService, schedulerService, gatewayService, health.Component(), announce}, nil
}

// drainTimeout is short: on a developer's machine a restart should take a moment, and clients resume anyway.
const drainTimeout = time.Second

// addresses are those really bound; api is empty when there is none.
type addresses struct{ gateway, ops, api string }

// announce prints where everything is and what to type next.
func (p *process) announce(at addresses) error {
	api := "not served (--api-listen)"
	if at.api != "" {
		api = "http://" + reachable(at.api) + "   (parley room --help, parley schedule --help)"
	}
	_, err := fmt.Fprintf(p.out, `
  chat page      http%s://%s/
  websocket      ws%s://%s/ws
  admin api      %s
  ops            http://%s   (/readyz /metrics /version)
  journal        %s
  control plane  %s
  data           %s

ready

Open the chat page in two tabs, or type:  go run ./cmd/parley chat room-1%s
`, p.secure(), reachable(at.gateway), p.secure(), reachable(at.gateway), api, reachable(at.ops), p.journal, p.control, p.data, p.serverFlag(at.gateway))
	if err != nil {
		return fmt.Errorf("announce: %w", err)
	}
	return nil
}

// reachable turns a wildcard listen address into one that a browser on this machine can open.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

// serverFlag is what the next command needs when the gateway is not at its usual address.
func (p *process) serverFlag(listen string) string {
	addr := reachable(listen)
	if addr == DefaultListen && p.secure() == "" {
		return ""
	}
	return " --server ws" + p.secure() + "://" + addr + "/ws"
}

// secure is what the schemes of addresses for clients end in.
func (p *process) secure() string {
	if p.opts.TLS == (certs.Files{}) {
		return ""
	}
	return "s"
}

// Defaults of the flags.
const (
	DefaultListen    = "127.0.0.1:8080"
	DefaultAPIListen = "127.0.0.1:8081"
	DefaultOpsListen = "127.0.0.1:9090"
	DefaultData      = "./parley-data"
)
