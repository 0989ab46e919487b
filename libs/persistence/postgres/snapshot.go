package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/parley-rt/parley/libs/persistence"
)

// snapshotSQL stores a snapshot while the claim holds. It counts 0 when the claim was lost or a newer one is stored. $1 stream,
// $2 epoch, $3 seq, $4 codec, $5 manifest, $6 meta, $7 payload.
const snapshotSQL = `
WITH h AS (
  UPDATE journal_stream s
     SET snap_seq = $3, snap_part = coalesce((SELECT e.part FROM journal_event e WHERE e.stream_id = $1 AND e.seq = $3 AND e.part >= s.snap_part), s.last_part)
   WHERE s.stream_id = $1 AND s.epoch = $2 AND s.last_seq >= $3 AND s.snap_seq < $3
  RETURNING s.stream_id),
i AS (
  INSERT INTO journal_snapshot (stream_id, seq, epoch, codec, manifest, meta, payload)
  SELECT $1, $3, $2, $4, $5, $6, $7 FROM h)
SELECT count(*) FROM h`

// dropSnapshotsSQL keeps the newest two at or below $2. It goes with snapshotSQL, in its transaction.
const dropSnapshotsSQL = `
DELETE FROM journal_snapshot n WHERE n.stream_id = $1
   AND n.seq < (SELECT max(o.seq) FROM journal_snapshot o WHERE o.stream_id = $1 AND o.seq < $2)
   AND EXISTS (SELECT 1 FROM journal_snapshot o WHERE o.stream_id = $1 AND o.seq = $2)`

// snapshotAgainSQL finds the snapshot that an attempt before stored whose answer was lost: a claim saves one at a time. It is
// a write, so that its own commit is not answered before that one is as durable as an answer says. $1 stream, $2 epoch, $3 seq.
const snapshotAgainSQL = `UPDATE journal_stream SET snap_seq = $3 WHERE stream_id = $1 AND epoch = $2 AND snap_seq = $3`

// SaveSnapshot implements persistence.Journal.
func (b *Backend) SaveSnapshot(ctx context.Context, c persistence.Claim, s persistence.Snapshot) error {
	if err := persistence.ValidateSnapshot(c, s); err != nil {
		return fmt.Errorf("save snapshot of stream %s: %w", c.Key, err)
	}
	tries := 0
	err := b.single(ctx, func(ctx context.Context, conn *conn) error {
		tries++
		if stored, err := saveSnapshot(ctx, conn, c, s); err != nil || stored {
			return err
		}
		if tries > 1 {
			tag, err := conn.Exec(ctx, snapshotAgainSQL, c.StreamID, int64(c.Epoch), int64(s.Seq))
			if err != nil || tag.RowsAffected() > 0 {
				return err
			}
		}
		return lost(ctx, conn, c, func(h persistence.Head) error {
			if s.Seq > h.LastSeq {
				return fmt.Errorf("snapshot at %d, head is %d: %w", s.Seq, h.LastSeq, persistence.ErrInvalid)
			}
			return fmt.Errorf("snapshot at %d, stored is %d: %w", s.Seq, h.SnapSeq, persistence.ErrStaleSnapshot)
		})
	})
	if err != nil {
		if errors.Is(err, persistence.ErrFenced) {
			b.metrics.Refused(ctx, err)
		}
		return fmt.Errorf("save snapshot of stream %s: %w", c.Key, err)
	}
	return nil
}

// saveSnapshot stores the snapshot and drops those that are two older, in one round trip.
func saveSnapshot(ctx context.Context, conn *conn, c persistence.Claim, s persistence.Snapshot) (stored bool, err error) {
	var batch pgx.Batch
	batch.Queue(snapshotSQL, c.StreamID, int64(c.Epoch), int64(s.Seq), int16(s.Codec), s.Manifest, orNull(s.Meta), notNull(s.Payload)).
		QueryRow(func(row pgx.Row) error {
			var n int
			err := row.Scan(&n)
			stored = n > 0
			return err
		})
	batch.Queue(dropSnapshotsSQL, c.StreamID, int64(s.Seq))
	err = conn.SendBatch(ctx, &batch).Close()
	return stored, err
}

const trimSQL = `
UPDATE journal_stream SET trim_seq = greatest(trim_seq, $3) WHERE stream_id = $1 AND epoch = $2 AND snap_seq >= $3`

// Trim implements persistence.Journal. The rows go with their partition.
func (b *Backend) Trim(ctx context.Context, c persistence.Claim, upTo uint64) error {
	if err := c.Validate(); err != nil {
		return fmt.Errorf("trim stream: %w", err)
	}
	err := b.single(ctx, func(ctx context.Context, conn *conn) error {
		tag, err := conn.Exec(ctx, trimSQL, c.StreamID, int64(c.Epoch), int64(upTo))
		if err != nil || tag.RowsAffected() > 0 {
			return err
		}
		return lost(ctx, conn, c, func(h persistence.Head) error {
			return fmt.Errorf("trim up to %d, newest snapshot is %d: %w", upTo, h.SnapSeq, persistence.ErrConflict)
		})
	})
	if err != nil {
		return fmt.Errorf("trim stream %s: %w", c.Key, err)
	}
	return nil
}

// orNull stores empty meta as NULL, notNull an empty payload as empty.
func orNull(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
}

func notNull(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
