package sqlite

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/sqlite/internal/lite"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// applicationID marks the file as a journal ("PRLY").
const applicationID = 0x50524c59

// migration is one numbered step of the schema: migrations/NNNN_name.sql. Steps are never edited once released.
type migration struct {
	version  int
	name     string
	sql      string
	checksum string
}

func loadMigrations(files fs.FS) ([]migration, error) {
	names, err := fs.Glob(files, "migrations/*.sql") // sorted
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	var steps []migration
	for i, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("read migration: %w", err)
		}
		number, rest, _ := strings.Cut(strings.TrimSuffix(path.Base(name), ".sql"), "_")
		version, err := strconv.Atoi(number)
		if err != nil || version != i+1 {
			return nil, fmt.Errorf("migration %s: want number %04d", name, i+1)
		}
		sum := sha256.Sum256(text)
		steps = append(steps, migration{version: version, name: rest, sql: string(text), checksum: hex.EncodeToString(sum[:])})
	}
	return steps, nil
}

// migrate brings the schema to the newest step, each step in its own transaction. It refuses a file that is no journal,
// one that a newer binary migrated, and one whose steps are not the ones of this binary: ErrSchemaVersion.
func migrate(c *lite.Conn, steps []migration, now time.Time) error {
	if err := checkApplication(c); err != nil {
		return err
	}
	if err := c.Exec(`CREATE TABLE IF NOT EXISTS journal_migration (
		version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at INTEGER NOT NULL)`); err != nil {
		return fmt.Errorf("create the table of migrations: %w", err)
	}
	applied, err := appliedMigrations(c)
	if err != nil {
		return err
	}
	for version, checksum := range applied {
		if version > len(steps) {
			return fmt.Errorf("schema is at version %d, this binary knows up to %d; run a newer one: %w",
				version, len(steps), persistence.ErrSchemaVersion)
		}
		if want := steps[version-1]; want.checksum != checksum {
			return fmt.Errorf("schema version %d (%s) is not the one of this binary: %w",
				version, want.name, persistence.ErrSchemaVersion)
		}
	}
	for _, step := range steps {
		if _, done := applied[step.version]; done {
			continue
		}
		if err := applyMigration(c, step, now); err != nil {
			return fmt.Errorf("migrate the schema to version %d (%s): %w", step.version, step.name, err)
		}
	}
	return nil
}

func checkApplication(c *lite.Conn) error {
	id, err := queryInt(c, "PRAGMA application_id")
	if err != nil || id == applicationID {
		return err
	}
	tables, err := queryInt(c, "SELECT count(*) FROM sqlite_schema")
	if err != nil {
		return err
	}
	if tables > 0 || id != 0 {
		return fmt.Errorf("file is an SQLite database of another application: %w", persistence.ErrSchemaVersion)
	}
	return c.Exec(fmt.Sprintf("PRAGMA application_id = %d", applicationID))
}

func appliedMigrations(c *lite.Conn) (map[int]string, error) {
	s, err := c.Prepare("SELECT version, checksum FROM journal_migration")
	if err != nil {
		return nil, err
	}
	defer s.Close()
	applied := map[int]string{}
	for {
		row, err := s.Step()
		if err != nil || !row {
			return applied, err
		}
		applied[int(s.ColumnInt(0))] = s.ColumnText(1)
	}
}

func applyMigration(c *lite.Conn, m migration, now time.Time) (err error) {
	if err := c.Exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() {
		if err != nil && c.InTransaction() {
			err = errors.Join(err, c.Exec("ROLLBACK"))
		}
	}()
	if err := c.Exec(m.sql); err != nil {
		return err
	}
	s, err := c.Prepare("INSERT INTO journal_migration (version, name, checksum, applied_at) VALUES (?1, ?2, ?3, ?4)")
	if err != nil {
		return err
	}
	defer s.Close()
	s.Int(1, int64(m.version))
	s.Text(2, m.name)
	s.Text(3, m.checksum)
	s.Int(4, now.UnixNano())
	if err := s.Run(); err != nil {
		return err
	}
	return c.Exec("COMMIT")
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
