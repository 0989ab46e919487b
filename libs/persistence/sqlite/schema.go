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
// one that a newer binary migrated to what this one does not run with, and one whose steps are not the ones of this binary:
// ErrSchemaVersion.
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
	applied, err := appliedMigrations(c)
	if err != nil {
		return err
	}
	if err := migrations.Check(steps, byVersion(applied)); err != nil {
		return err
	}
	missing := migrations.Missing(steps, byVersion(applied))
	if len(missing) == 0 {
		return nil
	}
	if err := prepareRecord(c); err != nil {
		return fmt.Errorf("create the table of migrations: %w", err)
	}
	for _, step := range missing {
		if err := applyMigration(c, step, now); err != nil {
			return fmt.Errorf("migrate the schema to version %d (%s): %w", step.Version, step.Name, err)
		}
	}
	return nil
}

// prepareRecord makes the table of steps. compatible came later than the table: NULL is the step's own version.
func prepareRecord(c *lite.Conn) error {
	if err := c.Exec(`CREATE TABLE IF NOT EXISTS journal_migration (
		version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at INTEGER NOT NULL, compatible INTEGER)`); err != nil {
		return err
	}
	has, err := recordsCompatible(c)
	if err != nil || has {
		return err
	}
	return c.Exec("ALTER TABLE journal_migration ADD COLUMN compatible INTEGER")
}

func recordsCompatible(c *lite.Conn) (bool, error) {
	n, err := queryInt(c, "SELECT count(*) FROM pragma_table_info('journal_migration') WHERE name = 'compatible'")
	return n > 0, err
}

// migrateDown takes back the steps above version, each in its own transaction. Version 0 drops the record of steps, too.
func migrateDown(c *lite.Conn, steps []migrations.Step, version int) error {
	applied, err := appliedMigrations(c)
	if err != nil {
		return err
	}
	if err := migrations.Check(steps, byVersion(applied)); err != nil {
		return err
	}
	if n := len(applied); n > 0 && applied[n-1].version > len(steps) {
		return fmt.Errorf("this binary does not know the way back from version %d: %w", applied[n-1].version, persistence.ErrSchemaVersion)
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

// appliedMigration is a row of journal_migration.
type appliedMigration struct {
	version        int
	name, checksum string
	compatible     int
	at             time.Time
}

func byVersion(applied []appliedMigration) map[int]migrations.Applied {
	m := map[int]migrations.Applied{}
	for _, a := range applied {
		m[a.version] = migrations.Applied{Checksum: a.checksum, Compatible: a.compatible}
	}
	return m
}

// appliedMigrations returns the rows there are, ascending; none in an empty database.
func appliedMigrations(c *lite.Conn) ([]appliedMigration, error) {
	exists, err := queryInt(c, "SELECT count(*) FROM sqlite_schema WHERE name = 'journal_migration'")
	if err != nil || exists == 0 {
		return nil, err
	}
	compatible := "version"
	if has, err := recordsCompatible(c); err != nil {
		return nil, err
	} else if has {
		compatible = "ifnull(compatible, version)"
	}
	s, err := c.Prepare("SELECT version, name, checksum, " + compatible + ", applied_at FROM journal_migration ORDER BY version")
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
			version: int(s.ColumnInt(0)), name: s.ColumnText(1), checksum: s.ColumnText(2), compatible: int(s.ColumnInt(3)),
			at: fromNanos(s.ColumnInt(4)),
		})
	}
}

func applyMigration(c *lite.Conn, m migrations.Step, now time.Time) error {
	return inTransaction(c, func() error {
		if err := c.Exec(m.Up); err != nil {
			return err
		}
		s, err := c.Prepare("INSERT INTO journal_migration (version, name, checksum, compatible, applied_at) VALUES (?1, ?2, ?3, ?4, ?5)")
		if err != nil {
			return err
		}
		defer s.Close()
		s.Int(1, int64(m.Version))
		s.Text(2, m.Name)
		s.Text(3, m.Checksum)
		s.Int(4, int64(m.Compatible))
		s.Int(5, now.UnixNano())
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
