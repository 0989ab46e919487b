package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
)

// settleSQL tells losers who won, and finds a row that is where theirs would be. $1 streams, $2 the first seq of each.
const settleSQL = `
SELECT r.ri, coalesce(h.epoch, 0), coalesce(h.last_seq, 0), coalesce(h.owner, ''), coalesce(e.epoch, 0), e.message_id
  FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS r (sid, seq, ri)
  LEFT JOIN journal_stream h ON h.stream_id = r.sid
  LEFT JOIN journal_event e ON e.stream_id = r.sid AND e.seq = r.seq
 ORDER BY r.ri`

// settle answers a batch that was executed. doubt: it had been sent before, so a loser may have won then.
func (w *writer) settle(requests []*request, lost []int, doubt bool) {
	next := 0
	for i, r := range requests {
		if next < len(lost) && lost[next] == i {
			next++
			continue
		}
		r.Answer(nil)
	}
	if len(lost) == 0 {
		return
	}
	losers := make([]*request, len(lost))
	for i, n := range lost {
		losers[i] = requests[n]
	}
	r := w.b.newRetry(losers)
	for r.next() {
		found, err := w.look(losers, r.timeout())
		if err == nil {
			for i, l := range losers {
				err := found[i].outcome(l.append, doubt)
				if err == nil {
					w.b.metrics.settled.Add(w.b.lifetime, 1)
				}
				l.Answer(err)
			}
			return
		}
		if r.failed(err) {
			w.disconnect()
		}
		// Nothing is written by looking, so nothing is in doubt but what was before.
		r.doubt = doubt
	}
	err := fmt.Errorf("look for who won: %w: %w", persistence.ErrUnavailable, r.err)
	if doubt {
		err = fmt.Errorf("look for who won: %w: %w", persistence.ErrUnknown, r.err)
	}
	for _, l := range losers {
		l.Answer(err)
	}
}

// standing is what the journal has of a loser.
type standing struct {
	epoch, lastSeq uint64
	owner          string
	eventEpoch     uint64
	event          *[16]byte
}

// outcome of an append that lost: nil when its events are stored all the same.
func (s standing) outcome(a *appendRequest, doubt bool) error {
	switch {
	case doubt && s.event != nil && *s.event == a.first && s.eventEpoch == a.claim.Epoch:
		return nil
	case s.epoch == 0:
		return fmt.Errorf("claim is of another journal, this one has no stream %d: %w", a.claim.StreamID, persistence.ErrInvalid)
	case s.epoch != a.claim.Epoch:
		return &persistence.FencedError{
			Key: a.claim.Key, MyEpoch: a.claim.Epoch, Epoch: s.epoch, Owner: s.owner, LastSeq: s.lastSeq,
		}
	default:
		return fmt.Errorf("expected %d, head is %d: %w", a.expected, s.lastSeq, persistence.ErrConflict)
	}
}

// look reads where the losers stand.
func (w *writer) look(losers []*request, timeout time.Duration) ([]standing, error) {
	if err := w.connect(); err != nil {
		return nil, fmt.Errorf("%w: %w", errNotSent, err)
	}
	streams, seqs := make([]int64, len(losers)), make([]int64, len(losers))
	for i, l := range losers {
		streams[i], seqs[i] = l.append.claim.StreamID, int64(l.append.expected)+1
	}
	defer w.conn.within(timeout)()
	rows, err := w.conn.Query(context.Background(), settleSQL, streams, seqs)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := make([]standing, 0, len(losers))
	for rows.Next() {
		var s standing
		var n int64
		if err := rows.Scan(&n, &s.epoch, &s.lastSeq, &s.owner, &s.eventEpoch, &s.event); err != nil {
			return nil, err
		}
		found = append(found, s)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if len(found) != len(losers) {
		return nil, fmt.Errorf("%d answers for %d requests: %w", len(found), len(losers), persistence.ErrCorrupt)
	}
	return found, nil
}
