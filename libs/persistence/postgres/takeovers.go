package postgres

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/parley-rt/parley/libs/persistence"
)

// Claims take positions in their lane, whose lock they hold until they have committed: so below a lane's position no claim
// can appear later, and the positions of all lanes are a mark. Positions first, claims after: what is claimed in between is
// listed twice.
const (
	takeoversSQL = `
SELECT s.stream_key, s.epoch, s.owner FROM unnest($1::smallint[], $2::bigint[]) AS c (lane, pos)
  JOIN journal_stream s ON s.lane = c.lane AND s.claim_pos > c.pos
 WHERE s.owner <> $3 AND s.stream_key !~ '^probe/'`
	firstTakeoversSQL = `
SELECT s.stream_key, s.epoch, s.owner FROM journal_stream s
 WHERE s.claimed_at > clock_timestamp() - interval '1 minute' AND s.owner <> $1 AND s.stream_key !~ '^probe/'`
)

// Takeovers implements persistence.Journal.
func (b *Backend) Takeovers(ctx context.Context, owner string, since persistence.Mark) (list []persistence.Takeover, next persistence.Mark, err error) {
	lanes, positions, err := parseMark(since)
	if err == nil {
		err = b.readConn(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
			heads, err := queryLanes(ctx, c)
			if err != nil {
				return err
			}
			sql, args := takeoversSQL, []any{lanes, positions, owner}
			if since == (persistence.Mark{}) {
				sql, args = firstTakeoversSQL, []any{owner}
			}
			rows, err := c.Query(ctx, sql, args...)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var t persistence.Takeover
				if err := rows.Scan(&t.Key, &t.Epoch, &t.Owner); err != nil {
					return err
				}
				list = append(list, t)
			}
			next = formatMark(heads)
			return rows.Err()
		})
	}
	if err != nil {
		return nil, since, fmt.Errorf("list takeovers: %w", err)
	}
	return list, next, nil
}

// formatMark writes the lanes' positions as "0:17 1:4".
func formatMark(heads []persistence.LaneHead) persistence.Mark {
	var s strings.Builder
	for _, h := range heads {
		_, _ = fmt.Fprintf(&s, "%d:%d ", h.Lane, h.Pos)
	}
	return persistence.NewMark(strings.TrimSuffix(s.String(), " "))
}

func parseMark(m persistence.Mark) (lanes []int16, positions []int64, err error) {
	for _, part := range strings.Fields(m.Value()) {
		lane, pos, _ := strings.Cut(part, ":")
		l, err := strconv.ParseInt(lane, 10, 16)
		if err != nil {
			return nil, nil, fmt.Errorf("mark %q is of another backend: %w", m.Value(), persistence.ErrInvalid)
		}
		p, err := strconv.ParseInt(pos, 10, 64)
		if err != nil {
			return nil, nil, fmt.Errorf("mark %q is of another backend: %w", m.Value(), persistence.ErrInvalid)
		}
		lanes, positions = append(lanes, int16(l)), append(positions, p)
	}
	return lanes, positions, nil
}
