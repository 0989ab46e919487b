package postgres_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/postgres"
	"github.com/parley-rt/parley/libs/persistence/postgres/benchtest"
)

const (
	longEvents = 100_000
	longParts  = 30
	longTail   = 500
	longKey    = "room/0"
)

// longStream fills a journal with one stream of many partitions and snapshots.
func longStream(b *testing.B, journal *postgres.Backend) {
	b.Helper()
	const every = 1000
	s := claimStreams(b, journal, "room", 1, every/2)[0]
	for s.head < longEvents {
		require.NoError(b, journal.Rotate(b.Context(), int32(s.head*longParts/longEvents)))
		require.NoError(b, s.appendTo(journal))
		if (s.head+longTail)%every == 0 {
			snap := persistence.Snapshot{Seq: s.head, Manifest: benchManifest, Payload: make([]byte, 2048)}
			require.NoError(b, journal.SaveSnapshot(b.Context(), s.claim, snap))
		}
	}
}

// recoverLong: a room with a long history comes up.
func (j *journalBench) recoverLong(b *testing.B) {
	url := j.cluster.SchemaURL(b)
	journal := opened(b, url, postgres.Options{})
	longStream(b, journal)
	conn := j.connect(b, url)
	head := j.meter.Series(b, 1000, func() error {
		var seq int64
		return conn.QueryRow(context.Background(), `SELECT last_seq FROM journal_stream WHERE stream_key = $1`, longKey).Scan(&seq)
	})
	loads := benchtest.Alternate(*benchRounds,
		func() benchtest.Load {
			return j.closed(b, 1, 1, func(int) error {
				c, err := journal.Claim(context.Background(), longKey, "node", persistence.ClaimOptions{})
				if err != nil {
					return err
				}
				rec, err := journal.Recover(context.Background(), c)
				if err == nil && len(rec.Tail) != longTail {
					err = fmt.Errorf("tail of %d events", len(rec.Tail))
				}
				return err
			})
		},
		func() benchtest.Load {
			return j.closed(b, 1, 1, func(int) error {
				rows, err := conn.Query(context.Background(), plainRead+` WHERE stream_id = 1 AND seq = $1`, int64(rand.N(longEvents)+1))
				if err != nil {
					return err
				}
				_, err = pgx.CollectExactlyOneRow(rows, scanEvent)
				return err
			})
		})
	j.table.Add("claim and recover 500 events of 100,000 in 30 partitions, by an indexed query for one of them, p50", benchtest.AtMost(15),
		benchtest.Ratio(loads[0], loads[1], benchtest.Load.P50), nil,
		fmt.Sprintf("%s; query: %s (for the head, in one table: %s)", benchtest.Latency(loads[0]), benchtest.Latency(loads[1]), benchtest.Latency([]benchtest.Load{head})))
}

const (
	manyStreams = 10_000
	manyTail    = 20
)

// recoverMany: a node takes over the rooms of one that died.
func (j *journalBench) recoverMany(b *testing.B) {
	url := j.cluster.SchemaURL(b)
	journal := opened(b, url, postgres.Options{})
	streams := claimStreams(b, journal, "room", manyStreams, manyTail)
	snap := persistence.Snapshot{Seq: manyTail, Manifest: benchManifest, Payload: make([]byte, 2048)}
	inParallel(b, manyStreams, func(i int) error {
		if err := streams[i].appendTo(journal); err != nil {
			return err
		}
		if err := journal.SaveSnapshot(b.Context(), streams[i].claim, snap); err != nil {
			return err
		}
		return streams[i].appendTo(journal)
	})

	pool, err := pgxpool.New(b.Context(), url+"&pool_max_conns=16")
	require.NoError(b, err)
	b.Cleanup(pool.Close)
	var turn atomic.Int64
	next := func() persistence.StreamKey { return streams[turn.Add(1)%manyStreams].claim.Key }
	loads := benchtest.Alternate(*benchRounds,
		func() benchtest.Load {
			return j.closed(b, 1000, 1, func(int) error { return takeOver(journal, next()) })
		},
		func() benchtest.Load {
			return j.closed(b, 16, 1, func(int) error { return takeOverAlone(pool, next()) })
		})
	j.table.Rate("10,000 streams are claimed and recovered, by three queries for each over 16 connections", benchtest.AtLeast(4), loads[0], loads[1],
		fmt.Sprintf("%s; three queries: %s, %s", benchtest.PerSecond(loads[0]), benchtest.PerSecond(loads[1]), benchtest.Cost(loads[1])))
}

func takeOver(journal persistence.Journal, key persistence.StreamKey) error {
	c, err := journal.Claim(context.Background(), key, "node", persistence.ClaimOptions{})
	if err != nil {
		return err
	}
	rec, err := journal.Recover(context.Background(), c)
	if err == nil && (rec.Snapshot.Seq != manyTail || len(rec.Tail) != manyTail) {
		err = fmt.Errorf("snapshot at %d and %d events", rec.Snapshot.Seq, len(rec.Tail))
	}
	return err
}

// takeOverAlone does what takeOver does in the straightforward way.
func takeOverAlone(pool *pgxpool.Pool, key persistence.StreamKey) error {
	ctx := context.Background()
	return pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
		var id, seq int64
		if err := c.QueryRow(ctx, `
			INSERT INTO journal_stream AS s (stream_key, lane, owner, incarnation, claim_pos) VALUES ($1, 0, 'node', 1, 0)
			ON CONFLICT (stream_key) DO UPDATE
			   SET epoch = s.epoch + 1, prev_owner = s.owner, owner = excluded.owner, claimed_at = clock_timestamp()
			RETURNING stream_id, snap_seq`, string(key)).Scan(&id, &seq); err != nil {
			return err
		}
		var snap persistence.Snapshot
		if err := c.QueryRow(ctx, `SELECT seq, epoch, at, codec, manifest, meta, payload FROM journal_snapshot WHERE stream_id = $1 AND seq = $2`,
			id, seq).Scan(&snap.Seq, &snap.Epoch, &snap.At, &snap.Codec, &snap.Manifest, &snap.Meta, &snap.Payload); err != nil {
			return err
		}
		rows, err := c.Query(ctx, plainRead+` WHERE stream_id = $1 AND seq > $2 ORDER BY seq`, id, seq)
		if err != nil {
			return err
		}
		events, err := pgx.CollectRows(rows, scanEvent)
		if err == nil && len(events) != manyTail {
			err = fmt.Errorf("%d events", len(events))
		}
		return err
	})
}
