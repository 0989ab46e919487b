package sqlite

import (
	"embed"
	"errors"
	"fmt"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/internal/migrations"
	"github.com/parley-rt/parley/libs/persistence/sqlite/internal/lite"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// applicationID marks the file as a journal ("PRLY").
const applicationID = 0x50524c59

// migrate brings the schema to the newest step, each step in its own transaction. It refuses a file that is no journal,
// one that a newer binary migrated, and one whose steps are not the ones of this binary: ErrSchemaVersion.
func migrate(c *lite.Conn, steps []migrations.Step, now time.Time) error {
	empty, err := checkApplication(c)
	if err != nil {
		return err
	}
	if empty {
		if err := c.Exec(fmt.Sprintf("PRAGMA application_id = %d", applicationID)); err != nil {
			return fmt.Errorf("mark the file: %w", err)
		}
	}
	if err := c.Exec(`CREATE TABLE IF NOT EXISTS journal_migration (
		version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at INTEGER NOT NULL)`); err != nil {
		return fmt.Errorf("create the table of migrations: %w", err)
	}
	applied, err := appliedMigrations(c)
	if err != nil {
		return err
	}
	if err := checkApplied(applied, steps); err != nil {
		return err
	}
	for _, step := range steps[len(applied):] {
		if err := applyMigration(c, step, now); err != nil {
			return fmt.Errorf("migrate the schema to version %d (%s): %w", step.Version, step.Name, err)
		}
	}
	return nil
}

// migrateDown takes back the steps above version, each in its own transaction. Version 0 drops the record of steps, too.
func migrateDown(c *lite.Conn, steps []migrations.Step, version int) error {
	applied, err := appliedMigrations(c)
	if err != nil {
		return err
	}
	if err := checkApplied(applied, steps); err != nil {
		return err
	}
	for i := len(applied); i > version; i-- {
		step := steps[i-1]
		forget := fmt.Sprintf("DELETE FROM journal_migration WHERE version = %d;", step.Version)
		if step.Version == 1 {
			forget = "DROP TABLE journal_migration;"
		}
		if err := inTransaction(c, func() error { return c.Exec(step.Down + forget) }); err != nil {
			return fmt.Errorf("take back version %d (%s) of the schema: %w", step.Version, step.Name, err)
		}
	}
	return nil
}

// checkApplication tells whether the database is empty, and refuses one that is another application's.
func checkApplication(c *lite.Conn) (empty bool, err error) {
	id, err := queryInt(c, "PRAGMA application_id")
	if err != nil || id == applicationID {
		return false, err
	}
	tables, err := queryInt(c, "SELECT count(*) FROM sqlite_schema")
	if err != nil {
		return false, err
	}
	if tables > 0 || id != 0 {
		return false, fmt.Errorf("file is an SQLite database of another application: %w", persistence.ErrSchemaVersion)
	}
	return true, nil
}

// checkApplied proves that what is applied is the beginning of steps.
func checkApplied(applied []appliedMigration, steps []migrations.Step) error {
	for i, a := range applied {
		switch {
		case a.version > len(steps):
			newest := applied[len(applied)-1].version
			return fmt.Errorf("schema is at version %d, this binary knows up to %d: run one that knows it, or let it migrate down to %d: %w",
				newest, len(steps), len(steps), persistence.ErrSchemaVersion)
		case a.version != i+1:
			return fmt.Errorf("schema has version %d without %d: %w", a.version, i+1, persistence.ErrSchemaVersion)
		case a.checksum != steps[i].Checksum:
			return fmt.Errorf("schema version %d (%s) is not the one of this binary: %w", a.version, a.name, persistence.ErrSchemaVersion)
		}
	}
	return nil
}

// appliedMigration is a row of journal_migration.
type appliedMigration struct {
	version        int
	name, checksum string
	at             time.Time
}

// appliedMigrations returns the rows there are, ascending; none in an empty database.
func appliedMigrations(c *lite.Conn) ([]appliedMigration, error) {
	exists, err := queryInt(c, "SELECT count(*) FROM sqlite_schema WHERE name = 'journal_migration'")
	if err != nil || exists == 0 {
		return nil, err
	}
	s, err := c.Prepare("SELECT version, name, checksum, applied_at FROM journal_migration ORDER BY version")
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var applied []appliedMigration
	for {
		row, err := s.Step()
		if err != nil || !row {
			return applied, err
		}
		applied = append(applied, appliedMigration{
			version: int(s.ColumnInt(0)), name: s.ColumnText(1), checksum: s.ColumnText(2), at: fromNanos(s.ColumnInt(3)),
		})
	}
}

func applyMigration(c *lite.Conn, m migrations.Step, now time.Time) error {
	return inTransaction(c, func() error {
		if err := c.Exec(m.Up); err != nil {
			return err
		}
		s, err := c.Prepare("INSERT INTO journal_migration (version, name, checksum, applied_at) VALUES (?1, ?2, ?3, ?4)")
		if err != nil {
			return err
		}
		defer s.Close()
		s.Int(1, int64(m.Version))
		s.Text(2, m.Name)
		s.Text(3, m.Checksum)
		s.Int(4, now.UnixNano())
		return s.Run()
	})
}

// inTransaction commits what fn does, or nothing of it.
func inTransaction(c *lite.Conn, fn func() error) error {
	if err := c.Exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := fn()
	if err == nil {
		err = c.Exec("COMMIT")
	}
	if err != nil && c.InTransaction() {
		return errors.Join(err, c.Exec("ROLLBACK"))
	}
	return err
}

func queryInt(c *lite.Conn, sql string) (int64, error) {
	s, err := c.Prepare(sql)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	row, err := s.Step()
	if err != nil || !row {
		return 0, err
	}
	return s.ColumnInt(0), nil
}
