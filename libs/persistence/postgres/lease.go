package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/parley-rt/parley/libs/persistence"
)

const (
	leaseColumns = `name, owner, epoch, expires_at`
	// acquireSQL takes the lease if it is at the epoch $4 that was read (0: there was none), so a statement that comes late,
	// after others were answered, changes nothing. Its time counts from when the row could be had: excluded.expires_at is
	// computed before the wait for it, which lasts as long as another's commit is not replicated.
	acquireSQL = `
INSERT INTO lease AS l (name, owner, epoch, expires_at) VALUES ($1, $2, 1, clock_timestamp() + $3::interval)
ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, epoch = l.epoch + 1, expires_at = clock_timestamp() + $3::interval
 WHERE l.epoch = $4 AND (l.owner = '' OR l.owner = excluded.owner OR l.expires_at <= clock_timestamp())
RETURNING ` + leaseColumns
	readLeaseSQL    = `SELECT ` + leaseColumns + ` FROM lease WHERE name = $1`
	leaseFreeSQL    = `SELECT owner = '' OR expires_at <= clock_timestamp() FROM lease WHERE name = $1 AND epoch = $2`
	renewSQL        = `UPDATE lease SET expires_at = clock_timestamp() + $4::interval WHERE name = $1 AND owner = $2 AND epoch = $3 RETURNING ` + leaseColumns
	releaseLeaseSQL = `UPDATE lease SET owner = '', expires_at = 'epoch' WHERE name = $1 AND owner = $2 AND epoch = $3`
)

// AcquireLease implements persistence.LeaseStore.
func (b *Backend) AcquireLease(ctx context.Context, name, owner string, ttl time.Duration) (persistence.Lease, error) {
	var lease persistence.Lease
	err := persistence.ValidateLease(name, owner, ttl)
	if err == nil {
		err = b.urgent(ctx, func(ctx context.Context, c *conn) error {
			for {
				held, err := scanLease(c.QueryRow(ctx, readLeaseSQL, name))
				if err != nil && !errors.Is(err, pgx.ErrNoRows) {
					return err
				}
				if held.Owner != "" && held.Owner != owner {
					// Most of the time it is somebody's, and who only asks must not lock the row that its holder renews.
					var free bool
					err := c.QueryRow(ctx, leaseFreeSQL, name, int64(held.Epoch)).Scan(&free)
					if err == nil && !free {
						return &persistence.LeaseHeldError{Held: held}
					}
					if err != nil && !errors.Is(err, pgx.ErrNoRows) {
						return err
					}
				}
				lease, err = scanLease(c.QueryRow(ctx, acquireSQL, name, owner, ttl, int64(held.Epoch)))
				if !errors.Is(err, pgx.ErrNoRows) {
					return err
				}
				var free bool
				err = c.QueryRow(ctx, leaseFreeSQL, name, int64(held.Epoch)).Scan(&free)
				if err == nil && !free {
					return &persistence.LeaseHeldError{Held: held}
				}
				if err != nil && !errors.Is(err, pgx.ErrNoRows) {
					return err
				} // else it changed hands in between
			}
		})
	}
	if err != nil {
		return persistence.Lease{}, fmt.Errorf("acquire lease %s: %w", name, err)
	}
	return lease, nil
}

// RenewLease implements persistence.LeaseStore.
func (b *Backend) RenewLease(ctx context.Context, l persistence.Lease, ttl time.Duration) (persistence.Lease, error) {
	err := persistence.ValidateLease(l.Name, l.Owner, ttl)
	if err == nil {
		err = b.urgent(ctx, func(ctx context.Context, c *conn) error {
			renewed, err := scanLease(c.QueryRow(ctx, renewSQL, l.Name, l.Owner, int64(l.Epoch), ttl))
			if errors.Is(err, pgx.ErrNoRows) {
				return persistence.ErrLeaseLost
			}
			if err == nil {
				l = renewed
			}
			return err
		})
	}
	if err != nil {
		return persistence.Lease{}, fmt.Errorf("renew lease %s: %w", l.Name, err)
	}
	return l, nil
}

// ReleaseLease implements persistence.LeaseStore. The row stays, so that epochs go on rising.
func (b *Backend) ReleaseLease(ctx context.Context, l persistence.Lease) error {
	err := persistence.ValidateLease(l.Name, l.Owner, time.Second)
	if err == nil {
		err = b.urgent(ctx, func(ctx context.Context, c *conn) error {
			_, err := c.Exec(ctx, releaseLeaseSQL, l.Name, l.Owner, int64(l.Epoch))
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("release lease %s: %w", l.Name, err)
	}
	return nil
}

func scanLease(row pgx.Row) (l persistence.Lease, err error) {
	err = row.Scan(&l.Name, &l.Owner, &l.Epoch, &l.ExpiresAt)
	l.ExpiresAt = l.ExpiresAt.UTC()
	return l, err
}
