// Package open opens a persistence backend by its URL, so that services need no import of every backend.
//
//	postgres://parley@db1,db2/parley      a schema in a database; postgresql:// is the same
//	sqlite:///var/lib/parley/journal.db   a file by absolute path
//	sqlite://parley-data/journal.db       a file by relative path
//	memory://                             nothing survives; for tests
//
// A postgres URL is what libpq understands, several hosts and parameters included: the one host that takes writes is used
// unless target_session_attrs says otherwise, and search_path names the schema, "parley" if it does not. The rest of a sqlite
// URL is the path as it is: nothing in it is unescaped. persistence.ErrInvalid for any other URL.
//
// No error of this package, or of a backend that it opened, contains a password of the URL; Redact makes a URL fit to be shown.
package open

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/memory"
	"github.com/parley-rt/parley/libs/persistence/postgres"
)

// Options are those that backends share; the zero value is right for production.
type Options struct {
	// Logger hears of trouble in the background. Nil: silence.
	Logger *slog.Logger
	// MeterProvider makes the instruments. Nil: the global one.
	MeterProvider metric.MeterProvider
	// TracerProvider makes the spans of backends that are reached over a network. Nil: the global one.
	TracerProvider trace.TracerProvider
	// Now is the clock of backends without a clock of their own. Nil: time.Now.
	Now func() time.Time
	// NoMigration: Open refuses a schema that lacks a step, with persistence.ErrSchemaVersion, and neither changes nor creates
	// one. Else it brings the schema up to date.
	NoMigration bool
}

// Open opens the backend that url names. persistence.ErrInvalid for a URL that names none, ErrSchemaVersion for a schema that
// this binary does not run with, ErrUnavailable when the store cannot be reached; a file in use is *sqlite.LockedError.
func Open(ctx context.Context, url string, opts Options) (persistence.Backend, error) {
	s, err := parse(url)
	if err != nil {
		return nil, err
	}
	switch s.kind {
	case kindPostgres:
		return openPostgres(ctx, s.url, opts)
	case kindSQLite:
		return openSQLite(ctx, s.path, opts)
	default:
		return memory.New(memory.Options{Now: opts.Now}), nil
	}
}

// Check returns the error of a URL that Open can never open, ErrInvalid, without trying to.
func Check(url string) error {
	_, err := parse(url)
	return err
}

// Migrator opens what changes the schema of the store that url names; a sqlite file that is missing is created, with no schema.
// Errors as Open's, and ErrInvalid for memory://, which has no schema.
func Migrator(ctx context.Context, url string, opts Options) (persistence.Migrator, error) {
	s, err := parse(url)
	if err != nil {
		return nil, err
	}
	switch s.kind {
	case kindPostgres:
		return postgresMigrator(ctx, s.url, opts)
	case kindSQLite:
		return sqliteMigrator(ctx, s.path, opts)
	default:
		return nil, fmt.Errorf("journal URL memory:// has no schema: nothing in it outlives its process: %w", persistence.ErrInvalid)
	}
}

type kind int

const (
	kindPostgres kind = iota
	kindSQLite
	kindMemory
)

// store is a parsed URL.
type store struct {
	kind kind
	url  string // of Postgres
	path string // of SQLite
}

const known = "postgres://…, sqlite://path or memory://"

// parse says which store a URL names. What cannot be understood may be a password, so it is not repeated.
func parse(url string) (store, error) {
	scheme, rest, found := strings.Cut(url, "://")
	if !found {
		return store{}, fmt.Errorf("journal URL has no scheme, want %s: %w", known, persistence.ErrInvalid)
	}
	switch scheme {
	case "postgres", "postgresql":
		if err := checkPostgres(rest); err != nil {
			return store{}, err
		}
		return store{kind: kindPostgres, url: url}, nil
	case "sqlite":
		if rest == "" {
			return store{}, fmt.Errorf("journal URL %q has no path, want sqlite://path: %w", url, persistence.ErrInvalid)
		}
		return store{kind: kindSQLite, path: rest}, nil
	case "memory":
		if rest != "" {
			return store{}, fmt.Errorf("journal URL: memory:// takes nothing after it: %w", persistence.ErrInvalid)
		}
		return store{kind: kindMemory}, nil
	default:
		if strings.ContainsAny(scheme, " :=@/") { // not a scheme at all
			scheme = mask
		}
		return store{}, fmt.Errorf("journal URL has the unknown scheme %q, known are postgres, sqlite and memory: %w", scheme, persistence.ErrInvalid)
	}
}

func postgresOptions(opts Options) postgres.Options {
	return postgres.Options{
		Logger: opts.Logger, MeterProvider: opts.MeterProvider, TracerProvider: opts.TracerProvider, NoMigration: opts.NoMigration,
	}
}

// openPostgres keeps a nil *Backend out of the interface, as do the others.
func openPostgres(ctx context.Context, url string, opts Options) (persistence.Backend, error) {
	b, err := postgres.Open(ctx, url, postgresOptions(opts))
	if err != nil {
		return nil, err
	}
	return b, nil
}

func postgresMigrator(ctx context.Context, url string, opts Options) (persistence.Migrator, error) {
	m, err := postgres.OpenMigrator(ctx, url, postgresOptions(opts))
	if err != nil {
		return nil, err
	}
	return m, nil
}
