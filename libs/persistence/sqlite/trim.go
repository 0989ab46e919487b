package sqlite

import (
	"context"
	"fmt"
	"slices"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/sqlite/internal/lite"
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
	w.purges = append(w.purges, m.claim.StreamID)
	return nil
}

// Rows deleted after one commit: few while requests wait, more while none do.
const (
	purgeBusy = 100
	purgeIdle = 1000
)

// purge deletes some rows of the first stream that waits for it, in a transaction of its own. An error leaves them for
// the next time the file is opened.
func (w *writer) purge(busy bool) {
	limit := purgeIdle
	if busy {
		limit = purgeBusy
	}
	id := w.purges[0]
	more, err := w.purgeStream(id, int64(limit))
	if err != nil {
		w.log.Warn("trimmed events stay until the journal is opened again", "err", err)
	}
	if !more { // by value: opening a new connection has read the list anew
		w.purges = slices.DeleteFunc(w.purges, func(other int64) bool { return other == id })
	}
}

func (w *writer) purgeStream(id, limit int64) (more bool, err error) {
	if err := w.begin(); err != nil {
		return false, err
	}
	upTo, more, err := w.purgeRows(id, limit)
	if err != nil {
		return false, w.rolledBack(err)
	}
	w.st.saveLane.Int(1, w.pos)
	if err := w.st.saveLane.Run(); err != nil {
		return false, w.rolledBack(err)
	}
	s := w.st.purged
	s.Int(1, id)
	s.Int(2, upTo)
	if err := s.Run(); err != nil {
		return false, w.rolledBack(err)
	}
	if err := w.commit(); err != nil {
		return false, w.commitFailed(err)
	}
	return more, nil
}

func (w *writer) purgeRows(id, limit int64) (upTo int64, more bool, err error) {
	s := w.st.purgeState
	s.Int(1, id)
	row, err := s.Step()
	if err != nil || !row {
		return 0, false, err
	}
	purged, trim := s.ColumnInt(0), s.ColumnInt(1)
	s.Reset()
	upTo = min(trim, purged+limit)
	s = w.st.purgeEvents
	s.Int(1, id)
	s.Int(2, upTo)
	return upTo, upTo < trim, s.Run()
}

// pendingPurges finds the streams whose trimmed rows an earlier process left behind.
func pendingPurges(c *lite.Conn) ([]int64, error) {
	s, err := c.Prepare("SELECT stream_id FROM journal_stream WHERE trim_seq > purged_seq")
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var ids []int64
	for {
		row, err := s.Step()
		if err != nil || !row {
			return ids, err
		}
		ids = append(ids, s.ColumnInt(0))
	}
}
