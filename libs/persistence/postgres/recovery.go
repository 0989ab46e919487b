package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/parley-rt/parley/libs/persistence"
)

// Bounds of recovery. The number of trips at once is also what keeps a node that takes over thousands of rooms from
// starving the reads of those that run.
const (
	recoveryTrips     = 2
	recoveriesPerTrip = 64
	// recoverEvents bounds the first page of a tail, beside MaxReadBytes.
	recoverEvents = 1000
	// tripBytes bounds what a trip keeps; streams that had no room go in another one.
	tripBytes = 16 << 20
)

// recoveries gathers recoveries that come at the same time into trips of up to 64 streams: three statements in one round
// trip. The queue is bounded by the callers, who each wait for their own.
type recoveries struct {
	b *Backend

	mu      sync.Mutex
	waiting []*recoveryRequest
	trips   int // under way
}

type recoveryRequest struct {
	ctx   context.Context
	claim persistence.Claim
	rec   persistence.Recovery
	err   error
	done  chan struct{}
	// alone: it was too large for a trip with others; again: it goes in another one.
	alone, again bool
}

func (r *recoveries) get(ctx context.Context, c persistence.Claim) (persistence.Recovery, error) {
	if err := r.b.open(ctx); err != nil {
		return persistence.Recovery{}, err
	}
	q := &recoveryRequest{ctx: ctx, claim: c, done: make(chan struct{})}
	r.mu.Lock()
	r.waiting = append(r.waiting, q)
	if r.trips < recoveryTrips {
		r.trips++
		r.b.background.Go(r.travel)
	}
	r.mu.Unlock()
	select {
	case <-q.done:
		return q.rec, q.err
	case <-ctx.Done():
		return persistence.Recovery{}, ended(ctx)
	}
}

// travel makes trips until nobody waits.
func (r *recoveries) travel() {
	for {
		trip := r.take()
		if len(trip) == 0 {
			return
		}
		ctx, cancel := context.WithTimeout(r.b.lifetime, recoveryTimeout)
		err := connectionError(r.b.pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error { return r.b.recoverTrip(ctx, c, trip) }))
		cancel()
		var again []*recoveryRequest
		for _, q := range trip {
			switch {
			case err == nil && q.again:
				again = append(again, q)
			default:
				if err != nil {
					q.rec, q.err = persistence.Recovery{}, err
				}
				close(q.done)
			}
		}
		r.mu.Lock()
		r.waiting = append(again, r.waiting...)
		r.mu.Unlock()
	}
}

// recoveryTimeout bounds a trip, so that callers who have left do not keep it going.
const recoveryTimeout = 10 * time.Second

// take removes the next trip; none: this traveller has ended.
func (r *recoveries) take() (trip []*recoveryRequest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.waiting) > 0 && len(trip) < recoveriesPerTrip {
		q := r.waiting[0]
		if q.alone && len(trip) > 0 {
			break
		}
		r.waiting = r.waiting[1:]
		if q.ctx.Err() != nil {
			close(q.done) // its caller has left
			continue
		}
		trip = append(trip, q)
		if q.alone {
			break
		}
	}
	if len(trip) == 0 {
		r.trips--
		r.waiting = nil
	}
	return trip
}

const (
	recoverHeadsSQL = `SELECT r.ri, s.last_seq, s.trim_seq
		FROM unnest($1::bigint[]) WITH ORDINALITY AS r (sid, ri) JOIN journal_stream s ON s.stream_id = r.sid`
	recoverSnapshotsSQL = `SELECT r.ri, n.seq, n.epoch, n.at, n.codec, n.manifest, n.meta, n.payload
		FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS r (sid, head, ri)
		JOIN journal_snapshot n ON n.stream_id = r.sid AND n.seq <= r.head
		ORDER BY r.ri, n.seq DESC`
	// The tails begin after the newest snapshot at the claim; one that was saved since is found by the query above and
	// makes the beginning of the tail superfluous. $3 is the partition of that snapshot: older ones are not looked at. $6 is
	// the oldest of those: what is before it is not even opened.
	recoverTailsSQL = `SELECT r.ri, e.*
		FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::bigint[]) WITH ORDINALITY AS r (sid, seq, part, head, ri)
		CROSS JOIN LATERAL (
			SELECT ` + eventColumns + ` FROM journal_event x
			 WHERE x.stream_id = r.sid AND x.seq > r.seq AND x.seq <= r.seq + $5 AND x.seq <= r.head AND x.part >= r.part AND x.part >= $6
			 ORDER BY x.seq) e`
)

// recoverTrip reads all of them in one round trip and fills their results. Each gets its own error.
func (b *Backend) recoverTrip(ctx context.Context, c *pgxpool.Conn, trip []*recoveryRequest) error {
	ids, seqs, parts, heads := make([]int64, len(trip)), make([]int64, len(trip)), make([]int32, len(trip)), make([]int64, len(trip))
	tails := make([]page, len(trip))
	for i, q := range trip {
		ids[i], seqs[i], parts[i], heads[i] = q.claim.StreamID, int64(q.claim.SnapSeq), q.claim.SnapPart, int64(q.claim.LastSeq)
		q.rec, q.err, q.again = persistence.Recovery{}, nil, false
		tails[i].events = make([]persistence.Event, 0, min(q.claim.LastSeq-min(q.claim.SnapSeq, q.claim.LastSeq), recoverEvents))
	}
	var batch pgx.Batch
	batch.Queue(recoverTailsSQL, ids, seqs, parts, heads, int64(recoverEvents), slices.Min(parts))
	batch.Queue(recoverSnapshotsSQL, ids, heads)
	// The heads are read last: a trim that took events from under the tail is seen here.
	batch.Queue(recoverHeadsSQL, ids)
	results := c.SendBatch(ctx, &batch)
	t := &tripReader{trip: trip, tails: tails, found: make([]bool, len(trip))}
	err := errors.Join(t.readTails(results), t.readSnapshots(results), t.readHeads(results), results.Close())
	if err != nil {
		return err
	}
	for i := range trip {
		t.finish(i)
	}
	return nil
}

type tripReader struct {
	trip  []*recoveryRequest
	tails []page
	found []bool
	trims []uint64
	bytes int
}

func (t *tripReader) readTails(results pgx.BatchResults) error {
	rows, err := results.Query()
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		row := rows.RawValues()
		i := ordinal(row[0])
		if t.tails[i].full {
			continue
		}
		weight := len(row[7]) + len(row[8])
		if t.bytes+weight > tripBytes && len(t.trip) > 1 {
			t.tails[i].full = true
			t.trip[i].alone = t.trip[i].alone || len(t.tails[i].events) == 0
			continue
		}
		if !t.tails[i].add(row[1:]) {
			t.tails[i].full = true
			continue
		}
		t.bytes += weight
	}
	return rows.Err()
}

func (t *tripReader) readSnapshots(results pgx.BatchResults) error {
	rows, err := results.Query()
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		row := rows.RawValues()
		q := t.trip[ordinal(row[0])]
		if q.alone && len(t.trip) > 1 {
			continue
		}
		weight := len(row[6]) + len(row[7])
		if t.bytes+weight > 4*tripBytes && len(t.trip) > 1 {
			q.alone = true
			continue
		}
		t.bytes += weight
		e := (&page{}).decode(append(row[1:5:5], make([]byte, 16), row[5], row[6], row[7]))
		snap := persistence.Snapshot{
			Seq: e.Seq, Epoch: e.Epoch, At: e.At, Codec: e.Codec, Manifest: e.Manifest, Meta: e.Meta, Payload: e.Payload,
		}
		switch {
		case q.rec.Snapshot.Seq == 0:
			q.rec.Snapshot = snap
		case q.rec.Previous.Seq == 0:
			q.rec.Previous = snap
		}
	}
	return rows.Err()
}

func (t *tripReader) readHeads(results pgx.BatchResults) error {
	rows, err := results.Query()
	if err != nil {
		return err
	}
	defer rows.Close()
	t.trims = make([]uint64, len(t.trip))
	for rows.Next() {
		row := rows.RawValues()
		i := ordinal(row[0])
		t.found[i] = true
		if last := uint64(ordinal(row[1]) + 1); last < t.trip[i].claim.LastSeq {
			t.trip[i].err = fmt.Errorf("stream %d ends at %d, claimed was up to %d: %w",
				t.trip[i].claim.StreamID, last, t.trip[i].claim.LastSeq, persistence.ErrCorrupt)
		}
		t.trims[i] = uint64(ordinal(row[2]) + 1)
	}
	return rows.Err()
}

// finish proves that what was read leads to the head of the claim.
func (t *tripReader) finish(i int) {
	q := t.trip[i]
	if q.alone && len(t.trip) > 1 {
		q.rec, q.again = persistence.Recovery{}, true
		return
	}
	switch {
	case q.err != nil:
		return
	case !t.found[i]:
		q.err = fmt.Errorf("no stream %d, claimed was up to %d: %w", q.claim.StreamID, q.claim.LastSeq, persistence.ErrCorrupt)
		return
	}
	tail := t.tails[i].events
	last := min(q.claim.LastSeq, q.claim.SnapSeq+recoverEvents)
	if n := len(tail); t.tails[i].full && n > 0 {
		last = tail[n-1].Seq
	}
	q.rec.More = last < q.claim.LastSeq
	first := q.rec.Snapshot.Seq + 1
	for len(tail) > 0 && tail[0].Seq < first { // the snapshot is newer than the claim
		tail = tail[1:]
	}
	if first > last {
		return
	}
	q.rec.Tail = tail
	err := checkRun(tail, first, last, false, false)
	if err != nil && first <= t.trims[i] {
		err = fmt.Errorf("from %d, trimmed up to %d: %w", first, t.trims[i], persistence.ErrTrimmed)
	}
	if err != nil {
		q.rec, q.err = persistence.Recovery{}, err
	}
}
