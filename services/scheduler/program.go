package scheduler

import (
	"context"
	"errors"
	"time"
	_ "time/tzdata" // zones that the machine need not have

	"github.com/parley-rt/parley/libs/dcplane"
	planes "github.com/parley-rt/parley/libs/dcplane/open"
	"github.com/parley-rt/parley/libs/opskit"
	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/open"
)

const (
	// stopTimeout bounds the stop of each part.
	stopTimeout = 20 * time.Second
	// planePatience is how long one attempt to reach the control plane takes.
	planePatience = 5 * time.Second
)

// Program is the scheduler binary.
func Program() opskit.Program[Settings] {
	return opskit.Program[Settings]{
		Name:        ServiceName,
		Description: "A scheduler node of Parley: it publishes messages into rooms at a time, after a delay, or by cron.",
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
	node := opskit.Later(ServiceName, func() (opskit.Component, error) {
		cfg, err := s.config()
		if err != nil {
			return nil, err
		}
		return New(cfg, Deps{
			Backend: journal.Value(), Directory: plane.Value(), Health: p.Health, Logger: p.Logger,
			MeterProvider: p.Telemetry.MeterProvider(), TracerProvider: p.Telemetry.TracerProvider(),
		})
	})
	return []opskit.Component{journal, plane, node}
}
