package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/parley-rt/parley/libs/persistence"
)

// readTimeout bounds a read whose caller has no deadline: a connection can fall silent for good.
const readTimeout = 30 * time.Second

// read runs fn on a connection of the pool. What it finds is committed; on a primary whose synchronous standby is away that
// is not yet what an acknowledgement waits for, unless a claim came before (see the package comment).
func (b *Backend) read(ctx context.Context, fn func(context.Context, querier) error) error {
	return b.readConn(ctx, func(ctx context.Context, c *pgxpool.Conn) error { return fn(ctx, c) })
}

func (b *Backend) readConn(ctx context.Context, fn func(context.Context, *pgxpool.Conn) error) error {
	select { // alone first: a free connection must not win against them
	case <-b.closing:
		return persistence.ErrClosed
	case <-ctx.Done():
		return ended(ctx)
	default:
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return connectionError(b.pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error { return fn(ctx, c) }))
}

const eventColumns = `seq, epoch, at, codec, message_id, manifest, meta, payload`

// Events of a window of seqs. Seqs have no holes, so a window is a page, and the planner has nothing to decide.
const (
	readSQL = `SELECT ` + eventColumns + ` FROM journal_event e
		WHERE stream_id = (SELECT stream_id FROM journal_stream WHERE stream_key = $1) AND seq BETWEEN $2 AND $3 ORDER BY seq`
	readReverseSQL = `SELECT ` + eventColumns + ` FROM journal_event e
		WHERE stream_id = (SELECT stream_id FROM journal_stream WHERE stream_key = $1) AND seq BETWEEN $2 AND $3 ORDER BY seq DESC`
	// The same, cut by the server where they get too large. $4 is what they may weigh.
	readWideSQL = `SELECT ` + eventColumns + ` FROM (
		SELECT e.*, sum(octet_length(payload) + coalesce(octet_length(meta), 0)) OVER (ORDER BY seq) AS weight FROM journal_event e
		 WHERE stream_id = (SELECT stream_id FROM journal_stream WHERE stream_key = $1) AND seq BETWEEN $2 AND $3) e
		WHERE weight <= $4 OR seq = $2 ORDER BY seq`
	readWideReverseSQL = `SELECT ` + eventColumns + ` FROM (
		SELECT e.*, sum(octet_length(payload) + coalesce(octet_length(meta), 0)) OVER (ORDER BY seq DESC) AS weight FROM journal_event e
		 WHERE stream_id = (SELECT stream_id FROM journal_stream WHERE stream_key = $1) AND seq BETWEEN $2 AND $3) e
		WHERE weight <= $4 OR seq = $3 ORDER BY seq DESC`
)

// wideFor is how long pages are cut by the server after one was too large. Cutting costs every page a third; a page that
// the client has to cut costs a connection.
const wideFor = time.Minute

// Read implements persistence.Journal.
func (b *Backend) Read(ctx context.Context, key persistence.StreamKey, from uint64, limit int) ([]persistence.Event, error) {
	if err := persistence.ValidateRead(key, limit); err != nil {
		return nil, fmt.Errorf("read stream: %w", err)
	}
	events, err := b.page(ctx, key, func(h persistence.Head) (first, last uint64, err error) {
		first = max(from, 1)
		if first <= h.TrimSeq {
			return 0, 0, fmt.Errorf("from %d, trimmed up to %d: %w", from, h.TrimSeq, persistence.ErrTrimmed)
		}
		if first > h.LastSeq {
			return 1, 0, nil
		}
		return first, first + min(uint64(limit)-1, h.LastSeq-first), nil
	}, false)
	if err != nil {
		return nil, fmt.Errorf("read stream %s: %w", key, err)
	}
	return events, nil
}

// ReadReverse implements persistence.Journal.
func (b *Backend) ReadReverse(ctx context.Context, key persistence.StreamKey, before uint64, limit int) ([]persistence.Event, error) {
	if err := persistence.ValidateRead(key, limit); err != nil {
		return nil, fmt.Errorf("read stream backwards: %w", err)
	}
	events, err := b.page(ctx, key, func(h persistence.Head) (first, last uint64, err error) {
		last = h.LastSeq
		if before != 0 {
			last = min(last, before-1)
		}
		if last <= h.TrimSeq {
			return 1, 0, nil
		}
		return last - min(uint64(limit), last-h.TrimSeq) + 1, last, nil
	}, true)
	if err != nil {
		return nil, fmt.Errorf("read stream %s backwards: %w", key, err)
	}
	return events, nil
}

// page reads the head and then the window that it allows. Between the two a partition may be dropped: then the head is
// read again.
func (b *Backend) page(ctx context.Context, key persistence.StreamKey, window func(persistence.Head) (first, last uint64, err error), reverse bool) (events []persistence.Event, err error) {
	err = b.readConn(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		trimmed := uint64(0)
		for try := 0; ; try++ {
			heads, err := queryHeads(ctx, c, []string{string(key)})
			if err != nil {
				return err
			}
			h := heads[key]
			first, last, err := window(h)
			if err != nil || first > last {
				events = nil
				return err
			}
			events, err = b.events(ctx, c, key, first, last, reverse)
			if err == nil || try > 0 && h.TrimSeq == trimmed || !errors.Is(err, persistence.ErrCorrupt) {
				return err
			}
			trimmed = h.TrimSeq
		}
	})
	return events, err
}

// events reads [first, last], as much of it as a page may weigh, and proves that nothing is missing.
func (b *Backend) events(ctx context.Context, q querier, key persistence.StreamKey, first, last uint64, reverse bool) ([]persistence.Event, error) {
	wide := last-first >= 64 && time.Now().UnixNano() < b.wideUntil.Load()
	var sql string
	switch {
	case wide && reverse:
		sql = readWideReverseSQL
	case wide:
		sql = readWideSQL
	case reverse:
		sql = readReverseSQL
	default:
		sql = readSQL
	}
	args := []any{string(key), int64(first), int64(last)}
	if wide {
		args = append(args, int64(persistence.MaxReadBytes))
	}
	ctx, cut := context.WithCancel(ctx)
	defer cut()
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	p := page{events: make([]persistence.Event, 0, min(last-first+1, eventsAhead))}
	for rows.Next() {
		if !p.add(rows.RawValues()) {
			if last-first >= 64 { // else what is left is not worth a connection
				b.wideUntil.Store(time.Now().Add(wideFor).UnixNano())
				cut()
			}
			rows.Close()
			return p.events, checkRun(p.events, first, last, reverse, true)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return p.events, checkRun(p.events, first, last, reverse, wide)
}

// eventsAhead is how many events a page has room for from the start: those of most pages, and of large ones not too many
// for their bytes.
const eventsAhead = 1024

// checkRun proves that events are exactly first..last, or with part a beginning of them.
func checkRun(events []persistence.Event, first, last uint64, reverse, part bool) error {
	for i := range events {
		want := first + uint64(i)
		if reverse {
			want = last - uint64(i)
		}
		if events[i].Seq != want {
			return fmt.Errorf("event %d follows where %d is due: %w", events[i].Seq, want, persistence.ErrCorrupt)
		}
	}
	if n := uint64(len(events)); n != last-first+1 && (!part || n == 0) {
		return fmt.Errorf("%d events from %d to %d: %w", n, first, last, persistence.ErrCorrupt)
	}
	return nil
}

// Recover implements persistence.Journal. Recoveries that come together are one trip (see recovery.go).
func (b *Backend) Recover(ctx context.Context, c persistence.Claim) (persistence.Recovery, error) {
	if err := c.Validate(); err != nil {
		return persistence.Recovery{}, fmt.Errorf("recover stream: %w", err)
	}
	rec, err := b.recoveries.get(ctx, c)
	if err != nil {
		return persistence.Recovery{}, fmt.Errorf("recover stream %s: %w", c.Key, err)
	}
	return rec, nil
}
