package persistencetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
)

func (b *bench) laneHeads() map[int16]persistence.LaneHead {
	b.Helper()
	lanes, err := b.Lanes(b.Context())
	require.NoError(b, err)
	heads := map[int16]persistence.LaneHead{}
	for i, l := range lanes {
		if i > 0 {
			require.Less(b, lanes[i-1].Lane, l.Lane)
		}
		require.LessOrEqual(b, l.TrimPos, l.Pos)
		heads[l.Lane] = l
	}
	return heads
}

// lane reads a lane above after to its end in pages of limit, and where to go on.
func (b *bench) lane(lane int16, after uint64, limit int) (all []persistence.FeedEvent, next uint64) {
	b.Helper()
	for {
		events, next, err := b.ReadLane(b.Context(), lane, after, limit)
		require.NoError(b, err)
		require.LessOrEqual(b, len(events), limit)
		require.Empty(b, checkPage("the test", lane, after, events, next))
		if next == after {
			return all, next
		}
		all = append(all, events...)
		after = next
	}
}

// feed reads every lane from where nothing is trimmed.
func (b *bench) feed() (all []persistence.FeedEvent) {
	b.Helper()
	for lane, head := range b.laneHeads() {
		events, next := b.lane(lane, head.TrimPos, persistence.MaxRead)
		require.GreaterOrEqual(b, next, head.Pos)
		all = append(all, events...)
	}
	return all
}

// feedTails: many writers, some of which take streams from each other, and a tail of each lane that runs beside them.
func feedTails(b *bench) {
	h := NewHistory()
	b.tailing(h, func() { b.writing(h, 24, 30) })
	b.holds(h)
}

// feedRotation: the same while partitions are rotated and the tails' checkpoints let the old ones go.
func feedRotation(b *bench) {
	h := NewHistory()
	b.tailing(h, func() {
		done := make(chan struct{})
		var group sync.WaitGroup
		group.Go(func() {
			for part := int32(1); ; part++ {
				requireIs(b, b.Rotate(b.Context(), part), nil)
				var blocked *persistence.BlockedError
				if _, err := b.DropPartitions(b.Context(), part-1); err != nil && !errors.As(err, &blocked) {
					b.Errorf("drop partitions: %v", err)
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
		b.writing(h, 12, 30)
		close(done)
		group.Wait()
	})
	b.holds(h)
}

// holds checks the invariants.
func (b *bench) holds(h *History) {
	b.Helper()
	violations, err := h.Check(b.Context(), b, b)
	require.NoError(b, err)
	if len(violations) > 0 {
		require.Fail(b, "invariants are broken", "%d violations, the first: %v", len(violations), violations[:min(len(violations), 5)])
	}
}

// writing has writers append to streams of which every third has two of them, and save snapshots.
func (b *bench) writing(h *History, writers, appends int) {
	var group sync.WaitGroup
	for i := range writers {
		group.Go(func() {
			if err := b.writer(h, i, appends); err != nil {
				b.Errorf("writer %d: %v", i, err)
			}
		})
	}
	group.Wait()
}

func (b *bench) writer(h *History, i, appends int) error {
	ctx := b.Context()
	key := persistence.StreamKey(fmt.Sprintf("room/%d", i-i%3/2)) // 0, 1 and 1 of each three
	activation := 0
	for appends > 0 {
		activation++
		name := fmt.Sprintf("writer-%d-%d", i, activation)
		c, err := h.Claim(ctx, b, name, key, "node-a", persistence.ClaimOptions{})
		if err != nil {
			return err
		}
		for head := c.LastSeq; appends > 0; appends-- {
			last, err := h.Append(ctx, b, name, c, head, newEvents(1+appends%3))
			if err == nil {
				err = b.SaveSnapshot(ctx, c, persistence.Snapshot{Seq: last, Payload: []byte("state")})
			}
			if errors.Is(err, persistence.ErrFenced) {
				break
			}
			if err != nil {
				return err
			}
			head = last
		}
	}
	return nil
}

// tailing runs fn with a consumer at each lane, which saves its checkpoint after each page and ends when it has
// everything.
func (b *bench) tailing(h *History, fn func()) {
	var written atomic.Bool
	var group sync.WaitGroup
	for lane := range b.laneHeads() {
		held, err := b.ClaimCheckpoint(b.Context(), "tail", lane, "node-a")
		require.NoError(b, err)
		group.Go(func() {
			if err := b.tail(b.Context(), h, held, &written); err != nil {
				b.Errorf("tail of lane %d: %v", lane, err)
			}
		})
	}
	fn()
	written.Store(true)
	group.Wait()
}

func (b *bench) tail(ctx context.Context, h *History, held persistence.Checkpoint, written *atomic.Bool) error {
	for after := held.Pos; ; {
		last := written.Load() // before the read, which then has everything
		events, next, err := b.ReadLane(ctx, held.Lane, after, 100)
		if err != nil {
			return err
		}
		h.Page("tail", held.Lane, after, events, next)
		if next == after {
			if last {
				return nil
			}
			continue
		}
		if err := b.SaveCheckpoint(ctx, held, next); err != nil {
			return err
		}
		after = next
	}
}
