package cli

import (
	"context"
	"log/slog"

	"github.com/parley-rt/parley/cmd/parley/internal/dev"
	"github.com/parley-rt/parley/libs/opskit"
	"github.com/parley-rt/parley/libs/opskit/certs"
)

type devCommand struct {
	Listen       string        `help:"Address for clients; port 0 takes a free one." default:"127.0.0.1:8080"`
	APIListen    string        `name:"api-listen" help:"Address for administrators, without authentication; empty: none." default:"127.0.0.1:8081"`
	OpsListen    string        `help:"Address for operators: probes, metrics, profiles." default:"127.0.0.1:9090"`
	Data         string        `help:"Directory for everything that is kept." default:"./parley-data" type:"path" env:"PARLEY_DATA_DIR"`
	Journal      opskit.Secret `help:"URL of the journal: postgres://user@host/database, sqlite://path or memory://; default: SQLite in --data." placeholder:"URL" env:"PARLEY_JOURNAL_URL"`
	Migrate      string        `help:"Whether to bring the journal's schema up to date: auto, or off to refuse one that is not." enum:"auto,off" default:"auto"`
	ControlPlane string        `help:"URL of the control plane (nats://host:port); default: embedded." placeholder:"URL" env:"PARLEY_CONTROL_PLANE_URL"`
	RateLimits   string        `help:"Whether the gateway keeps its default rate limits: on or off. With --redis they are on." enum:"on,off" default:"off"`
	Redis        opskit.Secret `help:"URL of a Redis server that counts for rate limits (redis://host:port); default: this process does." placeholder:"URL" env:"PARLEY_REDIS_URL"`
	TLSCert      string        `name:"tls-cert" help:"Certificate that clients are shown, PEM; with --tls-key. Default: they connect without TLS." placeholder:"FILE"`
	TLSKey       string        `name:"tls-key" help:"Private key of that certificate, PEM." placeholder:"FILE"`
	LogLevel     slog.Level    `help:"Lowest level that is logged: debug, info, warn or error." default:"warn"`
}

// Run executes the command.
func (c *devCommand) Run(ctx context.Context, streams Streams) error {
	return dev.Run(ctx, dev.Options{
		Listen: c.Listen, APIListen: c.APIListen, OpsListen: c.OpsListen, Data: c.Data, Journal: c.Journal.Reveal(), NoMigration: c.Migrate == "off",
		ControlPlane: c.ControlPlane, RateLimits: c.RateLimits == "on" || !c.Redis.Empty(), Redis: c.Redis.Reveal(), LogLevel: c.LogLevel,
		TLS: certs.Files{Cert: c.TLSCert, Key: c.TLSKey},
	}, streams.Out, streams.Err)
}
