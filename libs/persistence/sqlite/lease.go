package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
)

// AcquireLease implements persistence.LeaseStore.
func (b *Backend) AcquireLease(ctx context.Context, name, owner string, ttl time.Duration) (persistence.Lease, error) {
	m := &acquireLease{ttl: ttl, lease: persistence.Lease{Name: name, Owner: owner}}
	err := persistence.ValidateLease(name, owner, ttl)
	if err == nil {
		err = b.submit(ctx, &request{mutation: m, events: 1, bytes: len(name) + len(owner)})
	}
	if err != nil {
		return persistence.Lease{}, fmt.Errorf("acquire lease %s: %w", name, err)
	}
	return m.lease, nil
}

type acquireLease struct {
	ttl   time.Duration
	lease persistence.Lease
}

func (m *acquireLease) apply(w *writer) error {
	held, err := w.readLease(m.lease.Name)
	if err != nil {
		return err
	}
	if held.Owner != "" && held.Owner != m.lease.Owner && held.ExpiresAt.After(w.at) {
		return &persistence.LeaseHeldError{Held: held}
	}
	expires := w.at.Add(m.ttl).UnixNano()
	m.lease.Epoch = held.Epoch + 1
	m.lease.ExpiresAt = fromNanos(expires)
	s := w.st.acquireLease
	s.Text(1, m.lease.Name)
	s.Text(2, m.lease.Owner)
	s.Int(3, int64(m.lease.Epoch))
	s.Int(4, expires)
	return s.Run()
}

func (w *writer) readLease(name string) (persistence.Lease, error) {
	held := persistence.Lease{Name: name}
	s := w.st.lease
	s.Text(1, name)
	row, err := s.Step()
	if err != nil || !row {
		return held, err
	}
	defer s.Reset()
	held.Owner, held.Epoch, held.ExpiresAt = s.ColumnText(0), uint64(s.ColumnInt(1)), fromNanos(s.ColumnInt(2))
	return held, nil
}

// RenewLease implements persistence.LeaseStore.
func (b *Backend) RenewLease(ctx context.Context, l persistence.Lease, ttl time.Duration) (persistence.Lease, error) {
	m := &renewLease{lease: l, ttl: ttl}
	err := persistence.ValidateLease(l.Name, l.Owner, ttl)
	if err == nil {
		err = b.submit(ctx, &request{mutation: m, events: 1, bytes: len(l.Name) + len(l.Owner)})
	}
	if err != nil {
		return persistence.Lease{}, fmt.Errorf("renew lease %s: %w", l.Name, err)
	}
	return m.lease, nil
}

type renewLease struct {
	lease persistence.Lease
	ttl   time.Duration
}

func (m *renewLease) apply(w *writer) error {
	expires := w.at.Add(m.ttl).UnixNano()
	s := w.st.renewLease
	s.Text(1, m.lease.Name)
	s.Text(2, m.lease.Owner)
	s.Int(3, int64(m.lease.Epoch))
	s.Int(4, expires)
	if err := s.Run(); err != nil {
		return err
	}
	if w.conn.Changes() == 0 {
		return persistence.ErrLeaseLost
	}
	m.lease.ExpiresAt = fromNanos(expires)
	return nil
}

// ReleaseLease implements persistence.LeaseStore.
func (b *Backend) ReleaseLease(ctx context.Context, l persistence.Lease) error {
	err := persistence.ValidateLease(l.Name, l.Owner, time.Second)
	if err == nil {
		err = b.submit(ctx, &request{mutation: releaseLease{l}, events: 1, bytes: len(l.Name) + len(l.Owner)})
	}
	if err != nil {
		return fmt.Errorf("release lease %s: %w", l.Name, err)
	}
	return nil
}

// releaseLease keeps the row, so that epochs go on rising.
type releaseLease struct{ lease persistence.Lease }

func (m releaseLease) apply(w *writer) error {
	s := w.st.releaseLease
	s.Text(1, m.lease.Name)
	s.Text(2, m.lease.Owner)
	s.Int(3, int64(m.lease.Epoch))
	return s.Run()
}
