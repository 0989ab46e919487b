package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
)

type session struct {
	persistence.Session
	token persistence.TokenHash
	// replaced is the token before; nil in a session never resumed.
	replaced *persistence.TokenHash
	attempt  uint64 // that the replaced token was presented with
}

// alive returns the session unless it is missing or expired.
func (b *Backend) alive(id persistence.SessionID) (*session, bool) {
	s, known := b.sessions[id]
	if !known || !s.ExpiresAt.After(b.now()) {
		return nil, false
	}
	return s, true
}

// lostAnswer tells whether the token is the replaced one, in an attempt after the one that replaced it.
func (s *session) lostAnswer(presented persistence.TokenHash, attempt uint64) bool {
	return s.replaced != nil && *s.replaced == presented && (attempt == 0 || attempt > s.attempt)
}

func (s *session) copy() persistence.Session {
	c := s.Session
	c.Rooms = slices.Clone(c.Rooms)
	return c
}

// CreateSession implements persistence.SessionStore.
func (b *Backend) CreateSession(ctx context.Context, id persistence.SessionID, token persistence.TokenHash, member string, ttl time.Duration) (out persistence.Session, err error) {
	err = b.do(ctx, "create session", func() error {
		if err := persistence.ValidateMember(member); err != nil {
			return err
		}
		if err := persistence.ValidateTTL(ttl); err != nil {
			return err
		}
		if _, known := b.sessions[id]; known {
			return fmt.Errorf("id exists: %w", persistence.ErrConflict)
		}
		s := &session{token: token, Session: persistence.Session{
			ID: id, Member: member, Generation: 1, ExpiresAt: b.now().Add(ttl),
		}}
		b.sessions[id] = s
		out = s.copy()
		return nil
	})
	return out, err
}

// ResumeSession implements persistence.SessionStore.
func (b *Backend) ResumeSession(ctx context.Context, id persistence.SessionID, presented, next persistence.TokenHash, attempt uint64, ttl time.Duration) (out persistence.Session, err error) {
	err = b.do(ctx, "resume session", func() error {
		if err := persistence.ValidateAttempt(attempt); err != nil {
			return err
		}
		if err := persistence.ValidateTTL(ttl); err != nil {
			return err
		}
		s, ok := b.alive(id)
		if !ok || s.token != presented && !s.lostAnswer(presented, attempt) {
			return persistence.ErrSessionUnknown
		}
		s.token, s.replaced, s.attempt = next, &presented, attempt
		s.Generation++
		s.ExpiresAt = b.now().Add(ttl)
		out = s.copy()
		return nil
	})
	return out, err
}

// SaveSessionRooms implements persistence.SessionStore.
func (b *Backend) SaveSessionRooms(ctx context.Context, id persistence.SessionID, generation uint64, rooms []string, ttl time.Duration) error {
	return b.do(ctx, "save the rooms of a session", func() error {
		sorted, err := persistence.SortedRooms(rooms)
		if err != nil {
			return err
		}
		if err := persistence.ValidateTTL(ttl); err != nil {
			return err
		}
		s, ok := b.alive(id)
		switch {
		case !ok:
			return persistence.ErrSessionUnknown
		case s.Generation != generation:
			return persistence.ErrSessionReplaced
		}
		s.Rooms = sorted
		s.ExpiresAt = b.now().Add(ttl)
		return nil
	})
}

// ExtendSessions implements persistence.SessionStore.
func (b *Backend) ExtendSessions(ctx context.Context, ids []persistence.SessionID, ttl time.Duration) error {
	return b.do(ctx, "extend sessions", func() error {
		if err := persistence.ValidateTTL(ttl); err != nil {
			return err
		}
		if len(ids) > persistence.MaxExtendSessions {
			return fmt.Errorf("%d sessions, at most %d: %w", len(ids), persistence.MaxExtendSessions, persistence.ErrTooLarge)
		}
		expires := b.now().Add(ttl)
		for _, id := range ids {
			if s, ok := b.alive(id); ok && s.ExpiresAt.Before(expires) {
				s.ExpiresAt = expires
			}
		}
		return nil
	})
}

// LostSessions implements persistence.SessionStore.
func (b *Backend) LostSessions(ctx context.Context, held []persistence.HeldSession) (lost []persistence.HeldSession, err error) {
	err = b.do(ctx, "look for lost sessions", func() error {
		if len(held) > persistence.MaxExtendSessions {
			return fmt.Errorf("%d sessions, at most %d: %w", len(held), persistence.MaxExtendSessions, persistence.ErrTooLarge)
		}
		for _, h := range held {
			s, ok := b.alive(h.ID)
			switch {
			case !ok:
				lost = append(lost, persistence.HeldSession{ID: h.ID})
			case s.Generation != h.Generation:
				lost = append(lost, persistence.HeldSession{ID: h.ID, Generation: s.Generation})
			}
		}
		return nil
	})
	return lost, err
}

// DeleteExpiredSessions implements persistence.SessionStore.
func (b *Backend) DeleteExpiredSessions(ctx context.Context, limit int) (out []persistence.Session, err error) {
	err = b.do(ctx, "delete expired sessions", func() error {
		if limit < 1 || limit > persistence.MaxRead {
			return fmt.Errorf("limit %d, must be 1 to %d: %w", limit, persistence.MaxRead, persistence.ErrInvalid)
		}
		now := b.now()
		for _, s := range b.sessions {
			if !s.ExpiresAt.After(now) {
				out = append(out, s.copy())
			}
		}
		slices.SortFunc(out, func(x, y persistence.Session) int {
			return cmp.Or(x.ExpiresAt.Compare(y.ExpiresAt), slices.Compare(x.ID[:], y.ID[:]))
		})
		out = out[:min(limit, len(out))]
		for _, s := range out {
			delete(b.sessions, s.ID)
		}
		return nil
	})
	return out, err
}
