package persistence

import (
	"context"
	"time"
)

// MigrationStatus is one step of a store's schema.
type MigrationStatus struct {
	Version int
	Name    string
	// AppliedAt is zero for a step that is not applied.
	AppliedAt time.Time
}

// Migrator changes the schema of a store, for the operator's commands. Backends bring a schema up to date by their own
// rules when they are opened; going back is only done here, with no service running, before a binary that does not know
// the newer schema is started (that one refuses it with ErrSchemaVersion).
//
// Not safe for concurrent use. Each step is one transaction: a step that fails leaves the ones before it, and nothing of
// itself.
type Migrator interface {
	// MigrateUp applies every step of this binary that is missing. ErrSchemaVersion when the store has a step that this binary
	// does not know and does not run with, or another one under a number that it knows.
	MigrateUp(ctx context.Context) error
	// MigrateDown takes back the steps above toVersion, newest first; 0 leaves an empty store: everything in it is lost.
	// ErrInvalid for a version that this binary does not know, ErrSchemaVersion as MigrateUp and for a step that it does not know
	// but runs with: that one must be taken back first, by whoever does.
	MigrateDown(ctx context.Context, toVersion int) error
	// MigrationStatus returns the steps that this binary knows and those that a newer one applied, ascending.
	MigrationStatus(ctx context.Context) ([]MigrationStatus, error)
	// Close frees the store.
	Close(ctx context.Context) error
}
