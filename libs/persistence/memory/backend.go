package memory

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
)

// Options refines New; the zero value is right for most tests.
type Options struct {
	// Now is the backend's clock. Nil: time.Now.
	Now func() time.Time
	// Lanes is how many lanes streams are spread over. 0: 1.
	Lanes int
}

// Backend keeps streams, sessions and leases in maps. Safe for concurrent use.
type Backend struct {
	now func() time.Time

	mu      sync.Mutex
	closed  bool
	streams map[persistence.StreamKey]*stream
	// streamIDs, claims and checkpointEpochs are the last ones given.
	streamIDs        int64
	claims           int64
	checkpointEpochs uint64

	lanes       []*lane
	partitions  []*partition // ascending; the last one is the current
	checkpoints map[checkpointKey]persistence.Checkpoint

	sessions map[persistence.SessionID]*session
	leases   map[string]persistence.Lease
	blocks   map[string]persistence.Block
	// blockRevision is the newest block's.
	blockRevision uint64
}

var _ persistence.Backend = (*Backend)(nil)

// New makes an empty backend.
func New(opts Options) *Backend {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	b := &Backend{
		now:         opts.Now,
		streams:     map[persistence.StreamKey]*stream{},
		checkpoints: map[checkpointKey]persistence.Checkpoint{},
		sessions:    map[persistence.SessionID]*session{},
		leases:      map[string]persistence.Lease{},
		blocks:      map[string]persistence.Block{},
	}
	for range max(1, opts.Lanes) {
		b.lanes = append(b.lanes, &lane{})
	}
	b.partitions = []*partition{b.newPartition(0)}
	return b
}

// Ping implements persistence.Backend.
func (b *Backend) Ping(ctx context.Context) error {
	return b.do(ctx, "ping", func() error { return nil })
}

// Close implements persistence.Backend.
func (b *Backend) Close(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return nil
}

// do runs fn alone, unless the backend is closed or ctx has ended.
func (b *Backend) do(ctx context.Context, what string, fn func() error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := ctx.Err()
	switch {
	case b.closed:
		err = persistence.ErrClosed
	case err != nil:
		err = fmt.Errorf("%w: %w", persistence.ErrUnavailable, err)
	default:
		err = fn()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
