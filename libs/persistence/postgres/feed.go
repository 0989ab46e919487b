package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/parley-rt/parley/libs/persistence"
)

const lanesSQL = `SELECT lane, pos, trim_pos FROM journal_lane ORDER BY lane`

func queryLanes(ctx context.Context, q querier) ([]persistence.LaneHead, error) {
	rows, err := q.Query(ctx, lanesSQL)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (h persistence.LaneHead, err error) {
		err = row.Scan(&h.Lane, &h.Pos, &h.TrimPos)
		return h, err
	})
}

// Lanes implements persistence.Feed.
func (b *Backend) Lanes(ctx context.Context) (heads []persistence.LaneHead, err error) {
	err = b.read(ctx, func(ctx context.Context, q querier) (err error) {
		heads, err = queryLanes(ctx, q)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read lanes: %w", err)
	}
	return heads, nil
}

// laneSQL reads a window of positions: whatever the statistics say of a partition that is a minute old, that is a range of
// one index.
const laneSQL = `
SELECT e.seq, e.epoch, e.at, e.codec, e.message_id, e.manifest, e.meta, e.payload, e.pos, s.stream_key
  FROM journal_event e JOIN journal_stream s ON s.stream_id = e.stream_id
 WHERE e.lane = $1 AND e.pos > $2 AND e.pos <= $3
 ORDER BY e.pos`

// probePrefix begins the keys of streams that are not anybody's.
const probePrefix = "probe/"

// ReadLane implements persistence.Feed.
func (b *Backend) ReadLane(ctx context.Context, lane int16, after uint64, limit int) (events []persistence.FeedEvent, next uint64, err error) {
	if err := persistence.ValidateReadLane(limit); err != nil {
		return nil, 0, fmt.Errorf("read lane %d: %w", lane, err)
	}
	err = b.readConn(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		head, err := queryLane(ctx, c, lane)
		if err != nil {
			return err
		}
		next = after
		if head.Pos <= after {
			return nil
		}
		last := min(after+uint64(limit), head.Pos)
		if events, next, err = readLane(ctx, c, lane, after, last); err != nil {
			return err
		}
		if len(events) == 0 && last < head.Pos {
			// Holes as wide as a page: MarkRestored makes one of a thousand million.
			if next, err = nextInLane(ctx, c, lane, last, head.Pos); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		// A partition that was dropped meanwhile must not look like a hole.
		err = b.read(ctx, func(ctx context.Context, q querier) error {
			head, err := queryLane(ctx, q, lane)
			if err != nil {
				return err
			}
			return checkTrim(head, after)
		})
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read lane %d: %w", lane, err)
	}
	return events, next, nil
}

func checkTrim(head persistence.LaneHead, after uint64) error {
	if after < head.TrimPos {
		return fmt.Errorf("after %d, trimmed up to %d: %w", after, head.TrimPos, persistence.ErrTrimmed)
	}
	return nil
}

func queryLane(ctx context.Context, q querier, lane int16) (h persistence.LaneHead, err error) {
	h.Lane = lane
	err = q.QueryRow(ctx, `SELECT pos, trim_pos FROM journal_lane WHERE lane = $1`, lane).Scan(&h.Pos, &h.TrimPos)
	if errors.Is(err, pgx.ErrNoRows) {
		return h, fmt.Errorf("no lane %d: %w", lane, persistence.ErrInvalid)
	}
	return h, err
}

// readLane reads positions in (after, last] as far as a page may weigh; next is how far it came.
func readLane(ctx context.Context, q querier, lane int16, after, last uint64) (events []persistence.FeedEvent, next uint64, err error) {
	ctx, cut := context.WithCancel(ctx)
	defer cut()
	rows, err := q.Query(ctx, laneSQL, lane, int64(after), int64(last))
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	var p page
	for rows.Next() {
		row := rows.RawValues()
		pos, key := uint64(ordinal(row[8])+1), row[9]
		if len(key) >= len(probePrefix) && string(key[:len(probePrefix)]) == probePrefix {
			next = pos
			continue
		}
		p.events = p.events[:min(len(p.events), 1)] // only whether there was one counts
		if !p.add(row) {
			cut() // the rest is large, and the connection is not worth reading it
			rows.Close()
			return events, next, nil
		}
		events = append(events, persistence.FeedEvent{Event: p.events[len(p.events)-1], Key: persistence.StreamKey(key), Pos: pos})
		next = pos
	}
	return events, last, rows.Err()
}

// nextInLane returns the position before the first event above after, at most limit.
func nextInLane(ctx context.Context, q querier, lane int16, after, limit uint64) (uint64, error) {
	var first *int64
	if err := q.QueryRow(ctx, `SELECT min(pos) FROM journal_event WHERE lane = $1 AND pos > $2`, lane, int64(after)).Scan(&first); err != nil {
		return 0, err
	}
	if first == nil {
		return limit, nil
	}
	return min(uint64(*first)-1, limit), nil
}

// Checkpoints are rewritten by statements that lock one row.
const (
	checkpointColumns = `name, lane, owner, epoch, pos`
	// claimCheckpointSQL locks the lane: a drop of partitions sees the checkpoint, or has raised trim_pos.
	claimCheckpointSQL = `
INSERT INTO journal_checkpoint AS c (name, lane, pos, epoch, owner)
SELECT $1, l.lane, l.trim_pos, 1, $3 FROM journal_lane l WHERE l.lane = $2 FOR UPDATE
ON CONFLICT (name, lane) DO UPDATE SET epoch = c.epoch + 1, owner = excluded.owner, deleted = false,
       pos = CASE WHEN c.deleted THEN excluded.pos ELSE c.pos END
RETURNING ` + checkpointColumns
	saveCheckpointSQL = `
UPDATE journal_checkpoint SET pos = $4 WHERE name = $1 AND lane = $2 AND epoch = $3 AND NOT deleted AND pos <= $4
   AND $4 <= (SELECT l.pos FROM journal_lane l WHERE l.lane = $2)`
	// deleteCheckpointSQL deletes what was read, at those epochs: a statement that comes late does not delete what has been
	// claimed since.
	deleteCheckpointSQL = `
UPDATE journal_checkpoint c SET deleted = true, epoch = c.epoch + 1, owner = '' FROM unnest($2::smallint[], $3::bigint[]) AS r (lane, epoch)
 WHERE c.name = $1 AND c.lane = r.lane AND c.epoch = r.epoch AND NOT c.deleted`
	readCheckpointSQL = `SELECT ` + checkpointColumns + ` FROM journal_checkpoint WHERE name = $1 AND lane = $2 AND NOT deleted`
)

func scanCheckpoint(row pgx.Row) (c persistence.Checkpoint, err error) {
	err = row.Scan(&c.Name, &c.Lane, &c.Owner, &c.Epoch, &c.Pos)
	return c, err
}

// ClaimCheckpoint implements persistence.Feed.
func (b *Backend) ClaimCheckpoint(ctx context.Context, name string, lane int16, owner string) (cp persistence.Checkpoint, err error) {
	if err := persistence.ValidateCheckpoint(name, owner); err != nil {
		return cp, fmt.Errorf("claim checkpoint: %w", err)
	}
	err = b.urgent(ctx, func(ctx context.Context, c *conn) (err error) {
		cp, err = scanCheckpoint(c.QueryRow(ctx, claimCheckpointSQL, name, lane, owner))
		if errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("no lane %d: %w", lane, persistence.ErrInvalid)
		}
		return err
	})
	if err != nil {
		return persistence.Checkpoint{}, fmt.Errorf("claim checkpoint %s of lane %d: %w", name, lane, err)
	}
	return cp, nil
}

// SaveCheckpoint implements persistence.Feed.
func (b *Backend) SaveCheckpoint(ctx context.Context, cp persistence.Checkpoint, pos uint64) error {
	if err := persistence.ValidateCheckpoint(cp.Name, cp.Owner); err != nil {
		return fmt.Errorf("save checkpoint: %w", err)
	}
	err := b.urgent(ctx, func(ctx context.Context, c *conn) error {
		tag, err := c.Exec(ctx, saveCheckpointSQL, cp.Name, cp.Lane, int64(cp.Epoch), int64(pos))
		if err != nil || tag.RowsAffected() > 0 {
			return err
		}
		stored, err := scanCheckpoint(c.QueryRow(ctx, readCheckpointSQL, cp.Name, cp.Lane))
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return fmt.Errorf("it was deleted: %w", persistence.ErrFenced)
		case err != nil:
			return err
		case stored.Epoch != cp.Epoch:
			return fmt.Errorf("claimed by %q at epoch %d: %w", stored.Owner, stored.Epoch, persistence.ErrFenced)
		}
		return fmt.Errorf("position %d, stored is %d: %w", pos, stored.Pos, persistence.ErrConflict)
	})
	if err != nil {
		return fmt.Errorf("save checkpoint %s of lane %d: %w", cp.Name, cp.Lane, err)
	}
	return nil
}

// DeleteCheckpoint implements persistence.Feed.
func (b *Backend) DeleteCheckpoint(ctx context.Context, name string) error {
	if err := persistence.ValidateCheckpointName(name); err != nil {
		return fmt.Errorf("delete checkpoint: %w", err)
	}
	err := b.urgent(ctx, func(ctx context.Context, c *conn) error {
		lanes, epochs, err := checkpointEpochs(ctx, c, name)
		if err != nil {
			return err
		}
		_, err = c.Exec(ctx, deleteCheckpointSQL, name, lanes, epochs)
		return err
	})
	if err != nil {
		return fmt.Errorf("delete checkpoint %s: %w", name, err)
	}
	return nil
}

func checkpointEpochs(ctx context.Context, q querier, name string) (lanes []int16, epochs []int64, err error) {
	rows, err := q.Query(ctx, `SELECT lane, epoch FROM journal_checkpoint WHERE name = $1 AND NOT deleted`, name)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var lane int16
		var epoch int64
		if err := rows.Scan(&lane, &epoch); err != nil {
			return nil, nil, err
		}
		lanes, epochs = append(lanes, lane), append(epochs, epoch)
	}
	return lanes, epochs, rows.Err()
}

// Checkpoints implements persistence.Feed.
func (b *Backend) Checkpoints(ctx context.Context) (list []persistence.Checkpoint, err error) {
	err = b.read(ctx, func(ctx context.Context, q querier) error {
		rows, err := q.Query(ctx, `SELECT `+checkpointColumns+` FROM journal_checkpoint WHERE NOT deleted ORDER BY name, lane`)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (persistence.Checkpoint, error) { return scanCheckpoint(row) })
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read checkpoints: %w", err)
	}
	return list, nil
}
