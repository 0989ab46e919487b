package sqlite

import (
	"context"
	"fmt"

	"github.com/parley-rt/parley/libs/persistence"
)

// recoverEvents bounds the first page of a recovery, beside MaxReadBytes.
const recoverEvents = 1000

// Recover implements persistence.Journal.
func (b *Backend) Recover(ctx context.Context, c persistence.Claim) (rec persistence.Recovery, err error) {
	if err := c.Validate(); err != nil {
		return rec, fmt.Errorf("recover stream: %w", err)
	}
	if err := b.read(ctx, func(r *reader) error {
		rec, err = r.recovery(ctx, c)
		return err
	}); err != nil {
		return persistence.Recovery{}, fmt.Errorf("recover stream %s: %w", c.Key, err)
	}
	return rec, nil
}

func (r *reader) recovery(ctx context.Context, c persistence.Claim) (rec persistence.Recovery, err error) {
	h, err := r.head(c.Key)
	if err != nil {
		return rec, err
	}
	if h.StreamID != c.StreamID || h.LastSeq < c.LastSeq {
		return rec, fmt.Errorf("stream %d ends at %d, claimed was %d up to %d: %w",
			h.StreamID, h.LastSeq, c.StreamID, c.LastSeq, persistence.ErrCorrupt)
	}
	if rec.Snapshot, rec.Previous, err = r.snapshots(c); err != nil {
		return rec, err
	}
	first := rec.Snapshot.Seq + 1
	if first > c.LastSeq {
		return rec, nil
	}
	if first <= h.TrimSeq {
		return rec, fmt.Errorf("from %d, trimmed up to %d: %w", first, h.TrimSeq, persistence.ErrTrimmed)
	}
	last := min(c.LastSeq, rec.Snapshot.Seq+recoverEvents)
	var full bool
	if rec.Tail, full, err = r.events(ctx, r.st.events, c.StreamID, first, last); err != nil {
		return rec, err
	}
	if full {
		last = rec.Tail[len(rec.Tail)-1].Seq
	}
	rec.More = last < c.LastSeq
	return rec, checkRun(rec.Tail, first, last)
}

// snapshots returns the newest two at or below the claim's head.
func (r *reader) snapshots(c persistence.Claim) (newest, previous persistence.Snapshot, err error) {
	s := r.st.snapshots
	s.Int(1, c.StreamID)
	s.Int(2, int64(c.LastSeq))
	defer s.Reset()
	for _, to := range []*persistence.Snapshot{&newest, &previous} {
		row, err := s.Step()
		if err != nil || !row {
			return newest, previous, err
		}
		*to = persistence.Snapshot{
			Seq:      uint64(s.ColumnInt(0)),
			Epoch:    uint64(s.ColumnInt(1)),
			At:       fromNanos(s.ColumnInt(2)),
			Codec:    persistence.Codec(s.ColumnInt(3)),
			Manifest: s.ColumnText(4),
			Meta:     s.ColumnBlob(5),
			Payload:  s.ColumnBlob(6),
		}
	}
	return newest, previous, nil
}
