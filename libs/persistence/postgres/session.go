package postgres

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/parley-rt/parley/libs/persistence"
)

// Changes of sessions go through the sessions' writer (sessionwriter.go), which gathers them. All times are the server's.

// CreateSession implements persistence.SessionStore.
func (b *Backend) CreateSession(ctx context.Context, id persistence.SessionID, token persistence.TokenHash, member string, ttl time.Duration) (persistence.Session, error) {
	err := persistence.ValidateMember(member)
	if err == nil {
		err = persistence.ValidateTTL(ttl)
	}
	c := &sessionChange{kind: createSessions, id: id, token: token, member: member, ttl: ttl}
	if err == nil {
		err = b.sessions.do(ctx, c)
	}
	if err != nil {
		return persistence.Session{}, fmt.Errorf("create session: %w", err)
	}
	return c.session, nil
}

// ResumeSession implements persistence.SessionStore.
func (b *Backend) ResumeSession(ctx context.Context, id persistence.SessionID, presented, next persistence.TokenHash, attempt uint64, ttl time.Duration) (persistence.Session, error) {
	err := persistence.ValidateTTL(ttl)
	if err == nil {
		err = persistence.ValidateAttempt(attempt)
	}
	c := &sessionChange{kind: resumeSessions, id: id, token: presented, next: next, attempt: attempt, ttl: ttl}
	if err == nil {
		err = b.sessions.do(ctx, c)
	}
	if err != nil {
		return persistence.Session{}, fmt.Errorf("resume session: %w", err)
	}
	return c.session, nil
}

// SaveSessionRooms implements persistence.SessionStore.
func (b *Backend) SaveSessionRooms(ctx context.Context, id persistence.SessionID, generation uint64, rooms []string, ttl time.Duration) error {
	sorted, err := persistence.SortedRooms(rooms)
	if err == nil {
		err = persistence.ValidateTTL(ttl)
	}
	if err == nil {
		err = b.sessions.do(ctx, &sessionChange{kind: saveSessions, id: id, generation: generation, rooms: sorted, ttl: ttl})
	}
	if err != nil {
		return fmt.Errorf("save the rooms of a session: %w", err)
	}
	return nil
}

const extendSQL = `
UPDATE session SET expires_at = greatest(expires_at, statement_timestamp() + $2) WHERE id = ANY ($1) AND expires_at > statement_timestamp()`

// ExtendSessions implements persistence.SessionStore. Each call is a transaction of its own: it has many sessions already.
func (b *Backend) ExtendSessions(ctx context.Context, ids []persistence.SessionID, ttl time.Duration) error {
	err := persistence.ValidateTTL(ttl)
	if err == nil && len(ids) > persistence.MaxExtendSessions {
		err = fmt.Errorf("%d sessions, at most %d: %w", len(ids), persistence.MaxExtendSessions, persistence.ErrTooLarge)
	}
	if err == nil && len(ids) > 0 {
		// In one order everywhere: two calls that share sessions do not deadlock.
		sorted := slices.SortedFunc(slices.Values(ids), func(a, b persistence.SessionID) int { return slices.Compare(a[:], b[:]) })
		uuids := make([][16]byte, len(sorted))
		for i, id := range sorted {
			uuids[i] = id
		}
		err = b.single(ctx, func(ctx context.Context, c *conn) error {
			_, err := c.Exec(ctx, extendSQL, uuids, ttl)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("extend sessions: %w", err)
	}
	return nil
}

const lostSQL = `
SELECT h.id, coalesce(s.generation, 0) FROM unnest($1::uuid[], $2::bigint[]) AS h (id, generation)
  LEFT JOIN session s ON s.id = h.id AND s.expires_at > statement_timestamp()
 WHERE s.generation IS DISTINCT FROM h.generation`

// LostSessions implements persistence.SessionStore.
func (b *Backend) LostSessions(ctx context.Context, held []persistence.HeldSession) (lost []persistence.HeldSession, err error) {
	if len(held) > persistence.MaxExtendSessions {
		err = fmt.Errorf("%d sessions, at most %d: %w", len(held), persistence.MaxExtendSessions, persistence.ErrTooLarge)
	} else if len(held) > 0 {
		ids, generations := make([][16]byte, len(held)), make([]int64, len(held))
		for i, h := range held {
			ids[i], generations[i] = h.ID, int64(h.Generation)
		}
		err = b.readConn(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
			rows, err := c.Query(ctx, lostSQL, ids, generations)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var h persistence.HeldSession
				if err := rows.Scan((*[16]byte)(&h.ID), &h.Generation); err != nil {
					return err
				}
				lost = append(lost, h)
			}
			return rows.Err()
		})
	}
	if err != nil {
		return nil, fmt.Errorf("look for lost sessions: %w", err)
	}
	return lost, nil
}

// deleteExpiredSQL passes over sessions that another node is deleting or somebody changes.
const deleteExpiredSQL = `
DELETE FROM session WHERE id IN (
	SELECT id FROM session WHERE expires_at <= statement_timestamp() ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED)
RETURNING id, member, rooms, generation, expires_at`

// DeleteExpiredSessions implements persistence.SessionStore.
func (b *Backend) DeleteExpiredSessions(ctx context.Context, limit int) ([]persistence.Session, error) {
	if limit < 1 || limit > persistence.MaxRead {
		return nil, fmt.Errorf("delete expired sessions: limit %d, must be 1 to %d: %w", limit, persistence.MaxRead, persistence.ErrInvalid)
	}
	var sessions []persistence.Session
	// Not repeated: another run would not return what the first one deleted.
	err := b.once(ctx, b.slots, false, func(ctx context.Context, c *conn) error {
		sessions = nil
		rows, err := c.Query(ctx, deleteExpiredSQL, limit)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			s, err := scanSession(rows)
			if err != nil {
				return err
			}
			sessions = append(sessions, s)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("delete expired sessions: %w", err)
	}
	slices.SortFunc(sessions, func(a, b persistence.Session) int { return a.ExpiresAt.Compare(b.ExpiresAt) })
	return sessions, nil
}
