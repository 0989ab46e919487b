package memory

import (
	"context"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
)

// AcquireLease implements persistence.LeaseStore.
func (b *Backend) AcquireLease(ctx context.Context, name, owner string, ttl time.Duration) (out persistence.Lease, err error) {
	err = b.do(ctx, "acquire lease "+name, func() error {
		if err := persistence.ValidateLease(name, owner, ttl); err != nil {
			return err
		}
		held, now := b.leases[name], b.now()
		if held.Owner != "" && held.Owner != owner && held.ExpiresAt.After(now) {
			return &persistence.LeaseHeldError{Held: held}
		}
		out = persistence.Lease{Name: name, Owner: owner, Epoch: held.Epoch + 1, ExpiresAt: now.Add(ttl)}
		b.leases[name] = out
		return nil
	})
	return out, err
}

// RenewLease implements persistence.LeaseStore.
func (b *Backend) RenewLease(ctx context.Context, l persistence.Lease, ttl time.Duration) (out persistence.Lease, err error) {
	err = b.do(ctx, "renew lease "+l.Name, func() error {
		if err := persistence.ValidateLease(l.Name, l.Owner, ttl); err != nil {
			return err
		}
		held := b.leases[l.Name]
		if held.Epoch != l.Epoch || held.Owner != l.Owner {
			return persistence.ErrLeaseLost
		}
		held.ExpiresAt = b.now().Add(ttl)
		b.leases[l.Name] = held
		out = held
		return nil
	})
	return out, err
}

// ReleaseLease implements persistence.LeaseStore. The name is kept, so that epochs go on rising.
func (b *Backend) ReleaseLease(ctx context.Context, l persistence.Lease) error {
	return b.do(ctx, "release lease "+l.Name, func() error {
		if err := persistence.ValidateLease(l.Name, l.Owner, time.Second); err != nil {
			return err
		}
		held := b.leases[l.Name]
		if held.Epoch == l.Epoch && held.Owner == l.Owner {
			b.leases[l.Name] = persistence.Lease{Name: l.Name, Epoch: held.Epoch}
		}
		return nil
	})
}
