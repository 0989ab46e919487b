// Package journal opens the journal that a command works on, and says what to do when it cannot.
package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/open"
	"github.com/parley-rt/parley/libs/persistence/sqlite"
)

const sqliteScheme = "sqlite://"

// Location is where a journal is.
type Location struct{ url string }

// Locate returns the location that url names; the file in the data directory when it is empty.
func Locate(url, data string) (Location, error) {
	if url != "" {
		return Location{url}, nil
	}
	data, err := filepath.Abs(data)
	if err != nil {
		return Location{}, fmt.Errorf("data directory: %w", err)
	}
	return Location{sqliteScheme + filepath.Join(data, "journal.db")}, nil
}

// String is the URL without its passwords.
func (l Location) String() string { return open.Redact(l.url) }

// Scheme is the part of the URL before "://", and one of those that mean the same.
func (l Location) Scheme() string {
	scheme, _, _ := strings.Cut(l.url, "://")
	if scheme == "postgresql" {
		return "postgres"
	}
	return scheme
}

// Open opens the journal for a service.
func (l Location) Open(ctx context.Context, opts open.Options) (persistence.Backend, error) {
	b, err := open.Open(ctx, l.url, opts)
	if err != nil {
		return nil, explain(err)
	}
	return b, nil
}

// OpenExisting opens a journal for an operator, who must not get an empty one for a mistake in its name.
func (l Location) OpenExisting(ctx context.Context, logger *slog.Logger) (persistence.Backend, error) {
	if err := l.exists(); err != nil {
		return nil, err
	}
	if l.Scheme() == "memory" {
		return nil, fmt.Errorf("memory:// is gone with its process: name a journal with PARLEY_JOURNAL_URL or --journal: %w", persistence.ErrInvalid)
	}
	return l.Open(ctx, open.Options{Logger: logger, NoMigration: true})
}

// Migrator opens what changes the schema. create: a missing file is made.
func (l Location) Migrator(ctx context.Context, create bool) (persistence.Migrator, error) {
	if !create {
		if err := l.exists(); err != nil {
			return nil, err
		}
	}
	m, err := open.Migrator(ctx, l.url, open.Options{})
	if err != nil {
		return nil, explain(err)
	}
	return m, nil
}

// exists refuses a file that there is not; servers are asked when they are connected to.
func (l Location) exists() error {
	path, isFile := strings.CutPrefix(l.url, sqliteScheme)
	if !isFile || path == "" {
		return nil
	}
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no journal %s: name another with --data, --journal or PARLEY_JOURNAL_URL, or make one with \"parley migrate up\"", path)
	}
	if err != nil {
		return fmt.Errorf("look for the journal: %w", err)
	}
	return nil
}

// explain adds what to do about an error of opening.
func explain(err error) error {
	var locked *sqlite.LockedError
	switch {
	case errors.As(err, &locked):
		return fmt.Errorf("%w: a file belongs to one process: stop that one first", err)
	case errors.Is(err, persistence.ErrUnavailable):
		return fmt.Errorf("%w\nset PARLEY_JOURNAL_URL or --journal to a journal that can be reached", err)
	case errors.Is(err, persistence.ErrInvalid):
		return fmt.Errorf("%w (set PARLEY_JOURNAL_URL or --journal)", err)
	default:
		return err
	}
}
