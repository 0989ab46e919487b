package gateway

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/parley-rt/parley/libs/dcplane"
	planes "github.com/parley-rt/parley/libs/dcplane/open"
	"github.com/parley-rt/parley/libs/opskit"
	"github.com/parley-rt/parley/libs/opskit/memory"
	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/open"
	"github.com/parley-rt/parley/libs/ratelimit/redis"
)

const (
	// stopTimeout bounds the stop of each part; the drain of connections is bounded by DrainTimeout before.
	stopTimeout = 45 * time.Second
	// planePatience is how long one attempt to reach the control plane takes.
	planePatience = 5 * time.Second
)

// Program is the gateway binary.
func Program() opskit.Program[Settings] {
	return opskit.Program[Settings]{
		Name:        ServiceName,
		Description: "A gateway node of Parley: clients connect to it over WebSocket.",
		Process:     func(s *Settings) opskit.ProcessConfig { return s.ProcessConfig },
		Components:  components,
		StopTimeout: stopTimeout,
	}
}

// components wait for what the node needs, in whatever order it comes, and then run the node.
func components(s *Settings, p opskit.Process) []opskit.Component {
	journal := opskit.Await(opskit.Dependency[persistence.Backend]{
		Name: "journal", Health: p.Health, Logger: p.Logger,
		Open: func(ctx context.Context) (persistence.Backend, error) {
			return open.Open(ctx, s.JournalURL.Reveal(), open.Options{
				Logger: p.Logger, MeterProvider: p.Telemetry.MeterProvider(), TracerProvider: p.Telemetry.TracerProvider(),
				NoMigration: s.Migrate == "off",
			})
		},
		MayCome: func(err error) bool { return errors.Is(err, persistence.ErrUnavailable) },
		Close:   func(ctx context.Context, b persistence.Backend) error { return b.Close(ctx) },
	})
	plane := opskit.Await(opskit.Dependency[dcplane.Directory]{
		Name: "control-plane", Health: p.Health, Logger: p.Logger,
		Open: func(ctx context.Context) (dcplane.Directory, error) {
			ctx, cancel := context.WithTimeout(ctx, planePatience)
			defer cancel()
			return planes.OpenReady(ctx, s.ControlPlaneURL.Reveal(), planes.Options{Logger: p.Logger, MeterProvider: p.Telemetry.MeterProvider()})
		},
		MayCome: func(err error) bool { return !errors.Is(err, planes.ErrInvalid) },
		Close:   func(ctx context.Context, d dcplane.Directory) error { return d.Close(ctx) },
	})
	var limits *redis.Store
	redisOpen := opskit.NewComponent("redis", func(context.Context) error {
		if s.RedisURL.Empty() {
			return nil
		}
		var err error
		limits, err = redis.Open(s.RedisURL.Reveal())
		return err
	}, func(context.Context) error {
		if limits == nil {
			return nil
		}
		return limits.Close()
	})
	node := opskit.Later(ServiceName, func() (opskit.Component, error) {
		cfg, err := s.config()
		if err != nil {
			return nil, err
		}
		if budget, ok := cfg.Memory.(*memory.Budget); ok {
			budget.LimitRuntime() // until the process ends
			limit, name := budget.Limit()
			p.Logger.Info("memory limit", slog.Int64("limit_bytes", limit), slog.String("of", name))
		}
		deps := Deps{
			Backend: journal.Value(), Directory: plane.Value(), Health: p.Health, Logger: p.Logger,
			MeterProvider: p.Telemetry.MeterProvider(), TracerProvider: p.Telemetry.TracerProvider(),
		}
		if limits != nil {
			deps.RateLimits = limits
		}
		return New(cfg, deps)
	})
	return []opskit.Component{journal, plane, redisOpen, node}
}
