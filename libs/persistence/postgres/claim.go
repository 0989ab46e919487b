package postgres

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/parley-rt/parley/libs/persistence"
)

// Claim implements persistence.Journal. Claims that come together are one statement.
//
// When the answer of the server is lost, an unguarded claim is made again, which raises the epoch once more; a guarded one
// by its epoch is ErrUnknown, since its own first attempt would be what its guard refuses.
func (b *Backend) Claim(ctx context.Context, key persistence.StreamKey, owner string, opts persistence.ClaimOptions) (persistence.Claim, error) {
	if err := persistence.ValidateClaim(key, owner, opts); err != nil {
		return persistence.Claim{}, fmt.Errorf("claim stream: %w", err)
	}
	c := &claimRequest{key: key, owner: owner}
	switch guard := opts.Guard.(type) {
	case persistence.GuardEpoch:
		c.guard = &guard
	case persistence.GuardLease:
		c.lease = &guard
	}
	r := &request{claim: c, lane: b.laneOf(key), events: 1, bytes: len(key) + len(owner)}
	if err := b.submit(ctx, r); err != nil {
		return persistence.Claim{}, fmt.Errorf("claim stream %s: %w", key, err)
	}
	return c.claim, nil
}

// laneOf chooses the lane of a new stream. An old one is in the lane it was created in; its claim only queues elsewhere,
// should the number of lanes have changed since.
func (b *Backend) laneOf(key persistence.StreamKey) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key))
	return int(h.Sum32() % uint32(len(b.lanes.all)))
}

type claimRequest struct {
	key   persistence.StreamKey
	owner string
	guard *persistence.GuardEpoch
	lease *persistence.GuardLease
	// leaseLost: an attempt found the lease elsewhere, where it stays.
	leaseLost bool
	claim     persistence.Claim // the result
}

// claimSQL claims many streams in one statement, creating those that are new. $1 keys, $2 owners, $3 lanes and $4
// incarnations of new streams, $5 the epochs that they are at, 0 for one that is new. A stream that is at another is not
// returned. $6, $7 and $8 are names, owners and epochs of the leases that the claims depend on, with an empty name for none;
// the claim of a lease that changed hands is not returned either.
//
// Leases are locked against a change of hands until the claims are committed, and after the lanes: whoever waits for a lease has
// nothing that others who have it wait for.
//
// The lane is locked before the head, as by an append: so the statement waits for an append of the old epoch that is on its
// way, sees what it stored, and takes a position in the order of commits. An update by a conflict works on the newest
// committed row, whatever the snapshot.
const claimSQL = `
WITH req AS MATERIALIZED (
  SELECT r.key, r.owner, r.inc, r.epoch, r.lease, r.lease_owner, r.lease_epoch, coalesce((SELECT s.lane FROM journal_stream s WHERE s.stream_key = r.key), r.lane) AS lane
    FROM unnest($1::text[], $2::text[], $3::smallint[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::bigint[])
      AS r (key, owner, lane, inc, epoch, lease, lease_owner, lease_epoch)),
lk AS MATERIALIZED (
  SELECT l.lane FROM journal_lane l WHERE l.lane IN (SELECT req.lane FROM req) ORDER BY l.lane FOR UPDATE),
ln AS MATERIALIZED (
  UPDATE journal_lane l SET pos = l.pos + c.n
    FROM (SELECT req.lane, count(*) AS n FROM req GROUP BY req.lane) c
   WHERE l.lane = c.lane AND (SELECT count(*) FROM lk) > 0
  RETURNING l.lane, l.pos - c.n AS base),
ls AS MATERIALIZED (
  SELECT l.name, l.owner, l.epoch FROM lease l
   WHERE l.name IN (SELECT req.lease FROM req WHERE req.lease <> '') AND (SELECT count(*) FROM ln) > 0
   ORDER BY l.name FOR SHARE)
INSERT INTO journal_stream AS s (stream_key, lane, owner, epoch, incarnation, claim_pos)
SELECT r.key, r.lane, r.owner, r.epoch + 1, r.inc, b.base + row_number() OVER (PARTITION BY r.lane ORDER BY r.key)
  FROM req r JOIN ln b ON b.lane = r.lane
 WHERE (r.epoch = 0 OR EXISTS (SELECT 1 FROM journal_stream s WHERE s.stream_key = r.key))
   AND (r.lease = '' OR EXISTS (SELECT 1 FROM ls WHERE ls.name = r.lease AND ls.owner = r.lease_owner AND ls.epoch = r.lease_epoch))
 ORDER BY r.key
ON CONFLICT (stream_key) DO UPDATE
   SET epoch = excluded.epoch, prev_owner = s.owner, owner = excluded.owner, claim_pos = excluded.claim_pos, claimed_at = clock_timestamp()
 WHERE excluded.epoch = s.epoch + 1
RETURNING s.stream_key, s.stream_id, s.lane, s.epoch, s.incarnation, s.last_seq, s.snap_seq, s.trim_seq, s.snap_part, s.prev_owner`

// claim makes claims and answers them. doubt: an attempt before this one got no answer.
func (w *writer) claim(requests []*request, doubt bool) {
	requests = slices.Clone(requests)
	r := w.b.newRetry(requests)
	r.doubt = doubt
	for len(requests) > 0 && r.next() {
		// A claim that nobody waits for would only fence whoever has the stream by now.
		if requests = slices.DeleteFunc(requests, (*request).gone); len(requests) == 0 {
			return
		}
		r.requests = requests
		claimed, refused, err := w.attemptClaims(requests, r.timeout())
		if err == nil {
			requests = answerClaims(requests, claimed, refused)
			r.requests = requests
			continue // what is left was claimed meanwhile by somebody else
		}
		if r.failed(err) {
			w.disconnect()
		}
		if r.doubt {
			requests = answerGuarded(requests, err)
			r.requests = requests
		}
	}
	if len(requests) == 0 {
		return
	}
	if judge(r.err) == poison && len(requests) > 1 {
		half := len(requests) / 2
		w.claim(requests[:half], r.doubt)
		w.claim(requests[half:], r.doubt)
		return
	}
	err := failure(r.err, r.doubt)
	for _, q := range requests {
		q.Answer(err)
	}
}

// answerClaims answers those whose fate is known and returns the rest.
func answerClaims(requests []*request, claimed map[persistence.StreamKey]persistence.Claim, refused map[persistence.StreamKey]persistence.Head) (rest []*request) {
	for _, q := range requests {
		c := q.claim
		if got, ok := claimed[c.key]; ok {
			c.claim = got
			c.claim.Owner = c.owner
			q.Answer(nil)
			continue
		}
		head := refused[c.key]
		head.Key = c.key
		if c.guard != nil && c.guard.Epoch != head.Epoch {
			q.Answer(&persistence.GuardError{Guard: *c.guard, Head: head})
			continue
		}
		if c.leaseLost {
			q.Answer(&persistence.GuardError{Guard: *c.lease, Head: head})
			continue
		}
		rest = append(rest, q)
	}
	return rest
}

func answerGuarded(requests []*request, err error) (rest []*request) {
	for _, q := range requests {
		if q.claim.guard == nil {
			rest = append(rest, q)
			continue
		}
		q.Answer(failure(err, true))
	}
	return rest
}

// attemptClaims claims once, and reads the heads of those that were refused.
func (w *writer) attemptClaims(requests []*request, timeout time.Duration) (claimed map[persistence.StreamKey]persistence.Claim, refused map[persistence.StreamKey]persistence.Head, err error) {
	if err := w.connect(); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errNotSent, err)
	}
	doubtful := w.conn.doubtful.Load()
	defer w.conn.within(timeout)()
	defer w.b.watchBlockers(w.conn)()
	heads, err := queryHeads(context.Background(), w.conn, claimKeys(requests))
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errNotSent, err)
	}
	if claimed, err = w.queryClaims(requests, heads); err != nil {
		if pgconn.SafeToRetry(err) {
			err = fmt.Errorf("%w: %w", errNotSent, err)
		}
		return nil, nil, err
	}
	if w.conn.doubtful.Load() != doubtful {
		return nil, nil, errDoubtful
	}
	if len(claimed) == len(requests) {
		return claimed, nil, nil
	}
	var keys []string
	for _, q := range requests {
		if _, ok := claimed[q.claim.key]; ok {
			continue
		}
		keys = append(keys, string(q.claim.key))
		if err := q.claim.lookAtLease(w.conn); err != nil {
			return nil, nil, err
		}
	}
	refused, err = queryHeads(context.Background(), w.conn, keys)
	if err != nil {
		// The others' claims are made, and are made again with the rest.
		return nil, nil, err
	}
	return claimed, refused, nil
}

// lookAtLease finds out whether a claim was refused because of its lease.
func (c *claimRequest) lookAtLease(q querier) error {
	if c.lease == nil || c.leaseLost {
		return nil
	}
	held, err := scanLease(q.QueryRow(context.Background(), readLeaseSQL, c.lease.Name))
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	c.leaseLost = held.Guard() != *c.lease
	return nil
}

func claimKeys(requests []*request) []string {
	keys := make([]string, len(requests))
	for i, q := range requests {
		keys[i] = string(q.claim.key)
	}
	return keys
}

// queryClaims claims each stream at the epoch that it was seen at, or its guard's. So a statement that comes late, after
// another attempt was answered, claims nothing; one that somebody else was faster than is made again.
func (w *writer) queryClaims(requests []*request, heads map[persistence.StreamKey]persistence.Head) (map[persistence.StreamKey]persistence.Claim, error) {
	n := len(requests)
	keys, owners, lanes := make([]string, n), make([]string, n), make([]int16, n)
	incarnations, epochs := make([]int64, n), make([]int64, n)
	leases, leaseOwners, leaseEpochs := make([]string, n), make([]string, n), make([]int64, n)
	for i, q := range requests {
		keys[i], owners[i] = string(q.claim.key), q.claim.owner
		lanes[i] = w.b.lanes.all[q.lane].id
		incarnations[i] = newIncarnation()
		epochs[i] = int64(heads[q.claim.key].Epoch)
		if q.claim.guard != nil {
			epochs[i] = int64(q.claim.guard.Epoch)
		}
		if lease := q.claim.lease; lease != nil {
			leases[i], leaseOwners[i], leaseEpochs[i] = lease.Name, lease.Owner, int64(lease.Epoch)
		}
	}
	rows, err := w.conn.Query(context.Background(), claimSQL, keys, owners, lanes, incarnations, epochs, leases, leaseOwners, leaseEpochs)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	claimed := make(map[persistence.StreamKey]persistence.Claim, n)
	for rows.Next() {
		var c persistence.Claim
		if err := rows.Scan(&c.Key, &c.StreamID, &c.Lane, &c.Epoch, &c.Incarnation, &c.LastSeq, &c.SnapSeq, &c.TrimSeq,
			&c.SnapPart, &c.PreviousOwner); err != nil {
			return nil, err
		}
		claimed[c.Key] = c
	}
	return claimed, rows.Err()
}

// newIncarnation draws 63 bits that are not all zero.
func newIncarnation() int64 {
	for {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails; it ends the process instead
		if n := binary.LittleEndian.Uint64(b[:]) >> 1; n != 0 {
			return int64(n)
		}
	}
}

const releaseSQL = `UPDATE journal_stream SET owner = '' WHERE stream_id = $1 AND epoch = $2 AND owner <> ''`

// Release implements persistence.Journal.
func (b *Backend) Release(ctx context.Context, c persistence.Claim) error {
	if err := c.Validate(); err != nil {
		return fmt.Errorf("release stream: %w", err)
	}
	err := b.single(ctx, func(ctx context.Context, c2 *conn) error {
		_, err := c2.Exec(ctx, releaseSQL, c.StreamID, int64(c.Epoch))
		return err
	})
	if err != nil {
		return fmt.Errorf("release stream %s: %w", c.Key, err)
	}
	return nil
}

const reincarnateSQL = `UPDATE journal_stream SET incarnation = $3 WHERE stream_id = $1 AND epoch = $2`

// Reincarnate implements persistence.Journal.
func (b *Backend) Reincarnate(ctx context.Context, c persistence.Claim) (persistence.Claim, error) {
	if err := c.Validate(); err != nil {
		return persistence.Claim{}, fmt.Errorf("reincarnate stream: %w", err)
	}
	incarnation := newIncarnation()
	err := b.single(ctx, func(ctx context.Context, conn *conn) error {
		tag, err := conn.Exec(ctx, reincarnateSQL, c.StreamID, int64(c.Epoch), incarnation)
		if err != nil || tag.RowsAffected() > 0 {
			return err
		}
		return lost(ctx, conn, c, func(persistence.Head) error { return nil })
	})
	if err != nil {
		if errors.Is(err, persistence.ErrFenced) {
			b.metrics.Refused(ctx, err)
		}
		return persistence.Claim{}, fmt.Errorf("reincarnate stream %s: %w", c.Key, err)
	}
	c.Incarnation = uint64(incarnation)
	return c, nil
}
