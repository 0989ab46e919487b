package persistence

import (
	"context"
	"time"
)

// Lease is a time-bounded hold on a name. It makes takeover fast; safety comes from its Epoch, checked by what the
// holder writes.
type Lease struct {
	Name      string
	Owner     string
	Epoch     uint64
	ExpiresAt time.Time
}

// Guard is for the claims of who holds the lease.
func (l Lease) Guard() GuardLease { return GuardLease{Name: l.Name, Owner: l.Owner, Epoch: l.Epoch} }

// LeaseStore keeps leases by the backend's clock. Implementations are safe for concurrent use.
type LeaseStore interface {
	// AcquireLease takes the lease if it is free, expired or already the owner's; the epoch rises each time. *LeaseHeldError else.
	AcquireLease(ctx context.Context, name, owner string, ttl time.Duration) (Lease, error)
	// RenewLease extends a lease of that epoch, even an expired one that nobody took; ErrLeaseLost else.
	RenewLease(ctx context.Context, l Lease, ttl time.Duration) (Lease, error)
	// ReleaseLease frees it at once if it is still of that epoch; nil also when it is not.
	ReleaseLease(ctx context.Context, l Lease) error
}
