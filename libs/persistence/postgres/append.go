package postgres

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/postgres/internal/pgarray"
)

// Append implements persistence.Journal.
func (b *Backend) Append(ctx context.Context, c persistence.Claim, expected uint64, events []persistence.Event) (uint64, error) {
	size, err := persistence.ValidateAppend(c, events)
	if err != nil {
		return 0, fmt.Errorf("append to stream %s: %w", c.Key, err)
	}
	a, err := b.newAppend(ctx, c, expected, events, size)
	if err != nil {
		return 0, fmt.Errorf("append to stream %s: %w", c.Key, err)
	}
	err = b.submit(ctx, &a.request)
	b.metrics.Appended(ctx, a.Since, err)
	if err != nil {
		return 0, fmt.Errorf("append to stream %s: %w", c.Key, err)
	}
	return expected + uint64(len(events)), nil
}

// AppendAsync implements persistence.AsyncAppender.
func (b *Backend) AppendAsync(ctx context.Context, c persistence.Claim, expected uint64, events []persistence.Event, limit time.Duration, done func(uint64, error)) {
	size, err := persistence.ValidateAppend(c, events)
	var a *appendRequest
	if err == nil {
		a, err = b.newAppend(ctx, c, expected, events, size)
	}
	if err != nil {
		done(0, fmt.Errorf("append to stream %s: %w", c.Key, err))
		return
	}
	b.submitAsync(&a.request, limit, func(err error) {
		b.metrics.Appended(ctx, a.Since, err)
		if err != nil {
			done(0, fmt.Errorf("append to stream %s: %w", c.Key, err))
			return
		}
		done(expected+uint64(len(events)), nil)
	})
}

func (b *Backend) newAppend(ctx context.Context, c persistence.Claim, expected uint64, events []persistence.Event, size int) (*appendRequest, error) {
	a := &appendRequest{claim: c, expected: expected, batch: events, span: trace.SpanContextFromContext(ctx)}
	a.request = request{append: a, events: len(events), bytes: size}
	var known bool
	if a.lane, known = b.lanes.index(c.Lane); !known {
		return nil, fmt.Errorf("claim is of another journal, this one has no lane %d: %w", c.Lane, persistence.ErrInvalid)
	}
	return a, nil
}

// appendRequest carries its request, so that an append is one allocation.
type appendRequest struct {
	request
	claim    persistence.Claim
	expected uint64
	// batch is the caller's memory: read it under request.mu, and not after the caller has left.
	batch []persistence.Event
	span  trace.SpanContext
	// first recognises the append among what is stored.
	first [16]byte
}

func (a *appendRequest) key() writerKey {
	return writerKey{stream: a.claim.StreamID, epoch: a.claim.Epoch}
}

// appendSQL appends to many streams in one statement, which is its own transaction: it holds no lock before the server
// has all of it. It returns the numbers, from 1, of the requests that lost. Per request: $1 stream, $2 epoch, $3 expected
// seq, $4 count, $7 the seq and $8 the position before its first event less that event's number in the batch, $9 which
// of the lanes. Per lane, ascending: $5 its id, $6 how many positions. Per event: $10 its request, and what is stored.
//
//   - Lanes are locked first, in their order, and held until the commit. Heads come after, so two batches that meet wait for
//     each other at a lane, where neither holds anything that the other wants.
//   - Which events belong to a winner is decided by the request's number. The stream is not enough: an old and a new writer
//     of one stream can meet in a batch, and the winner would let the loser's events in.
//     Mostly all win, and counting them is all it takes.
//   - IN (…) IS TRUE cannot be turned into a join, so it is a hashed look-up whatever the statistics say.
//   - Functions that return sets stand in select lists, which pass their rows on. In FROM each would store its own first,
//     for a tenth of the statement's CPU time.
const appendSQL = `
WITH lk AS MATERIALIZED (
  SELECT l.lane FROM journal_lane l WHERE l.lane = ANY ($5::smallint[]) ORDER BY l.lane FOR UPDATE),
ln AS MATERIALIZED (
  UPDATE journal_lane l SET pos = l.pos + c.n
    FROM unnest($5::smallint[], $6::bigint[]) AS c (lane, n)
   WHERE l.lane = c.lane AND (SELECT count(*) FROM lk) > 0
  RETURNING l.lane, l.pos - c.n AS base, l.part),
la AS MATERIALIZED (
  SELECT array_agg(ln.base ORDER BY ln.lane) AS base, min(ln.part) AS part FROM ln),
upd AS (
  UPDATE journal_stream s SET last_seq = s.last_seq + r.n, last_part = (SELECT la.part FROM la)
    FROM (SELECT unnest($1::bigint[]) AS sid, unnest($2::bigint[]) AS ep, unnest($3::bigint[]) AS exp, unnest($4::bigint[]) AS n,
                 generate_subscripts($1::bigint[], 1) AS ri) r
   WHERE s.stream_id = r.sid AND s.epoch = r.ep AND s.last_seq = r.exp
  RETURNING r.ri),
ins AS (
  INSERT INTO journal_event (stream_id, seq, pos, epoch, part, lane, codec, message_id, manifest, meta, payload)
  SELECT ($1::bigint[])[e.ri], ($7::bigint[])[e.ri] + e.ord,
         ((SELECT la.base FROM la))[($9::bigint[])[e.ri]] + ($8::bigint[])[e.ri] + e.ord,
         ($2::bigint[])[e.ri], (SELECT la.part FROM la), ($5::smallint[])[($9::bigint[])[e.ri]],
         e.codec, e.mid, e.man, e.meta, e.pl
    FROM (SELECT unnest($10::bigint[]) AS ri, unnest($11::smallint[]) AS codec, unnest($12::uuid[]) AS mid, unnest($13::text[]) AS man,
                 unnest($14::bytea[]) AS meta, unnest($15::bytea[]) AS pl, generate_subscripts($10::bigint[], 1) AS ord) e
   WHERE (SELECT count(*) FROM upd) = cardinality($1::bigint[]) OR (e.ri IN (SELECT upd.ri FROM upd)) IS TRUE)
SELECT r.ri::bigint FROM generate_subscripts($1::bigint[], 1) AS r (ri)
 WHERE (SELECT count(*) FROM upd) < cardinality($1::bigint[]) AND (r.ri IN (SELECT upd.ri FROM upd)) IS NOT TRUE`

// appendEncoder holds the parameters of appendSQL; its memory is used again for each batch.
type appendEncoder struct {
	arrays [15]*pgarray.Array
	params [15][]byte
	// perLane counts positions; index is a lane's place in $5, from 1.
	perLane []int64
	index   []int64
}

// Places of the parameters in appendEncoder, by what they hold.
const (
	reqStream = iota
	reqEpoch
	reqExpected
	reqCount
	laneID
	laneCount
	reqSeq
	reqPos
	reqLane
	evRequest
	evCodec
	evMessage
	evManifest
	evMeta
	evPayload
)

func newAppendEncoder(lanes int) *appendEncoder {
	e := &appendEncoder{perLane: make([]int64, lanes), index: make([]int64, lanes)}
	for i := range e.arrays {
		oid := uint32(pgarray.OIDInt8)
		switch i {
		case laneID, evCodec:
			oid = pgarray.OIDInt2
		case evMessage:
			oid = pgarray.OIDUUID
		case evManifest:
			oid = pgarray.OIDText
		case evMeta, evPayload:
			oid = pgarray.OIDBytea
		}
		e.arrays[i] = pgarray.New(oid)
	}
	return e
}

// encode fills the parameters and returns the requests that are in them: those whose callers have left are not. The
// callers' memory is not needed afterwards.
func (e *appendEncoder) encode(requests []*request, all []*lane) []*request {
	for _, a := range e.arrays {
		a.Reset()
	}
	clear(e.perLane)
	in := requests[:0:0]
	if cap(in) < len(requests) {
		in = make([]*request, 0, len(requests))
	}
	ord := int64(0)
	for _, r := range requests {
		r.mu.Lock()
		if !r.left {
			in = append(in, r)
			e.events(r.append, int64(len(in)), ord)
			ord += int64(r.events)
		}
		r.mu.Unlock()
	}
	lanes := int64(0)
	for i, n := range e.perLane {
		if n > 0 {
			lanes++
			e.index[i] = lanes
			e.arrays[laneID].Int16(all[i].id)
			e.arrays[laneCount].Int64(n)
		}
	}
	for _, r := range in {
		e.arrays[reqLane].Int64(e.index[r.lane])
	}
	for i, a := range e.arrays {
		e.params[i] = a.Encoded()
	}
	return in
}

// events adds request number ri, whose first event is number ord+1 of the batch.
func (e *appendEncoder) events(a *appendRequest, ri, ord int64) {
	e.arrays[reqStream].Int64(a.claim.StreamID)
	e.arrays[reqEpoch].Int64(int64(a.claim.Epoch))
	e.arrays[reqExpected].Int64(int64(a.expected))
	e.arrays[reqCount].Int64(int64(len(a.batch)))
	e.arrays[reqSeq].Int64(int64(a.expected) - ord)
	e.arrays[reqPos].Int64(e.perLane[a.lane] - ord)
	e.perLane[a.lane] += int64(len(a.batch))
	a.first = a.batch[0].MessageID
	for i := range a.batch {
		ev := &a.batch[i]
		e.arrays[evRequest].Int64(ri)
		e.arrays[evCodec].Int16(int16(ev.Codec))
		e.arrays[evMessage].Bytes(ev.MessageID[:])
		e.arrays[evManifest].Text(ev.Manifest)
		if len(ev.Meta) == 0 {
			e.arrays[evMeta].Null()
		} else {
			e.arrays[evMeta].Bytes(ev.Meta)
		}
		e.arrays[evPayload].Bytes(ev.Payload)
	}
}
