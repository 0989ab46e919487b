package persistence

import (
	"context"
	"time"
)

// SessionID identifies a session row.
type SessionID [16]byte

// TokenHash is the SHA-256 of a session token. Tokens themselves are never stored.
type TokenHash [32]byte

// Session is what survives a member's reconnects.
type Session struct {
	ID     SessionID
	Member string
	// Rooms the member joined in this session, sorted; nil when there are none.
	Rooms []string
	// Generation rises with every resume; a connection of an older generation has been replaced.
	Generation uint64
	ExpiresAt  time.Time
}

// HeldSession is what a connection has of its session: the generation that it was answered.
type HeldSession struct {
	ID         SessionID
	Generation uint64
}

// Limits of a session.
const (
	// MaxSessionRooms is how many rooms a session may list.
	MaxSessionRooms = 1_000
	// MaxExtendSessions is how many sessions one ExtendSessions or LostSessions takes.
	MaxExtendSessions = 1_000
)

// SessionStore keeps sessions. Every change is one conditional update, group-committed across sessions; all times are by
// the backend's clock. Implementations are safe for concurrent use.
type SessionStore interface {
	// CreateSession stores a new session of generation 1. ErrConflict when the id exists, also when it is expired but not
	// deleted yet.
	CreateSession(ctx context.Context, id SessionID, token TokenHash, member string, ttl time.Duration) (Session, error)

	// ResumeSession takes the session over: it accepts the newest issued token or the one that it replaced, rotates to
	// next, raises the generation and extends the expiry. Presenting the newest retires the older; presenting the older
	// (the answer with the newest was lost) retires the never used newest. ErrSessionUnknown for any other token, an
	// expired or an unknown session.
	//
	// attempt numbers the client's attempts to resume, rising; 0: it does not number them. An attempt whose client has given
	// it up may be carried out late, after a later one with the same token: it then is ErrSessionUnknown and takes nothing
	// from the later one's connection. ErrInvalid over math.MaxInt64.
	ResumeSession(ctx context.Context, id SessionID, presented, next TokenHash, attempt uint64, ttl time.Duration) (Session, error)

	// SaveSessionRooms replaces the rooms while the session is still of that generation; else ErrSessionReplaced
	// (ErrSessionUnknown when it is gone), and sets the expiry to now + ttl. Rooms are stored sorted and without repeats.
	// ErrTooLarge over MaxSessionRooms.
	SaveSessionRooms(ctx context.Context, id SessionID, generation uint64, rooms []string, ttl time.Duration) error

	// ExtendSessions pushes the expiry of living sessions out to now + ttl, never back; unknown and expired ones are
	// passed over. ErrTooLarge over MaxExtendSessions.
	ExtendSessions(ctx context.Context, ids []SessionID, ttl time.Duration) error

	// LostSessions returns those of the held sessions that were resumed since, with the present generation, and those that
	// are expired or unknown, with generation 0; in no order. A resume that was answered before the call is seen.
	// ErrTooLarge over MaxExtendSessions.
	LostSessions(ctx context.Context, held []HeldSession) ([]HeldSession, error)

	// DeleteExpiredSessions removes up to limit (1 to MaxRead) expired sessions, the longest expired first, and returns
	// them, so that their memberships can be ended. A caller that dies in between has lost them: end memberships whose
	// session is unknown, too.
	DeleteExpiredSessions(ctx context.Context, limit int) ([]Session, error)
}
