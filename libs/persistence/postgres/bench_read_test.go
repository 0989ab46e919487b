package postgres_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/postgres"
	"github.com/parley-rt/parley/libs/persistence/postgres/benchtest"
)

const plainRead = `SELECT seq, epoch, at, codec, message_id, manifest, meta, payload FROM journal_event`

func scanEvent(row pgx.CollectableRow) (e persistence.Event, err error) {
	err = row.Scan(&e.Seq, &e.Epoch, &e.At, &e.Codec, &e.MessageID, &e.Manifest, &e.Meta, &e.Payload)
	return e, err
}

// replay: everything of a stream, page by page.
func (j *journalBench) replay(b *testing.B) {
	const page = 1000
	url := j.cluster.SchemaURL(b)
	journal := opened(b, url, postgres.Options{})
	longStream(b, journal)
	conn := j.connect(b, url)
	ctx := context.Background()
	loads := benchtest.Alternate(*benchRounds,
		func() benchtest.Load {
			return j.meter.Series(b, 1, func() error {
				next := uint64(1)
				for {
					events, err := journal.Read(ctx, longKey, next, page)
					if err != nil || len(events) == 0 {
						require.Equal(b, uint64(longEvents+1), next)
						return err
					}
					next += uint64(len(events))
				}
			})
		},
		func() benchtest.Load {
			return j.meter.Series(b, 1, func() error {
				rows, err := conn.Query(ctx, plainRead+` WHERE stream_id = 1 ORDER BY seq`)
				if err != nil {
					return err
				}
				defer rows.Close()
				n := 0
				for ; rows.Next(); n++ {
					if _, err := scanEvent(rows); err != nil {
						return err
					}
				}
				require.Equal(b, longEvents, n)
				return rows.Err()
			})
		})
	for i := range loads {
		for k := range loads[i] {
			loads[i][k].Events = longEvents
		}
	}
	j.table.Rate("replay of 100,000 events in 30 partitions by pages of 1,000, by one streaming SELECT", benchtest.AtLeast(0.5), loads[0], loads[1],
		fmt.Sprintf("%s; SELECT: %s, %s", benchtest.PerSecond(loads[0]), benchtest.PerSecond(loads[1]), benchtest.Cost(loads[1])))
}

// feed: a partition that the planner knows nothing of must not cost anything.
func (j *journalBench) feed(b *testing.B) {
	const (
		streams = 100
		page    = 500
		pages   = 40
	)
	url := j.cluster.SchemaURL(b)
	journal := opened(b, url, postgres.Options{})
	all := claimStreams(b, journal, "room", streams, 100)
	conn := j.connect(b, url)
	var fresh, analyzed []benchtest.Load
	for part := range *benchRounds {
		from, err := journal.Lanes(b.Context())
		require.NoError(b, err)
		require.NoError(b, journal.Rotate(b.Context(), int32(part+1)))
		table := fmt.Sprintf("journal_event_p%d", part+1)
		_, err = conn.Exec(b.Context(), `ALTER TABLE `+table+` SET (autovacuum_enabled = off)`)
		require.NoError(b, err)
		for _, s := range all {
			for range 4 {
				require.NoError(b, s.appendTo(journal))
			}
		}
		read := func() benchtest.Load {
			lane, after, n := 0, uint64(0), 0
			return j.meter.Series(b, pages, func() error {
				after = max(after, from[lane].Pos)
				events, next, err := journal.ReadLane(context.Background(), from[lane].Lane, after, page)
				if n++; len(events) == 0 && err == nil {
					lane, next = (lane+1)%len(from), 0
				}
				after = next
				return err
			})
		}
		fresh = append(fresh, read())
		_, err = conn.Exec(b.Context(), `ANALYZE `+table)
		require.NoError(b, err)
		analyzed = append(analyzed, read())
	}
	j.table.Add("a page of 500 of a lane in a fresh partition by the same after ANALYZE, p50", benchtest.AtMost(1.2),
		benchtest.Ratio(fresh, analyzed, benchtest.Load.P50), nil, benchtest.Latency(fresh)+"; after: "+benchtest.Latency(analyzed))
}
