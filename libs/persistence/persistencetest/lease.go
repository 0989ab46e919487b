package persistencetest

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
)

var leaseTests = []namedTest{
	{"held until it expires", leaseHeld},
	{"renewal", leaseRenewal},
	{"release", leaseRelease},
	{"one of many gets it", leaseMany},
	{"invalid arguments", leaseInvalid},
}

func (b *bench) lease(name, owner string) persistence.Lease {
	b.Helper()
	l, err := b.AcquireLease(b.Context(), name, owner, 10*b.unit())
	require.NoError(b, err)
	return l
}

func leaseHeld(b *bench) {
	first := b.lease("scheduler", "node-a")
	b.expiresIn(10, first.ExpiresAt)
	require.Equal(b, persistence.Lease{Name: "scheduler", Owner: "node-a", Epoch: 1, ExpiresAt: first.ExpiresAt}, first)

	_, err := b.AcquireLease(b.Context(), "scheduler", "node-b", b.unit())
	require.ErrorIs(b, err, persistence.ErrLeaseHeld)
	var held *persistence.LeaseHeldError
	require.ErrorAs(b, err, &held)
	require.Equal(b, "node-a", held.Held.Owner)
	require.EqualValues(b, 1, held.Held.Epoch)
	require.WithinDuration(b, first.ExpiresAt, held.Held.ExpiresAt, 0)
	require.EqualValues(b, 1, b.lease("other", "node-b").Epoch, "names are apart")

	require.EqualValues(b, 2, b.lease("scheduler", "node-a").Epoch, "its owner may take it again")
	b.pass(9)
	_, err = b.AcquireLease(b.Context(), "scheduler", "node-b", b.unit())
	require.ErrorIs(b, err, persistence.ErrLeaseHeld)
	b.pass(1)
	require.EqualValues(b, 3, b.lease("scheduler", "node-b").Epoch, "expired")
	_, err = b.RenewLease(b.Context(), first, b.unit())
	require.ErrorIs(b, err, persistence.ErrLeaseLost)
}

func leaseRenewal(b *bench) {
	l := b.lease("scheduler", "node-a")
	b.pass(5)
	renewed, err := b.RenewLease(b.Context(), l, 10*b.unit())
	require.NoError(b, err)
	require.Equal(b, l.Epoch, renewed.Epoch)
	b.expiresIn(10, renewed.ExpiresAt)
	b.pass(20)
	renewed, err = b.RenewLease(b.Context(), l, 10*b.unit())
	require.NoError(b, err, "an expired lease that nobody took is still the owner's")
	b.expiresIn(10, renewed.ExpiresAt)

	b.lease("scheduler", "node-a")
	_, err = b.RenewLease(b.Context(), l, b.unit())
	require.ErrorIs(b, err, persistence.ErrLeaseLost, "of an older epoch of the same owner")
	_, err = b.RenewLease(b.Context(), persistence.Lease{Name: "none", Owner: "node-a", Epoch: 1}, b.unit())
	require.ErrorIs(b, err, persistence.ErrLeaseLost)
}

func leaseRelease(b *bench) {
	first := b.lease("scheduler", "node-a")
	require.NoError(b, b.ReleaseLease(b.Context(), first))
	_, err := b.RenewLease(b.Context(), first, b.unit())
	require.ErrorIs(b, err, persistence.ErrLeaseLost, "released is released")
	second := b.lease("scheduler", "node-b")
	require.EqualValues(b, 2, second.Epoch, "epochs outlive a release")
	require.NoError(b, b.ReleaseLease(b.Context(), first), "a release that lost its lease is no error")
	_, err = b.AcquireLease(b.Context(), "scheduler", "node-a", b.unit())
	require.ErrorIs(b, err, persistence.ErrLeaseHeld)
	require.NoError(b, b.ReleaseLease(b.Context(), persistence.Lease{Name: "none", Owner: "node-a", Epoch: 1}))
}

func leaseMany(b *bench) {
	var won atomic.Int32
	var group sync.WaitGroup
	for i := range 32 {
		group.Go(func() {
			_, err := b.AcquireLease(b.Context(), "scheduler", fmt.Sprintf("node-%d", i), 10*b.unit())
			if err == nil {
				won.Add(1)
				return
			}
			requireIs(b, err, persistence.ErrLeaseHeld)
		})
	}
	group.Wait()
	require.EqualValues(b, 1, won.Load())
}

func leaseInvalid(b *bench) {
	for _, name := range badNames {
		_, err := b.AcquireLease(b.Context(), name, "node-a", b.unit())
		require.ErrorIs(b, err, persistence.ErrInvalid, "name %q", name)
		_, err = b.AcquireLease(b.Context(), "scheduler", name, b.unit())
		require.ErrorIs(b, err, persistence.ErrInvalid, "owner %q", name)
	}
	_, err := b.AcquireLease(b.Context(), "scheduler", "node-a", 0)
	require.ErrorIs(b, err, persistence.ErrInvalid)
	_, err = b.RenewLease(b.Context(), persistence.Lease{Name: "scheduler", Owner: "node-a", Epoch: 1}, 0)
	require.ErrorIs(b, err, persistence.ErrInvalid)
}
