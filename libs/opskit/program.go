package opskit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/parley-rt/parley/libs/opskit/logkey"
)

// Exit codes of a Program.
const (
	ExitOK = 0
	// ExitFailed: it did not start, broke, or did not stop in time.
	ExitFailed = 1
	// ExitConfig: the configuration is wrong; nothing was started.
	ExitConfig = 2
)

// ProcessConfig is what every process is told, whatever it serves. Embed it in a program's configuration with embed:"".
type ProcessConfig struct {
	DC        string    `name:"dc" required:"true" help:"Name of the datacenter."`
	Region    string    `help:"Name of the region the datacenter is in, for people and placement."`
	Node      string    `required:"true" help:"Name of this node: unique in its datacenter and the same after a restart, such as the pod's name."`
	OpsListen string    `default:"127.0.0.1:9090" help:"Address for operators: probes, metrics, version, profiles. Never expose it to clients."`
	DataDir   string    `default:"./parley-data" help:"Directory for files that a restart may lose."`
	Log       LogConfig `embed:"" prefix:"log-"`
}

// Validate checks that the directory can be written.
func (c ProcessConfig) Validate() error {
	if err := checkDir(c.DataDir); err != nil {
		return fmt.Errorf("PARLEY_DATA_DIR: %w: name a directory that this process may write", err)
	}
	return nil
}

func checkDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".parley-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// Process is what a Program's components are built from.
type Process struct {
	Logger    *slog.Logger
	Health    *Health
	Telemetry *Telemetry
	// Ops serves already when the components start.
	Ops *OpsServer
}

// Program is a binary that serves until it is told to stop.
type Program[T any] struct {
	// Name is the service's, in logs, telemetry and help.
	Name        string
	Description string
	// Process returns the part of the configuration that every process has.
	Process func(*T) ProcessConfig
	// Components are started in order once the ops port serves, and stopped in reverse.
	Components func(cfg *T, p Process) []Component
	// StopTimeout bounds the stop of each component.
	StopTimeout time.Duration

	// Environ, Stdout and Stderr are the process's own when they are nil.
	Environ        []string
	Stdout, Stderr io.Writer
}

// Run loads the configuration, serves until SIGINT, SIGTERM or the end of ctx, and returns an exit code. Everything that is
// wrong with the configuration is printed at once, before anything starts.
func (p Program[T]) Run(ctx context.Context, args []string) int {
	if p.Stdout == nil {
		p.Stdout = os.Stdout
	}
	if p.Stderr == nil {
		p.Stderr = os.Stderr
	}
	var cfg T
	_, err := Load(&cfg, args, p.LoadOptions())
	switch {
	case errors.Is(err, ErrHelp):
		return ExitOK
	case err != nil:
		_, _ = fmt.Fprintf(p.Stderr, "%s: %v\n%s --help lists the settings\n", p.Name, err, p.Name)
		return ExitConfig
	}
	ctx, stop := NotifyContext(ctx)
	defer stop()
	process := p.Process(&cfg)
	process.Log.Writer = p.Stderr
	logger := NewLogger(process.Log)
	if err := p.serve(ctx, &cfg, process, logger); err != nil {
		logger.Error("process failed", slog.String(logkey.Service, p.Name), slog.String(logkey.Node, process.Node), slog.Any(logkey.Err, err))
		return ExitFailed
	}
	return ExitOK
}

// LoadOptions are what Run gives to Load, for those who list a program's settings.
func (p Program[T]) LoadOptions() LoadOptions {
	return LoadOptions{Name: p.Name, Description: p.Description, Environ: p.Environ, Stdout: p.Stdout}
}

func (p Program[T]) serve(ctx context.Context, cfg *T, process ProcessConfig, logger *slog.Logger) error {
	telemetry, err := SetupTelemetry(ctx, TelemetryConfig{
		Service: p.Name, Version: Version().Version, Node: process.Node, DC: process.DC, Logger: logger,
	})
	if err != nil {
		return fmt.Errorf("set up telemetry: %w", err)
	}
	health := NewHealth()
	ops := NewOpsServer(OpsConfig{Listen: process.OpsListen}, health, telemetry, logger)
	components := []Component{telemetry.Component(), ops}
	components = append(components, p.Components(cfg, Process{Logger: logger, Health: health, Telemetry: telemetry, Ops: ops})...)
	return Run(ctx, logger, p.StopTimeout, append(components, health.Component())...)
}
