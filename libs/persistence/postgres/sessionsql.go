package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/parley-rt/parley/libs/persistence"
)

// A statement whose answer was lost is sent again, and the first one may even come after the second. A resume recognises by
// the new token that it was made; a save is numbered by its process, and an older one changes nothing. An attempt to resume
// that its client has given up may come after a later one with the same token, and is told by the client's number.
//
// The statements return the sessions whose change was made. $5 of the first: the batch was sent before, so a session with
// this token is the one that it created.
const (
	createSQL = `
INSERT INTO session AS s (id, token_hash, member, rooms, generation, expires_at)
SELECT r.id, r.token, r.member, '{}', 1, statement_timestamp() + r.ttl
  FROM unnest($1::uuid[], $2::bytea[], $3::text[], $4::interval[]) AS r (id, token, member, ttl)
ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at
 WHERE $5 AND s.token_hash = excluded.token_hash AND s.member = excluded.member AND s.generation = 1
RETURNING s.id, s.member, s.rooms, s.generation, s.expires_at`
	resumeSQL = `
UPDATE session s SET token_hash = r.next, attempt = r.attempt, expires_at = statement_timestamp() + r.ttl,
       prev_hash = CASE WHEN s.token_hash = r.next THEN s.prev_hash ELSE r.presented END,
       generation = CASE WHEN s.token_hash = r.next THEN s.generation ELSE s.generation + 1 END
  FROM unnest($1::uuid[], $2::bytea[], $3::bytea[], $4::interval[], $5::bigint[]) AS r (id, presented, next, ttl, attempt)
 WHERE s.id = r.id AND s.expires_at > statement_timestamp()
   AND (r.presented = s.token_hash OR r.presented = s.prev_hash AND (r.attempt = 0 OR r.attempt > s.attempt OR s.token_hash = r.next))
RETURNING s.id, s.member, s.rooms, s.generation, s.expires_at`
	saveSQL = `
UPDATE session s SET rooms = r.rooms::text[], saver = $5, save_no = r.save_no, expires_at = statement_timestamp() + r.ttl
  FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::interval[], $6::bigint[]) AS r (id, generation, rooms, ttl, save_no)
 WHERE s.id = r.id AND s.generation = r.generation AND s.expires_at > statement_timestamp()
   AND (s.saver <> $5 OR s.save_no <= r.save_no)
RETURNING s.id, s.member, s.rooms, s.generation, s.expires_at`
	aliveSQL = `
SELECT id, member, rooms, generation, expires_at FROM session WHERE id = ANY ($1) AND expires_at > statement_timestamp()`
)

// sessionSet is what the changes of one kind have in common.
type sessionSet struct {
	changes     []int // their indexes in the batch
	ids         [][16]byte
	tokens      [][]byte
	next        [][]byte
	texts       []string // member, or rooms as an array literal
	attempts    []int64
	generations []int64
	saves       []int64
	ttls        []time.Duration
}

// changeSessions makes the changes in one round trip and one transaction. results gets what each is answered.
func changeSessions(ctx context.Context, c *conn, batch []*sessionChange, results []error, saver int64, repeated bool) error {
	var sets [3]sessionSet
	for i, change := range batch {
		if err := sets[change.kind].add(i, change); err != nil {
			return err
		}
	}
	var all pgx.Batch
	if s := &sets[createSessions]; len(s.ids) > 0 {
		all.Queue(createSQL, s.ids, s.tokens, s.texts, s.ttls, repeated)
	}
	if s := &sets[resumeSessions]; len(s.ids) > 0 {
		all.Queue(resumeSQL, s.ids, s.tokens, s.next, s.ttls, s.attempts)
	}
	saves := &sets[saveSessions]
	if len(saves.ids) > 0 {
		all.Queue(saveSQL, saves.ids, saves.generations, saves.texts, saves.ttls, saver, saves.saves)
		all.Queue(aliveSQL, saves.ids) // sees what was there before the batch and what the batch made
	}
	r := c.SendBatch(ctx, &all)
	missing := [3]error{persistence.ErrConflict, persistence.ErrSessionUnknown, persistence.ErrSessionUnknown}
	for kind := range sets {
		if len(sets[kind].ids) == 0 {
			continue
		}
		made, err := readSessions(r)
		if err == nil && kind == int(saveSessions) {
			var alive map[persistence.SessionID]persistence.Session
			alive, err = readSessions(r)
			for _, i := range saves.changes {
				if _, ok := alive[batch[i].id]; ok {
					results[i] = persistence.ErrSessionReplaced
				} else {
					results[i] = persistence.ErrSessionUnknown
				}
			}
		}
		if err != nil {
			return errors.Join(err, r.Close())
		}
		for _, i := range sets[kind].changes {
			s, ok := made[batch[i].id]
			switch {
			case ok:
				batch[i].session, results[i] = s, nil
			case kind != int(saveSessions):
				results[i] = missing[kind]
			}
		}
	}
	return r.Close()
}

func (s *sessionSet) add(i int, c *sessionChange) error {
	s.changes = append(s.changes, i)
	s.ids = append(s.ids, c.id)
	s.tokens = append(s.tokens, c.token[:])
	s.next = append(s.next, c.next[:])
	s.attempts = append(s.attempts, int64(c.attempt))
	s.generations = append(s.generations, int64(c.generation))
	s.saves = append(s.saves, c.save)
	s.ttls = append(s.ttls, c.ttl)
	text := c.member
	if c.kind == saveSessions {
		rooms := c.rooms
		if rooms == nil {
			rooms = []string{}
		}
		literal, err := pgtype.NewMap().Encode(pgtype.TextArrayOID, pgtype.TextFormatCode, rooms, nil)
		if err != nil {
			return err
		}
		text = string(literal)
	}
	s.texts = append(s.texts, text)
	return nil
}

func readSessions(r pgx.BatchResults) (map[persistence.SessionID]persistence.Session, error) {
	rows, err := r.Query()
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := map[persistence.SessionID]persistence.Session{}
	for rows.Next() {
		s, err := scanSession(rows)
		if err != nil {
			return nil, err
		}
		found[s.ID] = s
	}
	return found, rows.Err()
}

func scanSession(row pgx.Row) (s persistence.Session, err error) {
	err = row.Scan((*[16]byte)(&s.ID), &s.Member, &s.Rooms, &s.Generation, &s.ExpiresAt)
	s.ExpiresAt = s.ExpiresAt.UTC()
	if len(s.Rooms) == 0 {
		s.Rooms = nil
	}
	return s, err
}
