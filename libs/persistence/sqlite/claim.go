package sqlite

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"

	"github.com/parley-rt/parley/libs/persistence"
)

// Claim implements persistence.Journal. It goes through the writer's queue like the appends. A second append of one
// activation may be kept back there while a claim that was queued after it goes ahead; that append is then fenced, so
// whatever order the two take, nothing of an older epoch is stored after the claim returned.
func (b *Backend) Claim(ctx context.Context, key persistence.StreamKey, owner string, opts persistence.ClaimOptions) (persistence.Claim, error) {
	if err := persistence.ValidateClaim(key, owner, opts); err != nil {
		return persistence.Claim{}, fmt.Errorf("claim stream: %w", err)
	}
	m := &claimMutation{key: key, owner: owner, guard: opts.Guard}
	if err := b.submit(ctx, &request{mutation: m, events: 1, bytes: len(key) + len(owner)}); err != nil {
		return persistence.Claim{}, fmt.Errorf("claim stream %s: %w", key, err)
	}
	return m.claim, nil
}

type claimMutation struct {
	key   persistence.StreamKey
	owner string
	guard persistence.Guard
	claim persistence.Claim
}

func (m *claimMutation) apply(w *writer) error {
	head, err := w.headByKey(m.key)
	if err != nil {
		return err
	}
	if guard, ok := m.guard.(persistence.GuardEpoch); ok && guard.Epoch != head.Epoch {
		return &persistence.GuardError{Guard: guard, Head: head.Head}
	}
	if guard, ok := m.guard.(persistence.GuardLease); ok {
		held, err := w.readLease(guard.Name)
		if err != nil {
			return err
		}
		if held.Guard() != guard {
			return &persistence.GuardError{Guard: guard, Head: head.Head}
		}
	}
	w.claims++
	if head.Epoch == 0 {
		return m.create(w)
	}
	s := w.st.claimStream
	s.Int(1, head.StreamID)
	s.Text(2, m.owner)
	s.Int(3, w.claims)
	s.Int(4, w.at.UnixNano())
	if err := s.Run(); err != nil {
		return err
	}
	m.claim = persistence.Claim{
		Key: m.key, StreamID: head.StreamID, Epoch: head.Epoch + 1, Incarnation: head.Incarnation,
		LastSeq: head.LastSeq, SnapSeq: head.SnapSeq, TrimSeq: head.TrimSeq, Lane: head.lane,
		Owner: m.owner, PreviousOwner: head.Owner,
	}
	return nil
}

func (m *claimMutation) create(w *writer) error {
	incarnation := newIncarnation()
	s := w.st.createStream
	s.Text(1, string(m.key))
	s.Text(2, m.owner)
	s.Int(3, int64(incarnation))
	s.Int(4, w.claims)
	s.Int(5, w.at.UnixNano())
	if err := s.Run(); err != nil {
		return err
	}
	m.claim = persistence.Claim{
		Key: m.key, StreamID: w.conn.LastInsertID(), Epoch: 1, Incarnation: incarnation, Owner: m.owner,
	}
	return nil
}

// newIncarnation draws 63 bits that are not all zero.
func newIncarnation() uint64 {
	for {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails; it ends the process instead
		if n := binary.LittleEndian.Uint64(b[:]) >> 1; n != 0 {
			return n
		}
	}
}

// Release implements persistence.Journal.
func (b *Backend) Release(ctx context.Context, c persistence.Claim) error {
	if err := c.Validate(); err != nil {
		return fmt.Errorf("release stream: %w", err)
	}
	if err := b.submit(ctx, &request{mutation: releaseMutation{c}, events: 1}); err != nil {
		return fmt.Errorf("release stream %s: %w", c.Key, err)
	}
	return nil
}

type releaseMutation struct{ claim persistence.Claim }

func (m releaseMutation) apply(w *writer) error {
	s := w.st.releaseStream
	s.Int(1, m.claim.StreamID)
	s.Int(2, int64(m.claim.Epoch))
	return s.Run()
}

// Reincarnate implements persistence.Journal.
func (b *Backend) Reincarnate(ctx context.Context, c persistence.Claim) (persistence.Claim, error) {
	if err := c.Validate(); err != nil {
		return persistence.Claim{}, fmt.Errorf("reincarnate stream: %w", err)
	}
	m := &reincarnateMutation{claim: c}
	if err := b.submit(ctx, &request{mutation: m, events: 1}); err != nil {
		return persistence.Claim{}, fmt.Errorf("reincarnate stream %s: %w", c.Key, err)
	}
	return m.claim, nil
}

type reincarnateMutation struct{ claim persistence.Claim }

func (m *reincarnateMutation) apply(w *writer) error {
	m.claim.Incarnation = newIncarnation()
	s := w.st.reincarnate
	s.Int(1, m.claim.StreamID)
	s.Int(2, int64(m.claim.Epoch))
	s.Int(3, int64(m.claim.Incarnation))
	if err := s.Run(); err != nil || w.conn.Changes() > 0 {
		return err
	}
	return w.lost(m.claim, func(h persistence.Head) error {
		return fmt.Errorf("head at epoch %d was not changed: %w", h.Epoch, persistence.ErrCorrupt)
	})
}
