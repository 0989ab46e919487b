package open

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/sqlite"
)

func sqliteOptions(opts Options) sqlite.Options {
	return sqlite.Options{Logger: opts.Logger, MeterProvider: opts.MeterProvider, Now: opts.Now}
}

func openSQLite(ctx context.Context, path string, opts Options) (persistence.Backend, error) {
	if opts.NoMigration {
		if err := checkSQLite(ctx, path, opts); err != nil {
			return nil, fmt.Errorf("open journal %s: %w", path, err)
		}
	}
	b, err := sqlite.Open(ctx, path, sqliteOptions(opts))
	if err != nil {
		return nil, err
	}
	return b, nil
}

func sqliteMigrator(ctx context.Context, path string, opts Options) (persistence.Migrator, error) {
	m, err := sqlite.OpenMigrator(ctx, path, sqliteOptions(opts))
	if err != nil {
		return nil, err
	}
	return m, nil
}

// checkSQLite refuses a file whose schema lacks a step. The file belongs to one process, so whoever could change the schema
// between this and the opening is another one that was started on it by mistake; it brings the schema forward at worst.
func checkSQLite(ctx context.Context, path string, opts Options) (err error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no such file: run \"parley migrate up\", or let the service migrate: %w", persistence.ErrSchemaVersion)
	}
	m, err := sqlite.OpenMigrator(ctx, path, sqliteOptions(opts))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close(context.WithoutCancel(ctx))) }()
	status, err := m.MigrationStatus(ctx)
	if err != nil {
		return err
	}
	for _, step := range status {
		if step.AppliedAt.IsZero() {
			return fmt.Errorf("schema lacks version %d (%s): run \"parley migrate up\", or let the service migrate: %w",
				step.Version, step.Name, persistence.ErrSchemaVersion)
		}
	}
	return nil
}
