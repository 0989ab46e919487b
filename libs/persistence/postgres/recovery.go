package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
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
	// tripBytes bounds the tails of a trip, in equal shares, and its snapshots. The server cuts: what has no room is not sent.
	// It does so for tails only after one trip was too heavy, since that costs every tail half as much again.
	tripBytes = 16 << 20
	// waitingRecoveries bounds the queue.
	waitingRecoveries = 16 << 10
)

// recoveries gathers recoveries that come at the same time into trips of up to 64 streams: three statements in one round
// trip. Callers that leave also leave the queue; who finds it full is refused with ErrOverloaded.
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
	// most is how many streams its trip may have: fewer after one that timed out, 1 when it had no room among others.
	most int
	// again: it goes in another trip.
	again bool
}

func (r *recoveries) get(ctx context.Context, c persistence.Claim) (persistence.Recovery, error) {
	if err := r.b.open(ctx); err != nil {
		return persistence.Recovery{}, err
	}
	q := &recoveryRequest{ctx: ctx, claim: c, done: make(chan struct{}), most: recoveriesPerTrip}
	r.mu.Lock()
	if n := len(r.waiting); n >= waitingRecoveries {
		r.mu.Unlock()
		return persistence.Recovery{}, fmt.Errorf("%d recoveries are waiting: %w", n, persistence.ErrOverloaded)
	}
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
		r.mu.Lock()
		if i := slices.Index(r.waiting, q); i >= 0 {
			r.waiting = slices.Delete(r.waiting, i, i+1)
		}
		r.mu.Unlock()
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
		slow, err := r.run(trip)
		var again []*recoveryRequest
		for _, q := range trip {
			switch {
			case slow && len(trip) > 1:
				q.most = (len(trip) + 1) / 2
				again = append(again, q)
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
		if slow { // those that wait come first: what is slow must not keep them
			r.waiting = append(r.waiting, again...)
		} else {
			r.waiting = append(again, r.waiting...)
		}
		if len(again) > 1 && r.trips < recoveryTrips {
			r.trips++
			r.b.background.Go(r.travel)
		}
		r.mu.Unlock()
	}
}

// run makes a trip. slow: it ran out of time on its way, so fewer streams may arrive.
func (r *recoveries) run(trip []*recoveryRequest) (slow bool, err error) {
	ctx, cancel := context.WithTimeout(r.b.lifetime, recoveryTimeout)
	defer cancel()
	attempt := func(c *pgxpool.Conn) error { return r.b.recoverTrip(ctx, c, trip) }
	err = r.b.pool.AcquireFunc(ctx, attempt)
	if errors.Is(err, errTooHeavy) {
		r.b.wideUntil.Store(time.Now().Add(wideFor).UnixNano())
		err = r.b.pool.AcquireFunc(ctx, attempt)
	}
	slow = err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded)
	return slow, connectionError(err)
}

// errTooHeavy: the tails of a trip that the server did not cut weigh more than tripBytes.
var errTooHeavy = errors.New("tails are too heavy")

// recoveryTimeout bounds a trip, so that callers who have left do not keep it going.
const recoveryTimeout = 10 * time.Second

// take removes the next trip; none: this traveller has ended.
func (r *recoveries) take() (trip []*recoveryRequest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	most := recoveriesPerTrip
	for len(r.waiting) > 0 {
		q := r.waiting[0]
		if q.ctx.Err() == nil {
			if len(trip) >= min(most, q.most) {
				break
			}
			most = min(most, q.most)
			trip = append(trip, q)
		} else {
			q.err = ended(q.ctx)
			close(q.done)
		}
		r.waiting = r.waiting[1:]
	}
	if len(trip) == 0 {
		r.trips--
		r.waiting = nil
	}
	return trip
}

const (
	recoverHeadsSQL = `SELECT r.ri, s.last_seq, s.trim_seq, s.epoch
		FROM unnest($1::bigint[]) WITH ORDINALITY AS r (sid, ri) JOIN journal_stream s ON s.stream_id = r.sid`
	// $3 is what the snapshots of the trip may weigh. Those without room come without payload.
	recoverSnapshotsSQL = `SELECT ri, seq, epoch, at, codec, manifest,
			CASE WHEN weight <= $3 THEN meta END, CASE WHEN weight <= $3 THEN payload END
		FROM (
			SELECT r.ri, n.*, sum(octet_length(n.payload) + coalesce(octet_length(n.meta), 0)) OVER (ORDER BY r.ri, n.seq DESC) AS weight
			  FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS r (sid, head, ri)
			 CROSS JOIN LATERAL (
				SELECT * FROM journal_snapshot n WHERE n.stream_id = r.sid AND n.seq <= r.head ORDER BY n.seq DESC LIMIT 2) n) n
		ORDER BY ri, seq DESC`
	// The tails begin after the newest snapshot at the claim; one that was saved since is found by the query above and
	// makes the beginning of the tail superfluous. $3 is the partition of that snapshot: older ones are not looked at. $6 is
	// the oldest of those: what is before it is not even opened.
	recoverTailsSQL = `SELECT r.ri, e.*
		FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::bigint[]) WITH ORDINALITY AS r (sid, seq, part, head, ri)
		CROSS JOIN LATERAL (
			SELECT ` + eventColumns + ` FROM journal_event x
			 WHERE x.stream_id = r.sid AND x.seq > r.seq AND x.seq <= r.seq + $5 AND x.seq <= r.head AND x.part >= r.part AND x.part >= $6
			 ORDER BY x.seq) e`
	// The same, cut by the server. $7 is what a tail may weigh. The first event beyond that comes without payload, which tells
	// a tail that was cut from one that has lost its end; with $8 the first one of all comes whole whatever it weighs.
	recoverWideTailsSQL = `SELECT r.ri, e.*
		FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::bigint[]) WITH ORDINALITY AS r (sid, seq, part, head, ri)
		CROSS JOIN LATERAL (
			SELECT seq, epoch, at, codec, message_id, manifest,
				CASE WHEN weight <= $7 OR $8 AND weight = own THEN meta END, CASE WHEN weight <= $7 OR $8 AND weight = own THEN payload END
			  FROM (
				SELECT x.*, sum(own) OVER (ORDER BY seq) AS weight FROM (
					SELECT ` + eventColumns + `, octet_length(payload) + coalesce(octet_length(meta), 0) AS own FROM journal_event x
					 WHERE x.stream_id = r.sid AND x.seq > r.seq AND x.seq <= r.seq + $5 AND x.seq <= r.head AND x.part >= r.part AND x.part >= $6) x) x
			 WHERE weight - own <= $7
			 ORDER BY seq) e`
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
	single := len(trip) == 1
	share, snapshots := min(persistence.MaxReadBytes, tripBytes/len(trip)), int64(tripBytes)
	if single {
		snapshots = math.MaxInt64
	}
	tail := []any{ids, seqs, parts, heads, int64(recoverEvents), slices.Min(parts)}
	wide := time.Now().UnixNano() < b.wideUntil.Load()
	if wide {
		batch.Queue(recoverWideTailsSQL, append(tail, int64(share), single)...)
	} else {
		batch.Queue(recoverTailsSQL, tail...)
	}
	batch.Queue(recoverSnapshotsSQL, ids, heads, snapshots)
	// The heads are read last: a trim that took events from under the tail is seen here.
	batch.Queue(recoverHeadsSQL, ids)
	ctx, cut := context.WithCancel(ctx)
	defer cut()
	results := c.SendBatch(ctx, &batch)
	t := &tripReader{trip: trip, tails: tails, found: make([]bool, len(trip))}
	if !wide {
		t.tooHeavy = cut // the rest is not worth reading
	}
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
	// tooHeavy ends the trip when its tails weigh more than tripBytes. Nil: the server sees to it.
	tooHeavy func()
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
		if t.bytes += len(row[7]) + len(row[8]); t.bytes > tripBytes && t.tooHeavy != nil {
			t.tooHeavy()
			return errTooHeavy
		}
		if t.tails[i].full {
			continue
		}
		if row[8] != nil && t.tails[i].add(row[1:]) {
			t.tails[i].full = t.tails[i].size > persistence.MaxReadBytes // a single event: the server sends nothing after it
			continue
		}
		t.tails[i].full = true
		if len(t.tails[i].events) == 0 {
			noRoom(t.trip[i])
		}
	}
	return rows.Err()
}

// noRoom sends a stream on a trip of its own.
func noRoom(q *recoveryRequest) { q.most, q.again = 1, true }

func (t *tripReader) readSnapshots(results pgx.BatchResults) error {
	rows, err := results.Query()
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		row := rows.RawValues()
		q := t.trip[ordinal(row[0])]
		if row[7] == nil {
			noRoom(q)
		}
		if q.again {
			continue
		}
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
		q, last, epoch := t.trip[i], uint64(ordinal(row[1])+1), uint64(ordinal(row[3])+1)
		switch {
		case epoch < q.claim.Epoch: // a server that was passed over by a failover
			q.err = fmt.Errorf("answered by a server that lacks the claim: stream %d has epoch %d, claimed was %d: %w",
				q.claim.StreamID, epoch, q.claim.Epoch, persistence.ErrUnavailable)
		case last < q.claim.LastSeq:
			q.err = fmt.Errorf("stream %d ends at %d, claimed was up to %d: %w",
				q.claim.StreamID, last, q.claim.LastSeq, persistence.ErrCorrupt)
		}
		t.trims[i] = uint64(ordinal(row[2]) + 1)
	}
	return rows.Err()
}

// finish proves that what was read leads to the head of the claim.
func (t *tripReader) finish(i int) {
	q := t.trip[i]
	switch {
	case q.err != nil:
		q.rec, q.again = persistence.Recovery{}, false
		return
	case !t.found[i]:
		q.err = fmt.Errorf("no stream %d, claimed was up to %d: %w", q.claim.StreamID, q.claim.LastSeq, persistence.ErrCorrupt)
		q.again = false
		return
	case q.again:
		q.rec = persistence.Recovery{}
		return
	}
	tail := t.tails[i].events
	last := min(q.claim.LastSeq, q.claim.SnapSeq+recoverEvents)
	if n := len(tail); t.tails[i].full && n > 0 {
		last = tail[n-1].Seq
	}
	q.rec.More = max(last, q.rec.Snapshot.Seq) < q.claim.LastSeq
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
