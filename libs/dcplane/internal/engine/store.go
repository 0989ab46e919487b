package engine

import (
	"context"
	"errors"

	"github.com/parley-rt/parley/libs/dcplane"
)

var (
	// ErrNotFound is returned by Get for a key without a record.
	ErrNotFound = errors.New("no such record")
	// ErrConflict is returned by conditional writes whose condition does not hold.
	ErrConflict = errors.New("record changed")
)

// Record is what is stored under a node's key.
type Record struct {
	Node dcplane.Node
	// Claim orders the processes that registered under one name: the later registration has the higher claim.
	Claim uint64
}

// Stored is a record with the revision that conditional writes name.
type Stored struct {
	Record   Record
	Revision uint64
}

// Store is one control plane. Its methods may be called from any goroutine, honour ctx, and return errors other than the
// two above when the outcome is unknown or the control plane is away.
type Store interface {
	// Get reads one key. A record that cannot be decoded is returned as the zero Record with its revision.
	Get(ctx context.Context, key dcplane.Key) (Stored, error)
	// Create writes a key that has no record.
	Create(ctx context.Context, r Record) (revision uint64, err error)
	// Update writes a key whose record has exactly this revision, and renews its lease. Where leases are the control
	// plane's own it writes nothing when the record is as it was; the new revision is then the old one.
	Update(ctx context.Context, r Record, revision uint64) (newRevision uint64, err error)
	// Delete removes a record that has exactly this revision.
	Delete(ctx context.Context, key dcplane.Key, revision uint64) error
	// Sync lists everything and opens a watch that continues exactly after the listing.
	Sync(ctx context.Context) (dcplane.Listing, Watch, error)
	// Close releases the store. All watches have been stopped.
	Close()
}

// Follower is told what a watch sees, one call at a time.
type Follower interface {
	Observe(o dcplane.Observation)
	// Contact is a sign of life without news: the watch has missed nothing. Not every control plane gives one.
	Contact()
}

// Watch is a stream of observations. It buffers until Follow is called.
type Watch interface {
	// Follow delivers to f, in order, until Stop. Called once.
	Follow(f Follower)
	// Done is closed when the watch ended by itself.
	Done() <-chan struct{}
	// Stop ends the watch; the follower is not called after it returned.
	Stop()
}
