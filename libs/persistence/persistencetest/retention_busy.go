package persistencetest

import (
	"fmt"
	"sync"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
)

func retentionTwice(b *bench) {
	c := b.filled("room/1", 1)
	for part := range int32(20) {
		b.rotate(part + 1)
		b.snapshot(c, b.grow(c, 1), "s")
	}
	var mu sync.Mutex
	times := map[int32]int{}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			dropped, err := b.DropPartitions(b.Context(), 19)
			requireIs(b, err, nil)
			mu.Lock()
			defer mu.Unlock()
			for _, part := range dropped {
				times[part]++
			}
		})
	}
	group.Wait()
	require.Equal(b, []int32{20}, b.parts())
	require.Len(b, times, 20)
	for part, n := range times {
		require.Equal(b, 1, n, "partition %d", part)
	}
	require.Len(b, b.feed(), 1)
}

// retentionBusy: rotations and drops go on beside writers, each of which finds at every claim the state it left.
func retentionBusy(b *bench) {
	const writers, rounds = 16, 25
	stop := make(chan struct{})
	var operator, group sync.WaitGroup
	last := int32(0)
	operator.Go(func() {
		for part := int32(1); ; part++ {
			requireIs(b, b.Rotate(b.Context(), part), nil)
			last = part
			if _, err := b.DropPartitions(b.Context(), part-1); err != nil {
				requireIs(b, err, persistence.ErrBlocked)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	for i := range writers {
		group.Go(func() {
			key := persistence.StreamKey(fmt.Sprintf("room/%d", i))
			for round := range rounds {
				if err := b.workOn(key, uint64(round)); err != nil {
					b.Errorf("round %d of %s: %v", round, key, err)
					return
				}
			}
		})
	}
	group.Wait()
	close(stop)
	operator.Wait()
	b.rotate(last + 1)
	_, err := b.DropPartitions(b.Context(), last)
	require.NoError(b, err, "every stream ended with a snapshot")
	require.Equal(b, []int32{last + 1}, b.parts())
	require.Empty(b, b.feed())
}

// workOn claims a stream whose state is the count of its events, three for each round, checks it, goes on with another
// three and ends with a snapshot.
func (b *bench) workOn(key persistence.StreamKey, round uint64) error {
	ctx := b.Context()
	c, err := b.Claim(ctx, key, "node-a", persistence.ClaimOptions{})
	if err != nil {
		return err
	}
	rec, err := b.Recover(ctx, c)
	if err != nil {
		return err
	}
	if found := rec.Snapshot.Seq + uint64(len(rec.Tail)); found != 3*round || c.LastSeq != found {
		return fmt.Errorf("recovered %d events at head %d: %w", found, c.LastSeq, persistence.ErrCorrupt)
	}
	for range 3 {
		if c.LastSeq, err = b.Append(ctx, c, c.LastSeq, newEvents(1)); err != nil {
			return err
		}
	}
	return b.SaveSnapshot(ctx, c, persistence.Snapshot{Seq: c.LastSeq, Payload: []byte("state")})
}
