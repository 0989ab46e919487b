package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/internal/migrations"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// Migrator changes the schema. It is guarded: of all that migrate or maintain one schema at the same time, in whatever
// process, one does it and the others wait. Who finds nothing to do does not wait.
type Migrator struct {
	conn   *pgx.Conn
	schema string
	steps  []migrations.Step
}

var _ persistence.Migrator = (*Migrator)(nil)

// OpenMigrator connects to the database that url names, and creates the schema if it is missing.
func OpenMigrator(ctx context.Context, url string, opts Options) (*Migrator, error) {
	cfg, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	steps, err := migrations.Load(migrationFiles)
	if err != nil {
		return nil, err
	}
	m, err := openMigrator(ctx, cfg, opts.withDefaults(), steps)
	if err != nil {
		return nil, fmt.Errorf("open the schema of the journal: %w", err)
	}
	return m, nil
}

func openMigrator(ctx context.Context, cfg config, opts Options, steps []migrations.Step) (*Migrator, error) {
	c := cfg.base.Copy()
	c.DialFunc = opts.Dial
	// A process that was killed while its step waits for a lock must not go on holding the guard.
	c.RuntimeParams["client_connection_check_interval"] = "2s"
	conn, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", persistence.ErrUnavailable, err)
	}
	return &Migrator{conn: conn, schema: cfg.schema, steps: steps}, nil
}

// Close implements persistence.Migrator.
func (m *Migrator) Close(ctx context.Context) error { return m.conn.Close(ctx) }

// guard is held for the session by whoever changes the schema or its partitions. A lock of the server ends with its
// holder, however that ends.
const (
	guardSQL   = `SELECT pg_advisory_lock(hashtextextended('parley journal ' || current_schema(), 0))`
	unguardSQL = `SELECT pg_advisory_unlock(hashtextextended('parley journal ' || current_schema(), 0))`
)

// guarded runs fn with the schema's guard.
func (m *Migrator) guarded(ctx context.Context, fn func(applied map[int]migrations.Applied) error) (err error) {
	defer func() {
		if err != nil && !isAnswer(err) && !errors.Is(err, persistence.ErrSchemaVersion) {
			err = fmt.Errorf("%w: %w", persistence.ErrUnavailable, err)
		}
	}()
	if err := m.createSchema(ctx); err != nil {
		return fmt.Errorf("create schema %s: %w", m.schema, err)
	}
	if _, err := m.conn.Exec(ctx, guardSQL); err != nil {
		return fmt.Errorf("wait for others that change the schema: %w", err)
	}
	defer func() {
		if _, unlock := m.conn.Exec(context.WithoutCancel(ctx), unguardSQL); err == nil && unlock != nil {
			err = unlock
		}
	}()
	if _, err := m.conn.Exec(ctx, `CREATE TABLE IF NOT EXISTS journal_migration (
		version int PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, compatible int NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())`); err != nil {
		return fmt.Errorf("create the table of migrations: %w", err)
	}
	applied, err := m.applied(ctx)
	if err != nil {
		return err
	}
	if err := migrations.Check(m.steps, applied); err != nil {
		return err
	}
	return fn(applied)
}

// createSchema makes the schema if it is missing. That is asked first: making one takes a privilege on the database, with IF
// NOT EXISTS as well, which a service needs no more once the schema is there.
func (m *Migrator) createSchema(ctx context.Context) error {
	for try := 0; ; try++ {
		var exists bool
		if err := m.conn.QueryRow(ctx, `SELECT to_regnamespace($1) IS NOT NULL`, m.schema).Scan(&exists); err != nil || exists {
			return err
		}
		// Two that create a schema at once: one may fail on the other's row in spite of IF NOT EXISTS.
		if _, err := m.conn.Exec(ctx, `CREATE SCHEMA IF NOT EXISTS `+pgx.Identifier{m.schema}.Sanitize()); err == nil || try == 3 {
			return err
		}
	}
}

func (m *Migrator) applied(ctx context.Context) (map[int]migrations.Applied, error) {
	rows, err := m.conn.Query(ctx, `SELECT version, checksum, compatible FROM journal_migration`)
	if err != nil {
		return nil, fmt.Errorf("read the table of migrations: %w", err)
	}
	defer rows.Close()
	applied := map[int]migrations.Applied{}
	for rows.Next() {
		var version int
		var a migrations.Applied
		if err := rows.Scan(&version, &a.Checksum, &a.Compatible); err != nil {
			return nil, err
		}
		applied[version] = a
	}
	return applied, rows.Err()
}

// MigrateUp implements persistence.Migrator. It takes the guard when a step is missing: a service starts with the schema as it
// is while a drop of partitions has the guard, which may take as long as the longest read.
func (m *Migrator) MigrateUp(ctx context.Context) error {
	exists, err := m.noted(ctx)
	if err != nil {
		return err
	}
	if exists {
		applied, err := m.applied(ctx)
		if err != nil {
			return fmt.Errorf("%w: %w", persistence.ErrUnavailable, err)
		}
		if err := migrations.Check(m.steps, applied); err != nil || len(migrations.Missing(m.steps, applied)) == 0 {
			return err
		}
	}
	return m.guarded(ctx, func(applied map[int]migrations.Applied) error {
		for _, s := range migrations.Missing(m.steps, applied) {
			if err := m.step(ctx, s.Up, `INSERT INTO journal_migration (version, name, checksum, compatible) VALUES ($1, $2, $3, $4)`,
				s.Version, s.Name, s.Checksum, s.Compatible); err != nil {
				return fmt.Errorf("migrate the schema to version %d (%s): %w", s.Version, s.Name, err)
			}
		}
		return nil
	})
}

// MigrateDown implements persistence.Migrator.
func (m *Migrator) MigrateDown(ctx context.Context, to int) error {
	if to < 0 || to > len(m.steps) {
		return fmt.Errorf("migrate the schema down to version %d, this binary knows 0 to %d: %w", to, len(m.steps), persistence.ErrInvalid)
	}
	return m.guarded(ctx, func(applied map[int]migrations.Applied) error {
		for version := range applied {
			if version > len(m.steps) {
				return fmt.Errorf("this binary does not know the way back from version %d: %w", version, persistence.ErrSchemaVersion)
			}
		}
		for i := len(m.steps) - 1; i >= to; i-- {
			s := m.steps[i]
			if _, ok := applied[s.Version]; !ok {
				continue
			}
			if err := m.step(ctx, s.Down, `DELETE FROM journal_migration WHERE version = $1`, s.Version); err != nil {
				return fmt.Errorf("migrate the schema down from version %d (%s): %w", s.Version, s.Name, err)
			}
		}
		return nil
	})
}

// step runs one step and notes it, in one transaction.
func (m *Migrator) step(ctx context.Context, sql, note string, args ...any) error {
	return pgx.BeginFunc(ctx, m.conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, sql); err != nil { // without arguments: several statements at once
			return err
		}
		_, err := tx.Exec(ctx, note, args...)
		return err
	})
}

// noted says whether there is a table of migrations.
func (m *Migrator) noted(ctx context.Context) (exists bool, err error) {
	if err := m.conn.QueryRow(ctx, `SELECT to_regclass('journal_migration') IS NOT NULL`).Scan(&exists); err != nil {
		return false, fmt.Errorf("look for the table of migrations: %w: %w", persistence.ErrUnavailable, err)
	}
	return exists, nil
}

// MigrationStatus implements persistence.Migrator.
func (m *Migrator) MigrationStatus(ctx context.Context) (list []persistence.MigrationStatus, err error) {
	exists, err := m.noted(ctx)
	if err != nil {
		return nil, err
	}
	times := map[int]time.Time{}
	names := map[int]string{}
	newest := len(m.steps)
	if exists {
		rows, err := m.conn.Query(ctx, `SELECT version, name, applied_at FROM journal_migration`)
		if err != nil {
			return nil, fmt.Errorf("read the table of migrations: %w: %w", persistence.ErrUnavailable, err)
		}
		defer rows.Close()
		for rows.Next() {
			var version int
			var name string
			var at time.Time
			if err := rows.Scan(&version, &name, &at); err != nil {
				return nil, err
			}
			times[version], names[version] = at.UTC(), name
			newest = max(newest, version)
		}
		if err := rows.Err(); err != nil {
			return nil, fmt.Errorf("read the table of migrations: %w: %w", persistence.ErrUnavailable, err)
		}
	}
	for version := 1; version <= newest; version++ {
		name := names[version]
		if version <= len(m.steps) {
			name = m.steps[version-1].Name
		}
		list = append(list, persistence.MigrationStatus{Version: version, Name: name, AppliedAt: times[version]})
	}
	return list, nil
}

// checkSchema says whether this binary runs with the schema as it is.
func (m *Migrator) checkSchema(ctx context.Context) error {
	status, err := m.MigrationStatus(ctx)
	if err != nil {
		return err
	}
	for _, s := range status {
		if s.Version <= len(m.steps) && s.AppliedAt.IsZero() {
			return fmt.Errorf("schema %s lacks version %d (%s): run \"parley migrate up\", or let the service migrate: %w",
				m.schema, s.Version, s.Name, persistence.ErrSchemaVersion)
		}
	}
	applied, err := m.applied(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", persistence.ErrUnavailable, err)
	}
	return migrations.Check(m.steps, applied)
}
