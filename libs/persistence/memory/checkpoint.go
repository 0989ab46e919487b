package memory

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/parley-rt/parley/libs/persistence"
)

type checkpointKey struct {
	name string
	lane int16
}

// ClaimCheckpoint implements persistence.Feed. Epochs are drawn from one counter for all checkpoints, so that they rise
// over a deletion as well.
func (b *Backend) ClaimCheckpoint(ctx context.Context, name string, lane int16, owner string) (c persistence.Checkpoint, err error) {
	if err := persistence.ValidateCheckpoint(name, owner); err != nil {
		return c, fmt.Errorf("claim checkpoint: %w", err)
	}
	err = b.do(ctx, "claim checkpoint "+name, func() error {
		l, err := b.lane(lane)
		if err != nil {
			return err
		}
		at := checkpointKey{name, lane}
		stored, known := b.checkpoints[at]
		if !known {
			stored = persistence.Checkpoint{Name: name, Lane: lane, Pos: l.trimPos}
		}
		b.checkpointEpochs++
		stored.Owner, stored.Epoch = owner, b.checkpointEpochs
		b.checkpoints[at] = stored
		c = stored
		return nil
	})
	return c, err
}

// SaveCheckpoint implements persistence.Feed.
func (b *Backend) SaveCheckpoint(ctx context.Context, c persistence.Checkpoint, pos uint64) error {
	if err := persistence.ValidateCheckpoint(c.Name, c.Owner); err != nil {
		return fmt.Errorf("save checkpoint: %w", err)
	}
	return b.do(ctx, "save checkpoint "+c.Name, func() error {
		at := checkpointKey{c.Name, c.Lane}
		stored, known := b.checkpoints[at]
		switch {
		case !known:
			return fmt.Errorf("it was deleted: %w", persistence.ErrFenced)
		case stored.Epoch != c.Epoch:
			return fmt.Errorf("epoch %d lost to epoch %d of %q: %w", c.Epoch, stored.Epoch, stored.Owner, persistence.ErrFenced)
		case pos < stored.Pos || pos > b.lanes[c.Lane].pos:
			return fmt.Errorf("move from %d to %d in a lane that ends at %d: %w", stored.Pos, pos, b.lanes[c.Lane].pos, persistence.ErrConflict)
		}
		stored.Pos = pos
		b.checkpoints[at] = stored
		return nil
	})
}

// DeleteCheckpoint implements persistence.Feed.
func (b *Backend) DeleteCheckpoint(ctx context.Context, name string) error {
	if err := persistence.ValidateCheckpointName(name); err != nil {
		return fmt.Errorf("delete checkpoint: %w", err)
	}
	return b.do(ctx, "delete checkpoint "+name, func() error {
		maps.DeleteFunc(b.checkpoints, func(at checkpointKey, _ persistence.Checkpoint) bool { return at.name == name })
		return nil
	})
}

// Checkpoints implements persistence.Feed.
func (b *Backend) Checkpoints(ctx context.Context) (list []persistence.Checkpoint, err error) {
	err = b.do(ctx, "list checkpoints", func() error {
		list = slices.SortedFunc(maps.Values(b.checkpoints), func(x, y persistence.Checkpoint) int {
			return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.Lane, y.Lane))
		})
		return nil
	})
	return list, err
}
