package member

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
)

// storeTimeout bounds one access to the session store; it is shorter than what a command may take.
const storeTimeout = 3 * time.Second

// extendMost is how many sessions one call extends.
const extendMost = 1000

// Sessions opens and keeps sessions in the store. Safe for concurrent use.
type Sessions struct {
	store     persistence.SessionStore
	ttl       time.Duration
	newMember func() string
}

// NewSessions returns sessions that live for ttl after their last connection.
func NewSessions(store persistence.SessionStore, ttl time.Duration, newMember func() string) *Sessions {
	return &Sessions{store: store, ttl: ttl, newMember: newMember}
}

// open resumes the session of a token, or makes a new one. Only a token that is certainly no good gives a new one: a
// store that cannot be asked is an error.
func (s *Sessions) open(ctx context.Context, presented string) Opened {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if t, ok := parseToken(presented); ok {
		next := newToken(t.id)
		row, err := s.store.ResumeSession(ctx, t.id, t.hash(), next.hash(), s.ttl)
		if err == nil {
			return opened(row, next, true)
		}
		if !errors.Is(err, persistence.ErrSessionUnknown) {
			return Opened{Err: fmt.Errorf("resume session: %w", err)}
		}
	}
	t := newToken(newSessionID())
	row, err := s.store.CreateSession(ctx, t.id, t.hash(), s.newMember(), s.ttl)
	if err != nil {
		return Opened{Err: fmt.Errorf("create session: %w", err)}
	}
	return opened(row, t, false)
}

func opened(row persistence.Session, t token, resumed bool) Opened {
	return Opened{
		Token: t.String(), ID: sessionName(row.ID), Generation: row.Generation, Member: row.Member,
		Rooms: row.Rooms, Resumed: resumed, ExpiresAt: row.ExpiresAt, id: row.ID,
	}
}

func (s *Sessions) saveRooms(ctx context.Context, o Opened, rooms []string) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := s.store.SaveSessionRooms(ctx, o.id, o.Generation, rooms, s.ttl); err != nil {
		return fmt.Errorf("save rooms of session: %w", err)
	}
	return nil
}

// Keep extends the sessions of open connections until ctx ends, long before they expire.
func (s *Sessions) Keep(ctx context.Context, r *Registry, logger *slog.Logger) {
	t := time.NewTicker(s.ttl / 4)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		ids := r.sessions()
		for len(ids) > 0 {
			n := min(len(ids), extendMost)
			call, cancel := context.WithTimeout(ctx, storeTimeout)
			err := s.store.ExtendSessions(call, ids[:n], s.ttl)
			cancel()
			if err != nil && ctx.Err() == nil {
				logger.Warn("sessions could not be extended; the next round tries again", "count", n, "err", err)
			}
			ids = ids[n:]
		}
	}
}
