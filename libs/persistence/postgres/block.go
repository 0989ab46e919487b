package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/parley-rt/parley/libs/persistence"
)

const blockColumns = `member, reason, by, at, until, revision`

// blockMemberSQL also removes blocks that have ended: nobody else does. Whoever gets a revision holds its row until the commit, so
// that nobody sees a higher one before.
const blockMemberSQL = `
WITH next AS (UPDATE block_revision SET revision = revision + 1 RETURNING revision),
     ended AS (DELETE FROM blocked_member WHERE until <= statement_timestamp() AND member <> $1)
INSERT INTO blocked_member (` + blockColumns + `)
SELECT $1, $2, $3, statement_timestamp(), statement_timestamp() + $4, revision FROM next
ON CONFLICT (member) DO UPDATE SET reason = excluded.reason, by = excluded.by, at = excluded.at, until = excluded.until,
  revision = excluded.revision
RETURNING ` + blockColumns

// BlockMember implements persistence.BlockStore.
func (b *Backend) BlockMember(ctx context.Context, member string, lasting time.Duration, reason, by string) (block persistence.Block, err error) {
	if err = persistence.ValidateBlock(member, lasting, reason, by); err == nil {
		var lasts *time.Duration
		if lasting > 0 {
			lasts = &lasting
		}
		err = b.single(ctx, func(ctx context.Context, c *conn) error {
			block, err = scanBlock(c.QueryRow(ctx, blockMemberSQL, member, reason, by, lasts))
			return err
		})
	}
	if err != nil {
		return persistence.Block{}, fmt.Errorf("block member: %w", err)
	}
	return block, nil
}

func scanBlock(row pgx.Row) (b persistence.Block, err error) {
	var until *time.Time
	err = row.Scan(&b.Member, &b.Reason, &b.By, &b.At, &until, &b.Revision)
	b.At = b.At.UTC()
	if until != nil {
		b.Until = until.UTC()
	}
	return b, err
}

const unblockMemberSQL = `
WITH gone AS (DELETE FROM blocked_member WHERE member = $1 RETURNING until)
SELECT count(*) > 0 FROM gone WHERE until IS NULL OR until > statement_timestamp()`

// UnblockMember implements persistence.BlockStore.
func (b *Backend) UnblockMember(ctx context.Context, member string) (was bool, err error) {
	if err = persistence.ValidateMember(member); err == nil {
		// What a first attempt whose answer was lost has removed, it has removed.
		err = b.single(ctx, func(ctx context.Context, c *conn) error {
			var removed bool
			err := c.QueryRow(ctx, unblockMemberSQL, member).Scan(&removed)
			was = was || removed
			return err
		})
	}
	if err != nil {
		return false, fmt.Errorf("unblock member: %w", err)
	}
	return was, nil
}

const blockInForce = ` FROM blocked_member WHERE (until IS NULL OR until > statement_timestamp()) `

// BlockOf implements persistence.BlockStore.
func (b *Backend) BlockOf(ctx context.Context, member string) (*persistence.Block, error) {
	err := persistence.ValidateMember(member)
	var blocks []persistence.Block
	if err == nil {
		blocks, err = b.blocks(ctx, `SELECT `+blockColumns+blockInForce+`AND member = $1`, member)
	}
	if err != nil {
		return nil, fmt.Errorf("look for block of member: %w", err)
	}
	if len(blocks) == 0 {
		return nil, nil
	}
	return &blocks[0], nil
}

func (b *Backend) blocks(ctx context.Context, sql string, args ...any) (blocks []persistence.Block, err error) {
	err = b.readConn(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		blocks, err = queryBlocks(ctx, c, sql, args...)
		return err
	})
	return blocks, err
}

func queryBlocks(ctx context.Context, c *pgxpool.Conn, sql string, args ...any) ([]persistence.Block, error) {
	rows, err := c.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (persistence.Block, error) { return scanBlock(row) })
}

// ListBlocks implements persistence.BlockStore.
func (b *Backend) ListBlocks(ctx context.Context, after string, limit int) (blocks []persistence.Block, err error) {
	if err = persistence.ValidateReadLane(limit); err == nil {
		blocks, err = b.blocks(ctx, `SELECT `+blockColumns+blockInForce+`AND member > $1 ORDER BY member LIMIT $2`, after, limit)
	}
	if err != nil {
		return nil, fmt.Errorf("list blocks: %w", err)
	}
	return blocks, nil
}

// BlocksSince implements persistence.BlockStore. The newest revision is read first: one that is stored in between is told the
// next time, or now.
func (b *Backend) BlocksSince(ctx context.Context, since uint64, limit int) (blocks []persistence.Block, newest uint64, err error) {
	if err = persistence.ValidateReadLane(limit); err == nil {
		err = b.readConn(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
			blocks = nil
			if err := c.QueryRow(ctx, `SELECT revision FROM block_revision`).Scan(&newest); err != nil || newest <= since {
				return err
			}
			blocks, err = queryBlocks(ctx, c, `SELECT `+blockColumns+blockInForce+`AND revision > $1 ORDER BY revision LIMIT $2`, int64(since), limit)
			return err
		})
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read blocks: %w", err)
	}
	return blocks, newest, nil
}
