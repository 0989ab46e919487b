// Package open opens a persistence backend by its URL, so that services need no import of every backend.
package open

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/memory"
	"github.com/parley-rt/parley/libs/persistence/sqlite"
)

// Options are those that backends share; the zero value is right for production.
type Options struct {
	// Logger hears of trouble in the background. Nil: silence.
	Logger *slog.Logger
	// MeterProvider makes the instruments. Nil: the global one.
	MeterProvider metric.MeterProvider
	// Now is the clock of backends without a clock of their own. Nil: time.Now.
	Now func() time.Time
}

// Open opens the backend that url names:
//
//	sqlite:///var/lib/parley/journal.db   a file by absolute path
//	sqlite://parley-data/journal.db       a file by relative path
//	memory://                             nothing survives; for tests
//
// The rest of a sqlite URL is the path as it is: nothing in it is unescaped. persistence.ErrInvalid for any other URL.
func Open(ctx context.Context, url string, opts Options) (persistence.Backend, error) {
	scheme, rest, found := strings.Cut(url, "://")
	if !found {
		return nil, fmt.Errorf("journal URL %q has no scheme, want sqlite://path or memory://: %w", url, persistence.ErrInvalid)
	}
	switch scheme {
	case "sqlite":
		if rest == "" {
			return nil, fmt.Errorf("journal URL %q has no path, want sqlite://path: %w", url, persistence.ErrInvalid)
		}
		return openSQLite(ctx, rest, opts)
	case "memory":
		if rest != "" {
			return nil, fmt.Errorf("journal URL %q: memory:// takes nothing after it: %w", url, persistence.ErrInvalid)
		}
		return memory.New(memory.Options{Now: opts.Now}), nil
	default:
		return nil, fmt.Errorf("journal URL has the unknown scheme %q, known are sqlite and memory: %w", scheme, persistence.ErrInvalid)
	}
}

// openSQLite keeps a nil *Backend out of the interface.
func openSQLite(ctx context.Context, path string, opts Options) (persistence.Backend, error) {
	b, err := sqlite.Open(ctx, path, sqlite.Options{Logger: opts.Logger, MeterProvider: opts.MeterProvider, Now: opts.Now})
	if err != nil {
		return nil, err
	}
	return b, nil
}
