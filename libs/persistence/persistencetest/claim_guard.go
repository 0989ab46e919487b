package persistencetest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
)

func claimGuard(b *bench) {
	guarded := func(epoch uint64) (persistence.Claim, error) {
		return b.Claim(b.Context(), "room/1", "node-b", persistence.ClaimOptions{Guard: persistence.GuardEpoch{Epoch: epoch}})
	}
	_, err := guarded(1)
	require.ErrorIs(b, err, persistence.ErrGuard)
	h, err := b.Head(b.Context(), "room/1")
	require.NoError(b, err)
	require.Zero(b, h.Epoch, "a refused claim creates nothing")

	c, err := guarded(0)
	require.NoError(b, err)
	require.EqualValues(b, 1, c.Epoch)

	_, err = guarded(0)
	var refused *persistence.GuardError
	require.ErrorAs(b, err, &refused)
	require.Equal(b, persistence.GuardEpoch{}, refused.Guard)
	require.EqualValues(b, 1, refused.Head.Epoch)
	require.Equal(b, "node-b", refused.Head.Owner)
	require.Equal(b, persistence.StreamKey("room/1"), refused.Head.Key)

	b.append(c, 0, newEvent("a refused claim fences nobody"))
	c, err = guarded(1)
	require.NoError(b, err)
	require.EqualValues(b, 2, c.Epoch)
	require.EqualValues(b, 1, c.LastSeq)
}

// Whoever held a lease claims nothing once it is somebody else's, and nothing while it is nobody's.
func claimGuardLease(b *bench) {
	guarded := func(l persistence.Lease) (persistence.Claim, error) {
		return b.Claim(b.Context(), "room/1", l.Owner, persistence.ClaimOptions{Guard: l.Guard()})
	}
	refused := func(l persistence.Lease, head uint64) {
		b.Helper()
		_, err := guarded(l)
		var refused *persistence.GuardError
		require.ErrorAs(b, err, &refused)
		require.Equal(b, l.Guard(), refused.Guard)
		require.Equal(b, persistence.StreamKey("room/1"), refused.Head.Key)
		require.Equal(b, head, refused.Head.Epoch)
	}
	refused(persistence.Lease{Name: "none", Owner: "node-a", Epoch: 1}, 0)
	h, err := b.Head(b.Context(), "room/1")
	require.NoError(b, err)
	require.Zero(b, h.Epoch, "a refused claim creates nothing")

	first := b.lease("book", "node-a")
	mine, err := guarded(first)
	require.NoError(b, err)
	require.EqualValues(b, 1, mine.Epoch)
	again, err := guarded(first)
	require.NoError(b, err, "a guard by a lease does not refuse a second claim")
	require.EqualValues(b, 2, again.Epoch)
	other := first
	other.Owner = "node-b"
	refused(other, 2)
	other = first
	other.Epoch++
	refused(other, 2)
	other = first
	other.Name = "other"
	refused(other, 2)

	b.pass(20)
	_, err = guarded(first)
	require.NoError(b, err, "expired, and nobody took it")
	second := b.lease("book", "node-b")
	refused(first, 3)
	theirs, err := guarded(second)
	require.NoError(b, err)
	require.EqualValues(b, 4, theirs.Epoch)
	refused(first, 4)
	b.append(theirs, 0, newEvent("a refused claim fences nobody"))

	require.NoError(b, b.ReleaseLease(b.Context(), second))
	refused(second, 4)
	third := b.lease("book", "node-b")
	refused(second, 4)
	last, err := guarded(third)
	require.NoError(b, err)
	require.EqualValues(b, 1, last.LastSeq)

	_, err = b.Claim(b.Context(), "room/1", "node-a", persistence.ClaimOptions{Guard: persistence.GuardLease{Owner: "node-a"}})
	require.ErrorIs(b, err, persistence.ErrInvalid)
}

// A lease goes round while those who had it, have it and want it claim the same stream: no claim of an earlier lease is made
// after one of a later lease.
func claimGuardLeaseRace(b *bench) {
	var group sync.WaitGroup
	var mu sync.Mutex
	leaseOf := map[uint64]uint64{} // by the claim's epoch
	for i := range 4 {
		group.Go(func() {
			owner := fmt.Sprintf("node-%d", i)
			for range 20 {
				lease, err := b.AcquireLease(b.Context(), "book", owner, time.Hour)
				if errors.Is(err, persistence.ErrLeaseHeld) {
					continue
				}
				if err != nil {
					requireIs(b, err, nil)
					return
				}
				var claims sync.WaitGroup
				answered := make(chan struct{}, 3)
				for range cap(answered) {
					claims.Go(func() {
						defer func() { answered <- struct{}{} }()
						c, err := b.Claim(b.Context(), "room/1", owner, persistence.ClaimOptions{Guard: lease.Guard()})
						if err != nil {
							requireIs(b, err, persistence.ErrGuard)
							return
						}
						mu.Lock()
						defer mu.Unlock()
						leaseOf[c.Epoch] = lease.Epoch
					})
				}
				<-answered
				requireIs(b, b.ReleaseLease(b.Context(), lease), nil) // overtakes some of the claims
				claims.Wait()
			}
		})
	}
	group.Wait()
	require.NotEmpty(b, leaseOf)
	var highest uint64
	for _, epoch := range slices.Sorted(maps.Keys(leaseOf)) {
		require.GreaterOrEqual(b, leaseOf[epoch], highest, "claim %d", epoch)
		highest = leaseOf[epoch]
	}
}

type strangeGuard struct{ persistence.GuardEpoch }

func claimUnknownGuard(b *bench) {
	_, err := b.Claim(b.Context(), "room/1", "node-a", persistence.ClaimOptions{Guard: strangeGuard{}})
	require.ErrorIs(b, err, persistence.ErrInvalid, "a guard that is not understood must not be passed over")
}
