package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/parley-rt/parley/cmd/parley/internal/journal"
	"github.com/parley-rt/parley/libs/persistence"
)

type migrateCommand struct {
	Up     migrateUpCommand     `cmd:"" help:"Apply every step of the journal's schema that is missing."`
	Down   migrateDownCommand   `cmd:"" help:"Take steps back, with what they hold. No service may run."`
	Status migrateStatusCommand `cmd:"" help:"List the steps of the journal's schema."`
}

type migrateUpCommand struct{ journalFlags }

// Run executes the command.
func (c *migrateUpCommand) Run(ctx context.Context, streams Streams) error {
	return c.migrate(ctx, true, func(_ journal.Location, m persistence.Migrator) error {
		before, err := m.MigrationStatus(ctx)
		if err != nil {
			return err
		}
		if err := m.MigrateUp(ctx); err != nil {
			return err
		}
		after, err := m.MigrationStatus(ctx)
		if err != nil {
			return err
		}
		for i, step := range after {
			if !step.AppliedAt.IsZero() && (i >= len(before) || before[i].AppliedAt.IsZero()) {
				if _, err := fmt.Fprintf(streams.Out, "applied %d %s\n", step.Version, step.Name); err != nil {
					return err
				}
			}
		}
		_, err = fmt.Fprintf(streams.Out, "the schema is at version %d\n", journal.SchemaVersion(after))
		return err
	})
}

// migrate runs fn with the journal's migrator. create: a missing SQLite file is made.
func (f journalFlags) migrate(ctx context.Context, create bool, fn func(journal.Location, persistence.Migrator) error) error {
	at, err := f.locate()
	if err != nil {
		return err
	}
	m, err := at.Migrator(ctx, create)
	if err != nil {
		return interrupted(err)
	}
	return interrupted(errors.Join(fn(at, m), m.Close(context.WithoutCancel(ctx))))
}

type migrateDownCommand struct {
	journalFlags
	confirmFlag
	To int `help:"Version to go back to; 0 leaves nothing." required:"" env:"-"`
}

// Run executes the command.
func (c *migrateDownCommand) Run(ctx context.Context, streams Streams) error {
	var back []persistence.MigrationStatus
	err := c.migrate(ctx, false, func(_ journal.Location, m persistence.Migrator) error {
		steps, err := m.MigrationStatus(ctx)
		if err != nil {
			return err
		}
		for _, step := range slices.Backward(steps) {
			if step.Version > c.To && !step.AppliedAt.IsZero() {
				back = append(back, step)
			}
		}
		if !c.Yes && len(back) > 0 {
			return nil
		}
		if err := m.MigrateDown(ctx, c.To); err != nil {
			return err
		}
		for _, step := range back {
			if _, err := fmt.Fprintf(streams.Out, "took back %d %s\n", step.Version, step.Name); err != nil {
				return err
			}
		}
		_, err = fmt.Fprintf(streams.Out, "the schema is at version %d\n", min(c.To, journal.SchemaVersion(steps)))
		return err
	})
	if err != nil || c.Yes || len(back) == 0 {
		return err
	}
	if err := c.warn(ctx, streams.Err, back); err != nil {
		return err
	}
	return unconfirmed(fmt.Sprintf("go back to version %d", c.To))
}

// warn says what going back would lose.
func (c *migrateDownCommand) warn(ctx context.Context, w io.Writer, back []persistence.MigrationStatus) error {
	at, err := c.locate()
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(w, "Of the journal %s this takes back, with everything that is kept in them:\n", at)
	for _, step := range back {
		_, _ = fmt.Fprintf(w, "  %d %s\n", step.Version, step.Name)
	}
	if c.To > 0 {
		_, _ = fmt.Fprintln(w, "Messages stay. Stop every service on this journal first, and go on with a binary that knows no newer version.")
		return nil
	}
	_, _ = fmt.Fprintln(w, "Nothing stays: every message, membership, session and checkpoint is lost.")
	status, err := at.ReadStatus(ctx)
	if err != nil {
		_, _ = fmt.Fprintf(w, "How much that is cannot be read: %v\n", err)
		return nil // it is no reason not to go on
	}
	var rows, bytes int64
	for _, p := range status.Partitions {
		rows, bytes = rows+p.Rows, bytes+p.Bytes
	}
	_, _ = fmt.Fprintf(w, "Events: %s (about), in %d partitions of %s. Checkpoints of consumers: %d.\n",
		about(rows), len(status.Partitions), byteSize(bytes), len(status.Checkpoints))
	return nil
}

type migrateStatusCommand struct {
	journalFlags
	JSON bool `help:"Print one JSON document."`
}

// migrationStep is a step in the JSON document; AppliedAt is null when it is not applied.
type migrationStep struct {
	Version   int        `json:"version"`
	Name      string     `json:"name"`
	AppliedAt *time.Time `json:"applied_at"`
}

// Run executes the command.
func (c *migrateStatusCommand) Run(ctx context.Context, streams Streams) error {
	return c.migrate(ctx, false, func(at journal.Location, m persistence.Migrator) error {
		steps, err := m.MigrationStatus(ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			return printMigrationJSON(streams.Out, at, steps)
		}
		return printMigrationTable(streams.Out, steps)
	})
}

func printMigrationJSON(w io.Writer, at journal.Location, steps []persistence.MigrationStatus) error {
	list := []migrationStep{}
	for _, s := range steps {
		step := migrationStep{Version: s.Version, Name: s.Name}
		if !s.AppliedAt.IsZero() {
			step.AppliedAt = &s.AppliedAt
		}
		list = append(list, step)
	}
	return json.NewEncoder(w).Encode(map[string]any{
		"journal": at.String(), "schema_version": journal.SchemaVersion(steps), "steps": list,
	})
}

func printMigrationTable(w io.Writer, steps []persistence.MigrationStatus) error {
	rows := [][]any{{"VERSION", "NAME", "APPLIED"}}
	for _, s := range steps {
		applied := "missing"
		if !s.AppliedAt.IsZero() {
			applied = s.AppliedAt.Local().Format(time.DateTime)
		}
		rows = append(rows, []any{s.Version, s.Name, applied})
	}
	return table(w, rows)
}
