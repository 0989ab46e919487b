package postgres_test

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/persistencetest/pgtest"
	"github.com/parley-rt/parley/libs/persistence/postgres"
	"github.com/parley-rt/parley/libs/persistence/postgres/benchtest"
)

var (
	benchRounds = flag.Int("rounds", 5, "rounds of each benchmark of the journal, of which the median counts")
	benchRound  = flag.Duration("round", 2*time.Second, "how long each side of a round is measured")
)

// BenchmarkJournal measures what the journal promises about speed and prints a table of it:
//
//	go test ./libs/persistence/postgres -run '^$' -bench Journal -benchtime 1x -timeout 20m
//
// Flags: -rounds and -round. A part of the table: -bench Journal/recover. It runs a server of its own, and reads the CPU time
// of its processes from Linux's /proc.
func BenchmarkJournal(b *testing.B) {
	j := &journalBench{cluster: pgtest.Start(b, pgtest.Options{Settings: map[string]string{
		"shared_buffers": "1GB",
		"max_wal_size":   "8GB",
		"min_wal_size":   "2GB",
		"wal_keep_size":  "0",
		// None in the middle of a round.
		"checkpoint_timeout": "1h",
	}})}
	j.conn = j.connect(b, j.cluster.URL())
	j.meter = benchtest.Meter{Postmaster: j.cluster.PID(), WAL: func() (bytes int64) {
		require.NoError(b, j.conn.QueryRow(context.Background(), `SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint`).Scan(&bytes))
		return bytes
	}}
	j.fillLog(b)
	for _, part := range []struct {
		name string
		run  func(*testing.B)
	}{
		{"group", j.groupCommit},
		{"one", j.oneStream},
		{"delay", j.slowCommit},
		{"events", j.eventsPerAppend},
		{"low", j.lowLoad},
		{"fence", j.fence},
		{"fencing", j.fencing},
		{"recover", j.recoverLong},
		{"takeover", j.recoverMany},
		{"replay", j.replay},
		{"feed", j.feed},
		{"sqlite", j.sqlite},
	} {
		b.Run(part.name, func(b *testing.B) {
			j.checkpoint(b)
			part.run(b)
		})
	}
	require.NoError(b, j.table.Print(os.Stdout))
}

// fillLog gives the server the files that it will write its log to. One that has run for a while uses those it has again; a
// new one makes each anew, and every commit waits meanwhile.
func (j *journalBench) fillLog(b *testing.B) {
	b.Helper()
	const files = 120 // of 16 MiB, a little less than min_wal_size
	for range files {
		_, err := j.conn.Exec(b.Context(), `SELECT pg_logical_emit_message(false, 'bench', 'x')`)
		require.NoError(b, err)
		_, err = j.conn.Exec(b.Context(), `SELECT pg_switch_wal()`)
		require.NoError(b, err)
	}
}

// checkpoint lets the log's files be used again. It also keeps checkpoints out of what follows: the first change of a page
// after one is charged with the whole page.
func (j *journalBench) checkpoint(b *testing.B) {
	b.Helper()
	_, err := j.conn.Exec(b.Context(), `CHECKPOINT`)
	require.NoError(b, err)
}

type journalBench struct {
	cluster *pgtest.Cluster
	conn    *pgx.Conn
	meter   benchtest.Meter
	table   benchtest.Table
}

func (j *journalBench) connect(b *testing.B, url string) *pgx.Conn {
	b.Helper()
	c, err := pgx.Connect(b.Context(), url)
	require.NoError(b, err)
	b.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

// schema returns the URL of a schema with the journal's tables, empty.
func (j *journalBench) schema(b *testing.B) string {
	b.Helper()
	url := j.cluster.SchemaURL(b)
	closeBackend(b, open(b, url, postgres.Options{}))
	return url
}

// closed is a round of n workers.
func (j *journalBench) closed(b *testing.B, n, each int, op func(worker int) error) benchtest.Load {
	b.Helper()
	return j.meter.Closed(b, n, each, *benchRound, op)
}

// stream is one closed loop's: what it appends and where it is.
type stream struct {
	claim  persistence.Claim
	head   uint64
	events []persistence.Event
}

// benchPayload and benchManifest are those of a short chat message.
const (
	benchPayload  = 200
	benchManifest = "parley.v1.MessagePost"
)

func benchEvents(n int) []persistence.Event {
	events := make([]persistence.Event, n)
	for i := range events {
		events[i] = persistence.Event{Manifest: benchManifest, Codec: persistence.CodecProto, Payload: make([]byte, benchPayload)}
	}
	return events
}

// inParallel calls fn for 0 to n-1, a few hundred at a time: more than a journal can do in two seconds it refuses.
func inParallel(b *testing.B, n int, fn func(i int) error) {
	b.Helper()
	var turn atomic.Int64
	var group sync.WaitGroup
	for range min(n, 300) {
		group.Go(func() {
			for i := int(turn.Add(1)) - 1; i < n; i = int(turn.Add(1)) - 1 {
				if err := fn(i); err != nil {
					b.Errorf("stream %d: %v", i, err)
					return
				}
			}
		})
	}
	group.Wait()
	require.False(b, b.Failed())
}

// claimStreams claims n streams, which append so many events at a time.
func claimStreams(b *testing.B, journal *postgres.Backend, kind string, n, events int) []*stream {
	b.Helper()
	all := make([]*stream, n)
	inParallel(b, n, func(i int) error {
		c, err := journal.Claim(b.Context(), persistence.StreamKey(fmt.Sprintf("%s/%d", kind, i)), "bench", persistence.ClaimOptions{})
		all[i] = &stream{claim: c, head: c.LastSeq, events: benchEvents(events)}
		return err
	})
	return all
}

// next gives the events new ids.
func (s *stream) next() []persistence.Event {
	for i := range s.events {
		binary.BigEndian.PutUint64(s.events[i].MessageID[:], uint64(s.claim.StreamID))
		binary.BigEndian.PutUint64(s.events[i].MessageID[8:], s.head+uint64(i))
	}
	return s.events
}

func (s *stream) appendTo(journal persistence.Journal) error {
	last, err := journal.Append(context.Background(), s.claim, s.head, s.next())
	s.head = last
	return err
}
