package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/parley-rt/parley/libs/persistence"
)

// maintain runs fn alone among all that maintain this schema, on a connection of its own without the short timeouts of
// writers. Whatever fn does it must be able to do again: when the connection breaks, or ctx ends, the outcome of what was
// under way is unknown.
func (b *Backend) maintain(ctx context.Context, fn func(context.Context, *conn) error) error {
	if err := b.refuses(ctx); err != nil {
		return err
	}
	c, err := b.connectWriter(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", persistence.ErrUnavailable, err)
	}
	defer b.farewell(c)
	defer context.AfterFunc(ctx, c.cut)()
	defer context.AfterFunc(b.lifetime, c.cut)()
	free := context.WithoutCancel(ctx)
	doubtful := c.doubtful.Load()
	_, err = c.Exec(free, `RESET enable_seqscan; RESET enable_hashjoin; RESET enable_mergejoin; RESET plan_cache_mode; SET lock_timeout = '1min'`)
	if err == nil {
		_, err = c.Exec(free, guardSQL)
	}
	if err != nil {
		return fmt.Errorf("wait for others that maintain the journal: %w: %w", persistence.ErrUnavailable, errors.Join(ctx.Err(), err))
	}
	err = fn(free, c)
	switch {
	case err == nil && c.doubtful.Load() != doubtful:
		return fmt.Errorf("%w: %w", persistence.ErrUnknown, errDoubtful)
	case err == nil || isAnswer(err):
		return err
	case judge(err) == unknown:
		return fmt.Errorf("%w: %w", persistence.ErrUnknown, errors.Join(ctx.Err(), err))
	}
	return fmt.Errorf("%w: %w", persistence.ErrUnavailable, err)
}

func partitionName(part int32) string { return partitionPrefix + strconv.Itoa(int(part)) }

const partitionPrefix = "journal_event_p"

// Rotate implements persistence.Maintenance. Attaching a table does not block appends, as creating a partition would; and
// events go to it only after it is there.
func (b *Backend) Rotate(ctx context.Context, part int32) error {
	if err := persistence.ValidatePart(part); err != nil {
		return fmt.Errorf("rotate: %w", err)
	}
	err := b.maintain(ctx, func(ctx context.Context, c *conn) error {
		current, err := currentPart(ctx, c)
		if err != nil || part <= current {
			return err
		}
		if err := addPartition(ctx, c, current, part); err != nil {
			return err
		}
		_, err = c.Exec(ctx, `
			WITH lk AS MATERIALIZED (SELECT lane FROM journal_lane ORDER BY lane FOR UPDATE)
			UPDATE journal_lane SET part = $1 WHERE part < $1 AND (SELECT count(*) FROM lk) > 0`, part)
		return err
	})
	if err != nil {
		return fmt.Errorf("rotate to partition %d: %w", part, err)
	}
	return nil
}

// addPartition attaches the partition part, in a transaction of its own: a statement that began before it must not send
// events there. What earlier calls left that came only thus far is used, or dropped: nothing was written to it, and its number
// would say that events of the partition before it end there.
func addPartition(ctx context.Context, c *conn, current, part int32) error {
	tables, err := queryTables(ctx, c)
	if err != nil {
		return err
	}
	ready := false
	for _, t := range tables {
		switch {
		case t.Part == part && t.attached && !t.detaching:
			ready = true
		case t.Part > current && t.attached:
			if err := dropPartition(ctx, c, t); err != nil {
				return fmt.Errorf("drop partition %d, which an interrupted rotation left: %w", t.Part, err)
			}
		}
	}
	if ready {
		return nil
	}
	name := partitionName(part)
	err = pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		for _, sql := range []string{
			`CREATE TABLE IF NOT EXISTS ` + name + ` (LIKE journal_event INCLUDING DEFAULTS INCLUDING STORAGE INCLUDING CONSTRAINTS)`,
			fmt.Sprintf(`ALTER TABLE journal_event ATTACH PARTITION %s FOR VALUES FROM (%d) TO (%d)`, name, part, part+1),
		} {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("create partition %d: %w", part, err)
	}
	return nil
}

func currentPart(ctx context.Context, q querier) (part int32, err error) {
	err = q.QueryRow(ctx, `SELECT min(part) FROM journal_lane`).Scan(&part)
	return part, err
}

// tablesSQL lists the tables of partitions, also those that were left over between detach and drop.
const tablesSQL = `
SELECT c.relname, greatest(c.reltuples, 0)::bigint, pg_total_relation_size(c.oid), i.inhrelid IS NOT NULL, coalesce(i.inhdetachpending, false)
  FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
 WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace AND c.relname ~ '^journal_event_p[0-9]+$'`

type table struct {
	persistence.Partition
	attached, detaching bool
}

func queryTables(ctx context.Context, q querier) (tables []table, err error) {
	rows, err := q.Query(ctx, tablesSQL)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var t table
		var name string
		if err := rows.Scan(&name, &t.Rows, &t.Bytes, &t.attached, &t.detaching); err != nil {
			return nil, err
		}
		part, err := strconv.ParseInt(strings.TrimPrefix(name, partitionPrefix), 10, 32)
		if err != nil {
			continue // somebody's own table
		}
		t.Part = int32(part)
		tables = append(tables, t)
	}
	slices.SortFunc(tables, func(a, b table) int { return int(a.Part) - int(b.Part) })
	return tables, rows.Err()
}

// Partitions implements persistence.Maintenance.
func (b *Backend) Partitions(ctx context.Context) (list []persistence.Partition, err error) {
	err = b.read(ctx, func(ctx context.Context, q querier) error {
		tables, err := queryTables(ctx, q)
		if err != nil {
			return err
		}
		current, err := currentPart(ctx, q)
		for _, t := range tables {
			if t.attached && !t.detaching {
				t.Current = t.Part == current
				list = append(list, t.Partition)
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list partitions: %w", err)
	}
	return list, nil
}

// DropPartitions implements persistence.Maintenance.
func (b *Backend) DropPartitions(ctx context.Context, upTo int32) (dropped []int32, err error) {
	err = b.maintain(ctx, func(ctx context.Context, c *conn) error {
		current, err := currentPart(ctx, c)
		if err != nil {
			return err
		}
		if upTo >= current {
			return fmt.Errorf("partition %d, new events go to %d: %w", upTo, current, persistence.ErrConflict)
		}
		tables, err := queryTables(ctx, c)
		if err != nil {
			return err
		}
		for _, t := range tables {
			if t.Part > upTo {
				break
			}
			if err := dropPartition(ctx, c, t); err != nil {
				return fmt.Errorf("partition %d: %w", t.Part, err)
			}
			dropped = append(dropped, t.Part)
		}
		return nil
	})
	if err != nil {
		return dropped, fmt.Errorf("drop partitions up to %d: %w", upTo, err)
	}
	return dropped, nil
}

// dropPartition goes as far as it must: an earlier call may have been interrupted anywhere.
func dropPartition(ctx context.Context, c *conn, t table) error {
	name := partitionName(t.Part)
	if t.attached && !t.detaching {
		if err := trimPartition(ctx, c, t.Part); err != nil {
			return err
		}
		// CONCURRENTLY: appends and reads go on; it waits for those that saw the partition.
		if _, err := c.Exec(ctx, `ALTER TABLE journal_event DETACH PARTITION `+name+` CONCURRENTLY`); err != nil {
			return err
		}
	}
	if t.detaching {
		if _, err := c.Exec(ctx, `ALTER TABLE journal_event DETACH PARTITION `+name+` FINALIZE`); err != nil {
			return err
		}
	}
	_, err := c.Exec(ctx, `DROP TABLE `+name)
	return err
}

// blockedNames is how many streams a *BlockedError names.
const blockedNames = 10

const (
	blockedStreamsSQL = `
WITH b AS MATERIALIZED (
  SELECT h.stream_key FROM (SELECT stream_id, max(seq) AS last FROM journal_event WHERE part = $1 GROUP BY 1) x
    JOIN journal_stream h USING (stream_id) WHERE h.snap_seq < x.last)
SELECT (SELECT count(*) FROM b), coalesce((SELECT array_agg(k.stream_key) FROM (SELECT stream_key FROM b ORDER BY 1 LIMIT $2) k), '{}')`
	blockedCheckpointsSQL = `
SELECT coalesce(array_agg(DISTINCT c.name ORDER BY c.name), '{}') FROM journal_checkpoint c
  JOIN unnest($1::smallint[], $2::bigint[]) AS x (lane, last) USING (lane)
 WHERE NOT c.deleted AND c.pos < x.last`
)

// checkBlockers returns a *BlockedError that tells of everybody who needs the partition, whose last positions are ends.
func checkBlockers(ctx context.Context, q querier, part int32, ends laneEnds) error {
	blocked := &persistence.BlockedError{Part: part}
	if err := q.QueryRow(ctx, blockedStreamsSQL, part, blockedNames).Scan(&blocked.Streams, &blocked.Keys); err != nil {
		return err
	}
	if err := q.QueryRow(ctx, blockedCheckpointsSQL, ends.lanes, ends.last).Scan(&blocked.Checkpoints); err != nil {
		return err
	}
	if blocked.Streams > 0 || len(blocked.Checkpoints) > 0 {
		return blocked
	}
	return nil
}

// laneEnds are the last positions that a partition's events were given, of the lanes it has events of. They are final: it is
// not the current one.
type laneEnds struct {
	lanes []int16
	last  []int64
}

func queryEnds(ctx context.Context, q querier, part int32) (ends laneEnds, err error) {
	err = q.QueryRow(ctx, `
		SELECT coalesce(array_agg(x.lane), '{}'), coalesce(array_agg(x.last), '{}')
		  FROM (SELECT lane, max(pos) AS last FROM journal_event WHERE part = $1 GROUP BY 1) x`, part).Scan(&ends.lanes, &ends.last)
	return ends, err
}

// trimChunk is how many streams are trimmed by one statement, which holds their lane.
const trimChunk = 500

const (
	lockLanesSQL = `SELECT lane FROM journal_lane ORDER BY lane FOR UPDATE`
	trimLanesSQL = `
UPDATE journal_lane l SET trim_pos = greatest(l.trim_pos, x.last) FROM unnest($1::smallint[], $2::bigint[]) AS x (lane, last) WHERE x.lane = l.lane`
	partStreamsSQL = `
SELECT stream_id, max(seq) FROM journal_event WHERE part = $1 AND stream_id > $2 GROUP BY 1 ORDER BY 1 LIMIT $3`
	trimStreamsSQL = `
WITH lk AS MATERIALIZED (
  SELECT lane FROM journal_lane WHERE lane IN (SELECT h.lane FROM journal_stream h WHERE h.stream_id = ANY ($1)) ORDER BY lane FOR UPDATE)
UPDATE journal_stream h SET trim_seq = greatest(h.trim_seq, x.last) FROM unnest($1::bigint[], $2::bigint[]) AS x (stream_id, last)
 WHERE h.stream_id = x.stream_id AND (SELECT count(*) FROM lk) > 0`
)

// trimPartition declares the partition's events gone, before they are, unless somebody needs them. It locks lanes before
// heads, as appends do.
func trimPartition(ctx context.Context, c *conn, part int32) error {
	ends, err := queryEnds(ctx, c, part)
	if err != nil {
		return err
	}
	if err := checkBlockers(ctx, c, part, ends); err != nil {
		return err
	}
	if err := trimLanes(ctx, c, part, ends); err != nil {
		return err
	}
	for after := int64(0); ; {
		ids, seqs, err := partStreams(ctx, c, part, after)
		if err != nil || len(ids) == 0 {
			return err
		}
		if _, err := c.Exec(ctx, trimStreamsSQL, ids, seqs); err != nil {
			return err
		}
		after = ids[len(ids)-1]
	}
}

// trimLanes raises the lanes' TrimPos. Checkpoints come and go, unlike streams that need the partition, so they are looked at
// again under the lanes' locks: who claims one takes its lane's, and is seen here or begins at the new TrimPos. Each statement
// has to see what was committed before it had the locks, whatever the server's default level is.
func trimLanes(ctx context.Context, c *conn, part int32, ends laneEnds) error {
	return pgx.BeginTxFunc(ctx, c, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockLanesSQL); err != nil {
			return err
		}
		blocked := &persistence.BlockedError{Part: part}
		if err := tx.QueryRow(ctx, blockedCheckpointsSQL, ends.lanes, ends.last).Scan(&blocked.Checkpoints); err != nil {
			return err
		}
		if len(blocked.Checkpoints) > 0 {
			return blocked
		}
		_, err := tx.Exec(ctx, trimLanesSQL, ends.lanes, ends.last)
		return err
	})
}

func partStreams(ctx context.Context, q querier, part int32, after int64) (ids, seqs []int64, err error) {
	rows, err := q.Query(ctx, partStreamsSQL, part, after, trimChunk)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id, seq int64
		if err := rows.Scan(&id, &seq); err != nil {
			return nil, nil, err
		}
		ids, seqs = append(ids, id), append(seqs, seq)
	}
	return ids, seqs, rows.Err()
}

// restoredSQL leaves nothing behind that the journal may have given out after the moment it was put back to: positions,
// epochs and the ids of streams go on so far above that what was lost cannot have reached them.
var restoredSQL = strings.NewReplacer("GAP", strconv.Itoa(persistence.RestoreGap)).Replace(`
UPDATE journal_lane SET pos = pos + GAP;
UPDATE lease SET epoch = epoch + GAP, owner = '', expires_at = 'epoch';
UPDATE journal_checkpoint SET epoch = epoch + GAP, owner = '';
SELECT setval(pg_get_serial_sequence('journal_stream', 'stream_id'), nextval(pg_get_serial_sequence('journal_stream', 'stream_id')) + GAP);
UPDATE journal_stream s SET epoch = s.epoch + GAP, owner = '', prev_owner = '', claim_pos = l.pos, claimed_at = clock_timestamp(),
       incarnation = ('x' || left(replace(gen_random_uuid()::text, '-', ''), 16))::bit(64)::bigint & 9223372036854775807
  FROM journal_lane l WHERE l.lane = s.lane`)

// MarkRestored implements persistence.Maintenance.
func (b *Backend) MarkRestored(ctx context.Context) (streams int64, err error) {
	err = b.maintain(ctx, func(ctx context.Context, c *conn) error {
		return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, restoredSQL); err != nil { // without arguments: several statements at once
				return err
			}
			return tx.QueryRow(ctx, `SELECT count(*) FROM journal_stream WHERE stream_key !~ '^probe/'`).Scan(&streams)
		})
	})
	if err != nil {
		return 0, fmt.Errorf("mark the journal as restored: %w", err)
	}
	b.log.Info("journal marked as restored", "streams", streams)
	return streams, nil
}
