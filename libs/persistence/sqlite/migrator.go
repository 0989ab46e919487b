package sqlite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/internal/migrations"
	"github.com/parley-rt/parley/libs/persistence/sqlite/internal/lite"
)

// Migrator changes the schema of a journal's file. It has the file's lock until Close: no service can run meanwhile, and
// none is disturbed.
type Migrator struct {
	path  string
	lock  *fileLock
	conn  *lite.Conn
	steps []migrations.Step
	now   func() time.Time
}

var _ persistence.Migrator = (*Migrator)(nil)

// OpenMigrator opens the file for changes of its schema, creating it as Open does, but changes nothing yet. *LockedError
// while a process has the journal open; ErrSchemaVersion for a database of another application. Of opts only Now counts.
func OpenMigrator(ctx context.Context, path string, opts Options) (*Migrator, error) {
	m, err := openMigrator(ctx, path, opts.withDefaults())
	if err != nil {
		return nil, fmt.Errorf("open journal %s for migration: %w", path, err)
	}
	return m, nil
}

func openMigrator(ctx context.Context, path string, opts Options) (_ *Migrator, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if path, err = prepareFile(path); err != nil {
		return nil, err
	}
	m := &Migrator{path: path, now: opts.Now}
	if m.steps, err = migrations.Load(migrationFiles); err != nil {
		return nil, err
	}
	if m.lock, err = acquireLock(path); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.free())
		}
	}()
	if err := createFile(path); err != nil {
		return nil, err
	}
	if m.conn, err = connect(path); err != nil {
		return nil, err
	}
	_, err = checkApplication(m.conn)
	return m, err
}

// MigrateUp implements persistence.Migrator.
func (m *Migrator) MigrateUp(ctx context.Context) error {
	return m.do(ctx, "migrate", func() error { return migrate(m.conn, m.steps, m.now()) })
}

// MigrateDown implements persistence.Migrator.
func (m *Migrator) MigrateDown(ctx context.Context, toVersion int) error {
	return m.do(ctx, fmt.Sprintf("migrate down to version %d", toVersion), func() error {
		if toVersion < 0 || toVersion > len(m.steps) {
			return fmt.Errorf("versions are 0 to %d: %w", len(m.steps), persistence.ErrInvalid)
		}
		return migrateDown(m.conn, m.steps, toVersion)
	})
}

// MigrationStatus implements persistence.Migrator.
func (m *Migrator) MigrationStatus(ctx context.Context) (list []persistence.MigrationStatus, err error) {
	err = m.do(ctx, "status of migrations", func() error {
		applied, err := appliedMigrations(m.conn)
		if err != nil {
			return err
		}
		for _, a := range applied {
			list = append(list, persistence.MigrationStatus{Version: a.version, Name: a.name, AppliedAt: a.at})
		}
		for _, step := range migrations.Missing(m.steps, byVersion(applied)) {
			list = append(list, persistence.MigrationStatus{Version: step.Version, Name: step.Name})
		}
		slices.SortFunc(list, func(a, b persistence.MigrationStatus) int { return a.Version - b.Version })
		return nil
	})
	return list, err
}

// Close implements persistence.Migrator.
func (m *Migrator) Close(context.Context) error {
	if err := m.free(); err != nil {
		return fmt.Errorf("close journal %s: %w", m.path, err)
	}
	return nil
}

func (m *Migrator) do(ctx context.Context, what string, fn func() error) error {
	err := ctx.Err()
	switch {
	case m.conn == nil:
		err = persistence.ErrClosed
	case err != nil:
		err = fmt.Errorf("%w: %w", persistence.ErrUnavailable, err)
	default:
		err = fn()
	}
	if err != nil {
		return fmt.Errorf("%s in journal %s: %w", what, m.path, err)
	}
	return nil
}

// free closes what is open; again it does nothing.
func (m *Migrator) free() error {
	var errs error
	if m.conn != nil {
		errs = errors.Join(m.conn.Checkpoint(), m.conn.Close())
		m.conn = nil
	}
	if m.lock != nil {
		errs = errors.Join(errs, m.lock.release())
		m.lock = nil
	}
	return errs
}
