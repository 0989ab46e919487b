package sqlite

import (
	"context"
	"errors"
	"fmt"

	"github.com/parley-rt/parley/libs/persistence"
)

// SaveSnapshot implements persistence.Journal.
func (b *Backend) SaveSnapshot(ctx context.Context, c persistence.Claim, s persistence.Snapshot) error {
	if err := persistence.ValidateSnapshot(c, s); err != nil {
		return fmt.Errorf("save snapshot of stream %s: %w", c.Key, err)
	}
	r := &request{mutation: snapshotMutation{claim: c, snapshot: s}, events: 1, bytes: len(s.Payload) + len(s.Meta), lends: true}
	err := b.submit(ctx, r)
	if err != nil {
		if errors.Is(err, persistence.ErrFenced) {
			b.metrics.Refused(ctx, err)
		}
		return fmt.Errorf("save snapshot of stream %s: %w", c.Key, err)
	}
	return nil
}

type snapshotMutation struct {
	claim    persistence.Claim
	snapshot persistence.Snapshot
}

func (m snapshotMutation) apply(w *writer) error {
	id, seq := m.claim.StreamID, int64(m.snapshot.Seq)
	s := w.st.snapStream
	s.Int(1, id)
	s.Int(2, int64(m.claim.Epoch))
	s.Int(3, seq)
	if err := s.Run(); err != nil {
		return err
	}
	if w.conn.Changes() == 0 {
		return w.lost(m.claim, m.refusal)
	}

	s = w.st.insertSnapshot
	s.Int(1, id)
	s.Int(2, seq)
	s.Int(3, int64(m.claim.Epoch))
	s.Int(4, w.at.UnixNano())
	s.Int(5, int64(m.snapshot.Codec))
	s.Text(6, m.snapshot.Manifest)
	bindMeta(s, 7, m.snapshot.Meta)
	s.Blob(8, m.snapshot.Payload)
	if err := s.Run(); err != nil {
		return err
	}
	s = w.st.dropSnapshots
	s.Int(1, id)
	s.Int(2, seq)
	return s.Run()
}

func (m snapshotMutation) refusal(h persistence.Head) error {
	if m.snapshot.Seq > h.LastSeq {
		return fmt.Errorf("snapshot at %d, head is %d: %w", m.snapshot.Seq, h.LastSeq, persistence.ErrInvalid)
	}
	return fmt.Errorf("snapshot at %d, stored is %d: %w", m.snapshot.Seq, h.SnapSeq, persistence.ErrStaleSnapshot)
}
