package etcd

import (
	"context"
	"fmt"

	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/libs/dcplane/internal/engine"
)

// Open returns a directory at once, whether or not etcd can be reached; it connects in the background and for ever, whatever
// is in the way. The directory's Problem says what. Only a bad Config is an error.
func Open(cfg Config) (dcplane.Directory, error) {
	d, err := start(cfg)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// Connect is Open that waits until everything was seen once. When ctx ends first the error wraps dcplane.ErrUnavailable,
// ctx's error and the last reason.
func Connect(ctx context.Context, cfg Config) (dcplane.Directory, error) {
	d, err := start(cfg)
	if err != nil {
		return nil, err
	}
	if err := dcplane.AwaitReady(ctx, d); err != nil {
		d.Abandon()
		return nil, fmt.Errorf("connect node directory: %w", err)
	}
	return d, nil
}

func start(cfg Config) (*engine.Directory, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("connect node directory: %w", err)
	}
	cfg = cfg.withDefaults()
	s, err := newStore(cfg)
	if err != nil {
		return nil, err
	}
	return engine.Start(s, engine.Config{
		Timing: cfg.timing(), Logger: cfg.Logger, MeterProvider: cfg.MeterProvider, ServerLeases: true,
	})
}
