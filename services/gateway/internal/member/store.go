package member

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"time"

	"github.com/parley-rt/parley/libs/opskit/failpoint"
	"github.com/parley-rt/parley/libs/persistence"
)

// storeTimeout bounds one access to the session store; it is shorter than what a command may take.
const storeTimeout = 3 * time.Second

// checkEvery is how often open connections are compared with their sessions: one that was resumed at another gateway node is
// closed here not later than about this plus storeTimeout, while the store answers.
const checkEvery = 5 * time.Second

// Store keeps sessions, and knows who is blocked.
type Store interface {
	persistence.SessionStore
	persistence.BlockStore
}

// Sessions opens and keeps sessions in the store. Safe for concurrent use.
type Sessions struct {
	store     Store
	ttl       time.Duration
	newMember func() string
}

// NewSessions returns sessions that can be resumed for ttl after their last connection, and for up to half as long again.
func NewSessions(store Store, ttl time.Duration, newMember func() string) *Sessions {
	return &Sessions{store: store, ttl: ttl, newMember: newMember}
}

// open resumes the session of a token, or makes a new one. Only a token that is certainly no good gives a new one: a
// store that cannot be asked is an error.
//
// member is who the client has proved to be: a session belongs to its member, and to anybody else its token is one of a session
// that never was. Empty: a guest, who has what the token gives, or a new name.
//
// What a token that is no good was once good for cannot be told from outside: one that is spent, forged or of a session that
// never was takes the same two accesses.
func (s *Sessions) open(ctx context.Context, member, presented string, attempt uint64) Opened {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if member != "" { // a blocked one leaves its sessions as they are
		if o := s.blocked(ctx, member); o.Err != nil || o.Blocked != nil {
			return o
		}
	}
	if t, ok := parseToken(presented); ok {
		next := newToken(t.id)
		row, err := s.store.ResumeSession(ctx, t.id, t.hash(member), next.hash(member), min(attempt, math.MaxInt64), s.rowTTL())
		if err == nil {
			if member != "" && row.Member != member {
				return Opened{Err: errForeignSession}
			}
			failpoint.Hit("member.after-resume")
			if member == "" { // only now it is known who the guest is
				if o := s.blocked(ctx, row.Member); o.Err != nil || o.Blocked != nil {
					return o
				}
			}
			return s.opened(row, next, true)
		}
		if !errors.Is(err, persistence.ErrSessionUnknown) {
			return Opened{Err: fmt.Errorf("resume session: %w", err)}
		}
	}
	t := newToken(newSessionID())
	name := member
	if name == "" {
		name = s.newMember()
	}
	row, err := s.store.CreateSession(ctx, t.id, t.hash(member), name, s.rowTTL())
	if err != nil {
		return Opened{Err: fmt.Errorf("create session: %w", err)}
	}
	return s.opened(row, t, false)
}

// rowTTL is what a row gets: the connection may end a round of extending later, and one more round may fail.
func (s *Sessions) rowTTL() time.Duration { return s.ttl + 2*s.extendEvery() }

func (s *Sessions) extendEvery() time.Duration { return s.ttl / 4 }

func (s *Sessions) opened(row persistence.Session, t token, resumed bool) Opened {
	return Opened{
		Token: t.String(), ID: sessionName(row.ID), Generation: row.Generation, Member: row.Member,
		Rooms: row.Rooms, Resumed: resumed, ExpiresAt: row.ExpiresAt.Add(s.ttl - s.rowTTL()), id: row.ID,
	}
}

func (s *Sessions) saveRooms(ctx context.Context, o Opened, rooms []string) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := s.store.SaveSessionRooms(ctx, o.id, o.Generation, rooms, s.rowTTL()); err != nil {
		return fmt.Errorf("save rooms of session: %w", err)
	}
	failpoint.Hit("member.after-save")
	return nil
}

// Keep looks after the sessions of open connections until ctx ends: it extends them long before they expire, and closes
// connections whose session has a newer one somewhere or is gone.
func (s *Sessions) Keep(ctx context.Context, r *Registry, logger *slog.Logger) {
	extend, check := time.NewTicker(s.extendEvery()), time.NewTicker(checkEvery)
	defer extend.Stop()
	defer check.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-extend.C:
			s.each(ctx, r, func(ctx context.Context, held []persistence.HeldSession) {
				ids := make([]persistence.SessionID, len(held))
				for i, h := range held {
					ids[i] = h.ID
				}
				if err := s.store.ExtendSessions(ctx, ids, s.rowTTL()); err != nil && !errors.Is(err, context.Canceled) {
					logger.Warn("sessions could not be extended; the next round tries again", "count", len(ids), "err", err)
				}
			})
		case <-check.C:
			s.each(ctx, r, func(ctx context.Context, held []persistence.HeldSession) {
				lost, err := s.store.LostSessions(ctx, held)
				if err != nil && !errors.Is(err, context.Canceled) {
					logger.Warn("sessions could not be compared; the next round tries again", "count", len(held), "err", err)
				}
				r.lose(held, lost)
			})
		}
	}
}

// each calls do for the held sessions, as many at a time as the store takes.
func (s *Sessions) each(ctx context.Context, r *Registry, do func(ctx context.Context, held []persistence.HeldSession)) {
	for held := range slices.Chunk(r.held(), persistence.MaxExtendSessions) {
		call, cancel := context.WithTimeout(ctx, storeTimeout)
		do(call, held)
		cancel()
	}
}
