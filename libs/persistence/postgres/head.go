package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/parley-rt/parley/libs/persistence"
)

// querier is what reads need of a connection or a pool.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

const headColumns = `stream_key, stream_id, epoch, incarnation, last_seq, snap_seq, trim_seq, owner, claimed_at, snap_part`

func scanHead(row pgx.Row) (h persistence.Head, err error) {
	err = row.Scan(&h.Key, &h.StreamID, &h.Epoch, &h.Incarnation, &h.LastSeq, &h.SnapSeq, &h.TrimSeq, &h.Owner, &h.ClaimedAt, &h.SnapPart)
	h.ClaimedAt = h.ClaimedAt.UTC()
	return h, err
}

// queryHeads returns the heads of the streams that exist.
func queryHeads(ctx context.Context, q querier, keys []string) (map[persistence.StreamKey]persistence.Head, error) {
	rows, err := q.Query(ctx, `SELECT `+headColumns+` FROM journal_stream WHERE stream_key = ANY ($1)`, keys)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	heads := make(map[persistence.StreamKey]persistence.Head, len(keys))
	for rows.Next() {
		h, err := scanHead(rows)
		if err != nil {
			return nil, err
		}
		heads[h.Key] = h
	}
	return heads, rows.Err()
}

// lost tells the holder of c why a conditional update did not find its stream; conflict is the answer when it still holds
// the stream.
func lost(ctx context.Context, q querier, c persistence.Claim, conflict func(persistence.Head) error) error {
	h, err := scanHead(q.QueryRow(ctx, `SELECT `+headColumns+` FROM journal_stream WHERE stream_id = $1`, c.StreamID))
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return fmt.Errorf("claim is of another journal, this one has no stream %d: %w", c.StreamID, persistence.ErrInvalid)
	case err != nil:
		return err
	case h.Epoch != c.Epoch:
		return &persistence.FencedError{Key: c.Key, MyEpoch: c.Epoch, Epoch: h.Epoch, Owner: h.Owner, LastSeq: h.LastSeq}
	}
	return conflict(h)
}

// Head implements persistence.Journal.
func (b *Backend) Head(ctx context.Context, key persistence.StreamKey) (persistence.Head, error) {
	if err := key.Validate(); err != nil {
		return persistence.Head{}, fmt.Errorf("head of stream: %w", err)
	}
	h := persistence.Head{Key: key}
	err := b.read(ctx, func(ctx context.Context, q querier) (err error) {
		found, err := scanHead(q.QueryRow(ctx, `SELECT `+headColumns+` FROM journal_stream WHERE stream_key = $1`, string(key)))
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		h = found
		return err
	})
	if err != nil {
		return persistence.Head{}, fmt.Errorf("head of stream %s: %w", key, err)
	}
	return h, nil
}
