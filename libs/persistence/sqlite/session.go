package sqlite

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
)

// CreateSession implements persistence.SessionStore.
func (b *Backend) CreateSession(ctx context.Context, id persistence.SessionID, token persistence.TokenHash, member string, ttl time.Duration) (persistence.Session, error) {
	err := persistence.ValidateMember(member)
	if err == nil {
		err = persistence.ValidateTTL(ttl)
	}
	m := &createSession{id: id, token: token, member: member, ttl: ttl}
	if err == nil {
		err = b.submit(ctx, &request{mutation: m, events: 1, bytes: len(member)})
	}
	if err != nil {
		return persistence.Session{}, fmt.Errorf("create session: %w", err)
	}
	return m.session, nil
}

type createSession struct {
	id      persistence.SessionID
	token   persistence.TokenHash
	member  string
	ttl     time.Duration
	session persistence.Session
}

func (m *createSession) apply(w *writer) error {
	expires := w.at.Add(m.ttl).UnixNano()
	s := w.st.createSession
	s.Blob(1, m.id[:])
	s.Blob(2, m.token[:])
	s.Text(3, m.member)
	s.Blob(4, nil)
	s.Int(5, expires)
	if err := s.Run(); err != nil {
		return err
	}
	if w.conn.Changes() == 0 {
		return fmt.Errorf("id exists: %w", persistence.ErrConflict)
	}
	m.session = persistence.Session{ID: m.id, Member: m.member, Generation: 1, ExpiresAt: fromNanos(expires)}
	return nil
}

// ResumeSession implements persistence.SessionStore.
func (b *Backend) ResumeSession(ctx context.Context, id persistence.SessionID, presented, next persistence.TokenHash, attempt uint64, ttl time.Duration) (persistence.Session, error) {
	m := &resumeSession{id: id, presented: presented, next: next, attempt: attempt, ttl: ttl}
	err := persistence.ValidateTTL(ttl)
	if err == nil {
		err = persistence.ValidateAttempt(attempt)
	}
	if err == nil {
		err = b.submit(ctx, &request{mutation: m, events: 1})
	}
	if err != nil {
		return persistence.Session{}, fmt.Errorf("resume session: %w", err)
	}
	return m.session, nil
}

type resumeSession struct {
	id              persistence.SessionID
	presented, next persistence.TokenHash
	attempt         uint64
	ttl             time.Duration
	session         persistence.Session
}

// apply makes the presented token the replaced one, whichever of the two it was: the other one is retired by that.
func (m *resumeSession) apply(w *writer) error {
	expires := w.at.Add(m.ttl).UnixNano()
	s := w.st.resumeSession
	s.Blob(1, m.id[:])
	s.Blob(2, m.presented[:])
	s.Blob(3, m.next[:])
	s.Int(4, w.at.UnixNano())
	s.Int(5, expires)
	s.Int(6, int64(m.attempt))
	row, err := s.Step()
	if err != nil {
		return err
	}
	if !row {
		return persistence.ErrSessionUnknown
	}
	m.session = persistence.Session{
		ID: m.id, Member: s.ColumnText(0), Generation: uint64(s.ColumnInt(2)), ExpiresAt: fromNanos(expires),
	}
	rooms := s.ColumnBlob(1)
	if err := s.Run(); err != nil {
		return err
	}
	m.session.Rooms, err = decodeRooms(rooms)
	return err
}

// SaveSessionRooms implements persistence.SessionStore.
func (b *Backend) SaveSessionRooms(ctx context.Context, id persistence.SessionID, generation uint64, rooms []string, ttl time.Duration) error {
	sorted, err := persistence.SortedRooms(rooms)
	if err == nil {
		err = persistence.ValidateTTL(ttl)
	}
	if err == nil {
		m := saveRooms{id: id, generation: generation, rooms: encodeRooms(sorted), ttl: ttl}
		err = b.submit(ctx, &request{mutation: m, events: 1, bytes: len(m.rooms)})
	}
	if err != nil {
		return fmt.Errorf("save the rooms of a session: %w", err)
	}
	return nil
}

type saveRooms struct {
	id         persistence.SessionID
	generation uint64
	rooms      []byte
	ttl        time.Duration
}

func (m saveRooms) apply(w *writer) error {
	s := w.st.sessionRooms
	s.Blob(1, m.id[:])
	s.Int(2, int64(m.generation))
	s.Blob(3, m.rooms)
	s.Int(4, w.at.UnixNano())
	s.Int(5, w.at.Add(m.ttl).UnixNano())
	if err := s.Run(); err != nil || w.conn.Changes() > 0 {
		return err
	}
	s = w.st.sessionAlive
	s.Blob(1, m.id[:])
	s.Int(2, w.at.UnixNano())
	defer s.Reset()
	switch alive, err := s.Step(); {
	case err != nil:
		return err
	case alive:
		return persistence.ErrSessionReplaced
	default:
		return persistence.ErrSessionUnknown
	}
}

// ExtendSessions implements persistence.SessionStore.
func (b *Backend) ExtendSessions(ctx context.Context, ids []persistence.SessionID, ttl time.Duration) error {
	err := persistence.ValidateTTL(ttl)
	if err == nil && len(ids) > persistence.MaxExtendSessions {
		err = fmt.Errorf("%d sessions, at most %d: %w", len(ids), persistence.MaxExtendSessions, persistence.ErrTooLarge)
	}
	if err == nil && len(ids) > 0 {
		m := extendSessions{ids: slices.Clone(ids), ttl: ttl}
		err = b.submit(ctx, &request{mutation: m, events: len(ids), bytes: len(ids) * len(ids[0])})
	}
	if err != nil {
		return fmt.Errorf("extend sessions: %w", err)
	}
	return nil
}

type extendSessions struct {
	ids []persistence.SessionID
	ttl time.Duration
}

func (m extendSessions) apply(w *writer) error {
	for i := range m.ids {
		s := w.st.extendSession
		s.Blob(1, m.ids[i][:])
		s.Int(2, w.at.UnixNano())
		s.Int(3, w.at.Add(m.ttl).UnixNano())
		if err := s.Run(); err != nil {
			return err
		}
	}
	return nil
}

// LostSessions implements persistence.SessionStore.
func (b *Backend) LostSessions(ctx context.Context, held []persistence.HeldSession) (lost []persistence.HeldSession, err error) {
	if len(held) > persistence.MaxExtendSessions {
		err = fmt.Errorf("%d sessions, at most %d: %w", len(held), persistence.MaxExtendSessions, persistence.ErrTooLarge)
	} else if len(held) > 0 {
		err = b.read(ctx, func(r *reader) error {
			lost, err = r.lostSessions(held, b.now())
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("look for lost sessions: %w", err)
	}
	return lost, nil
}

func (r *reader) lostSessions(held []persistence.HeldSession, now time.Time) (lost []persistence.HeldSession, err error) {
	s := r.st.generation
	defer s.Reset()
	for i := range held {
		s.Blob(1, held[i].ID[:])
		s.Int(2, now.UnixNano())
		row, err := s.Step()
		if err != nil {
			return nil, err
		}
		generation := uint64(0)
		if row {
			generation = uint64(s.ColumnInt(0))
		}
		if generation != held[i].Generation {
			lost = append(lost, persistence.HeldSession{ID: held[i].ID, Generation: generation})
		}
		s.Reset()
	}
	return lost, nil
}

// DeleteExpiredSessions implements persistence.SessionStore.
func (b *Backend) DeleteExpiredSessions(ctx context.Context, limit int) ([]persistence.Session, error) {
	if limit < 1 || limit > persistence.MaxRead {
		return nil, fmt.Errorf("delete expired sessions: limit %d, must be 1 to %d: %w", limit, persistence.MaxRead, persistence.ErrInvalid)
	}
	m := &deleteExpired{limit: limit}
	if err := b.submit(ctx, &request{mutation: m, events: 1}); err != nil {
		return nil, fmt.Errorf("delete expired sessions: %w", err)
	}
	return m.sessions, nil
}

type deleteExpired struct {
	limit    int
	sessions []persistence.Session
}

func (m *deleteExpired) apply(w *writer) error {
	if err := m.find(w); err != nil {
		return err
	}
	for i := range m.sessions {
		s := w.st.deleteSession
		s.Blob(1, m.sessions[i].ID[:])
		if err := s.Run(); err != nil {
			return err
		}
	}
	return nil
}

func (m *deleteExpired) find(w *writer) error {
	m.sessions = nil
	s := w.st.expiredSessions
	s.Int(1, w.at.UnixNano())
	s.Int(2, int64(m.limit))
	defer s.Reset()
	for {
		row, err := s.Step()
		if err != nil || !row {
			return err
		}
		found := persistence.Session{
			Member: s.ColumnText(1), Generation: uint64(s.ColumnInt(3)), ExpiresAt: fromNanos(s.ColumnInt(4)),
		}
		s.CopyBlob(0, found.ID[:])
		if found.Rooms, err = decodeRooms(s.ColumnBlob(2)); err != nil {
			return err
		}
		m.sessions = append(m.sessions, found)
	}
}

// encodeRooms writes each room as its length and its bytes.
func encodeRooms(rooms []string) []byte {
	var out []byte
	for _, room := range rooms {
		out = binary.AppendUvarint(out, uint64(len(room)))
		out = append(out, room...)
	}
	return out
}

func decodeRooms(in []byte) ([]string, error) {
	var rooms []string
	for len(in) > 0 {
		n, width := binary.Uvarint(in)
		if width <= 0 || n > uint64(len(in)-width) {
			return nil, fmt.Errorf("rooms of a session: %w", persistence.ErrCorrupt)
		}
		end := width + int(n)
		rooms = append(rooms, string(in[width:end]))
		in = in[end:]
	}
	return rooms, nil
}
