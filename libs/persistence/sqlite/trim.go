package sqlite

import (
	"context"
	"fmt"

	"github.com/parley-rt/parley/libs/persistence"
)

// Trim implements persistence.Journal. Rows are deleted afterwards, some with each commit.
func (b *Backend) Trim(ctx context.Context, c persistence.Claim, upTo uint64) error {
	if err := c.Validate(); err != nil {
		return fmt.Errorf("trim stream: %w", err)
	}
	if err := b.submit(ctx, &request{mutation: trimMutation{claim: c, upTo: upTo}, events: 1}); err != nil {
		return fmt.Errorf("trim stream %s: %w", c.Key, err)
	}
	return nil
}

type trimMutation struct {
	claim persistence.Claim
	upTo  uint64
}

func (m trimMutation) apply(w *writer) error {
	s := w.st.trimStream
	s.Int(1, m.claim.StreamID)
	s.Int(2, int64(m.claim.Epoch))
	s.Int(3, int64(m.upTo))
	if err := s.Run(); err != nil {
		return err
	}
	if w.conn.Changes() == 0 {
		return w.lost(m.claim, func(h persistence.Head) error {
			return fmt.Errorf("trim up to %d, newest snapshot is %d: %w", m.upTo, h.SnapSeq, persistence.ErrConflict)
		})
	}
	w.purges.add(m.claim.StreamID)
	return nil
}
