package persistencetest

import (
	"crypto/sha256"
	"fmt"
	"math"
	"strings"
	"sync"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
)

var sessionTests = []namedTest{
	{"create", sessionCreate},
	{"resume rotates the token", sessionRotates},
	{"resume after a lost answer", sessionLostAnswer},
	{"late attempts", sessionLateAttempts},
	{"forged and unknown", sessionForged},
	{"rooms", sessionRooms},
	{"rooms of a replaced connection", sessionReplaced},
	{"expiry", sessionExpiry},
	{"extension", sessionExtension},
	{"lost ones", sessionLost},
	{"deletion of expired ones", sessionDeletion},
	{"a thousand changes at once", sessionMany},
}

func sessionID(n int) (id persistence.SessionID) {
	copy(id[:], fmt.Sprintf("session-%08d", n))
	return id
}

func token(name string) persistence.TokenHash { return sha256.Sum256([]byte(name)) }

func (b *bench) session(n int, tok string) persistence.Session {
	b.Helper()
	s, err := b.CreateSession(b.Context(), sessionID(n), token(tok), "ada", 10*b.unit())
	require.NoError(b, err)
	return s
}

func (b *bench) resume(n int, presented, next string) (persistence.Session, error) {
	return b.ResumeSession(b.Context(), sessionID(n), token(presented), token(next), 0, 10*b.unit())
}

func (b *bench) mustResume(n int, presented, next string) persistence.Session {
	b.Helper()
	s, err := b.resume(n, presented, next)
	require.NoError(b, err)
	return s
}

func (b *bench) cannotResume(n int, presented string) {
	b.Helper()
	_, err := b.resume(n, presented, "never")
	require.ErrorIs(b, err, persistence.ErrSessionUnknown)
}

func sessionCreate(b *bench) {
	s := b.session(1, "t1")
	b.expiresIn(10, s.ExpiresAt)
	require.Equal(b, persistence.Session{ID: sessionID(1), Member: "ada", Generation: 1, ExpiresAt: s.ExpiresAt}, s)

	_, err := b.CreateSession(b.Context(), sessionID(1), token("other"), "eve", 10*b.unit())
	require.ErrorIs(b, err, persistence.ErrConflict)
	s = b.mustResume(1, "t1", "t2")
	require.Equal(b, "ada", s.Member, "a conflict changes nothing")

	for _, member := range badNames {
		_, err = b.CreateSession(b.Context(), sessionID(2), token("t"), member, b.unit())
		require.ErrorIs(b, err, persistence.ErrInvalid, "member %q", member)
	}
	_, err = b.CreateSession(b.Context(), sessionID(2), token("t"), "ada", 0)
	require.ErrorIs(b, err, persistence.ErrInvalid)
	_, err = b.ResumeSession(b.Context(), sessionID(1), token("t2"), token("t3"), 0, -1)
	require.ErrorIs(b, err, persistence.ErrInvalid)
}

// sessionRotates: valid are the newest token and the one it replaced, until the newest is first used.
func sessionRotates(b *bench) {
	b.session(1, "t1")
	b.pass(1)
	s := b.mustResume(1, "t1", "t2")
	require.EqualValues(b, 2, s.Generation)
	b.expiresIn(10, s.ExpiresAt)
	require.Equal(b, "ada", s.Member)

	s = b.mustResume(1, "t2", "t3")
	require.EqualValues(b, 3, s.Generation)
	b.cannotResume(1, "t1") // spent
	s = b.mustResume(1, "t3", "t4")
	require.EqualValues(b, 4, s.Generation, "a refusal rotates nothing")
	b.cannotResume(1, "t2")
	b.cannotResume(1, "t1")
}

// sessionLostAnswer: the answer that carried the newest token never arrived, so its holder comes with the one before,
// maybe more than once.
func sessionLostAnswer(b *bench) {
	b.session(1, "t1")
	b.mustResume(1, "t1", "lost1")
	b.mustResume(1, "t1", "lost2")
	b.cannotResume(1, "lost1")
	s := b.mustResume(1, "t1", "t2")
	require.EqualValues(b, 4, s.Generation)
	b.cannotResume(1, "lost2")
	b.mustResume(1, "t2", "t3")
	b.cannotResume(1, "t1")
	b.mustResume(1, "t2", "t4")
	b.cannotResume(1, "t3")
}

// sessionLateAttempts: of the attempts with one token that nobody was answered, the client goes on with the newest, and an
// earlier one that is carried out after it takes nothing.
func sessionLateAttempts(b *bench) {
	attempt := func(number uint64, presented, next string) error {
		_, err := b.ResumeSession(b.Context(), sessionID(1), token(presented), token(next), number, 10*b.unit())
		return err
	}
	b.session(1, "t1")
	require.NoError(b, attempt(2, "t1", "t2"))
	require.ErrorIs(b, attempt(1, "t1", "late"), persistence.ErrSessionUnknown)
	require.ErrorIs(b, attempt(2, "t1", "late"), persistence.ErrSessionUnknown)
	require.NoError(b, b.SaveSessionRooms(b.Context(), sessionID(1), 2, []string{"room"}, 10*b.unit()), "the later one still has it")
	require.NoError(b, attempt(3, "t1", "t3"), "a later one: the answer with t2 was lost")
	require.NoError(b, attempt(1, "t3", "t4"), "numbers of other tokens do not count")
	require.ErrorIs(b, attempt(1, "t3", "late"), persistence.ErrSessionUnknown)
	require.NoError(b, attempt(0, "t3", "t5"), "a client that does not number")
	require.NoError(b, attempt(1, "t3", "t6"))
	require.NoError(b, attempt(math.MaxInt64, "t6", "t7"))
	require.ErrorIs(b, attempt(math.MaxInt64+1, "t7", "t8"), persistence.ErrInvalid)
}

func sessionForged(b *bench) {
	b.session(1, "t1")
	b.session(2, "u1")
	b.cannotResume(1, "forged")
	b.cannotResume(1, "u1") // of another session
	b.cannotResume(3, "t1")
	_, err := b.ResumeSession(b.Context(), sessionID(1), persistence.TokenHash{}, token("t2"), 0, b.unit())
	require.ErrorIs(b, err, persistence.ErrSessionUnknown, "a session that was never resumed has no token before")
	s := b.mustResume(1, "t1", "t2")
	require.EqualValues(b, 2, s.Generation)
}

func sessionRooms(b *bench) {
	b.session(1, "t1")
	save := func(rooms []string) error {
		return b.SaveSessionRooms(b.Context(), sessionID(1), 1, rooms, 10*b.unit())
	}
	mine := []string{"room-b", "räum", "room-a", "room-b", "room", "room-a"}
	require.NoError(b, save(mine))
	require.Equal(b, "room-b", mine[0], "the caller's slice is left alone")
	s := b.mustResume(1, "t1", "t2")
	require.Equal(b, []string{"room", "room-a", "room-b", "räum"}, s.Rooms)
	s.Rooms[0] = "changed"
	s = b.mustResume(1, "t2", "t3")
	require.Equal(b, "room", s.Rooms[0])

	require.NoError(b, b.SaveSessionRooms(b.Context(), sessionID(1), s.Generation, nil, 10*b.unit()))
	s = b.mustResume(1, "t3", "t4")
	require.Nil(b, s.Rooms)

	save = func(rooms []string) error {
		return b.SaveSessionRooms(b.Context(), sessionID(1), s.Generation, rooms, 10*b.unit())
	}
	many := make([]string, persistence.MaxSessionRooms+1)
	for i := range many {
		many[i] = fmt.Sprintf("room-%04d", i)
	}
	require.ErrorIs(b, save(many), persistence.ErrTooLarge)
	require.NoError(b, save(many[1:]))
	s = b.mustResume(1, "t4", "t5")
	require.Equal(b, many[1:], s.Rooms)
	for _, room := range badNames {
		require.ErrorIs(b, save([]string{"ok", room}), persistence.ErrInvalid, "room %q", room)
	}
	require.NoError(b, b.SaveSessionRooms(b.Context(), sessionID(1), s.Generation, []string{strings.Repeat("r", persistence.MaxKeyBytes)}, b.unit()))
	require.ErrorIs(b, b.SaveSessionRooms(b.Context(), sessionID(1), s.Generation, nil, 0), persistence.ErrInvalid)
}

func sessionReplaced(b *bench) {
	b.session(1, "t1")
	b.mustResume(1, "t1", "t2")
	save := func(n int, generation uint64) error {
		return b.SaveSessionRooms(b.Context(), sessionID(n), generation, []string{"room"}, 10*b.unit())
	}
	require.ErrorIs(b, save(1, 1), persistence.ErrSessionReplaced)
	require.ErrorIs(b, save(1, 3), persistence.ErrSessionReplaced)
	require.ErrorIs(b, save(2, 1), persistence.ErrSessionUnknown)
	require.NoError(b, save(1, 2))
	require.NoError(b, save(1, 2))
	s := b.mustResume(1, "t2", "t3")
	require.Equal(b, []string{"room"}, s.Rooms)
}

func sessionExpiry(b *bench) {
	b.session(1, "t1")
	b.session(2, "u1")
	b.pass(8)
	require.NoError(b, b.SaveSessionRooms(b.Context(), sessionID(2), 1, []string{"room"}, 10*b.unit()))
	b.pass(2)
	b.cannotResume(1, "t1") // the last moment is no longer in it
	require.ErrorIs(b, b.SaveSessionRooms(b.Context(), sessionID(1), 1, nil, b.unit()), persistence.ErrSessionUnknown)
	b.mustResume(2, "u1", "u2") // saving extended it
	_, err := b.CreateSession(b.Context(), sessionID(1), token("t"), "ada", b.unit())
	require.ErrorIs(b, err, persistence.ErrConflict, "an expired session is there until it is deleted")
}

func sessionExtension(b *bench) {
	extend := func(ids ...persistence.SessionID) error {
		return b.ExtendSessions(b.Context(), ids, 10*b.unit())
	}
	for i := range 3 {
		b.session(i, "t1")
	}
	b.pass(8)
	require.NoError(b, extend(sessionID(0), sessionID(77), sessionID(1)))
	b.pass(4)
	b.cannotResume(2, "t1")
	require.NoError(b, extend(sessionID(2)), "an expired session is passed over")
	b.cannotResume(2, "t1")
	b.mustResume(0, "t1", "t2")

	require.NoError(b, b.ExtendSessions(b.Context(), []persistence.SessionID{sessionID(1)}, b.unit()))
	b.pass(3)
	b.mustResume(1, "t1", "t2") // extending never shortens

	require.NoError(b, b.ExtendSessions(b.Context(), nil, b.unit()))
	require.ErrorIs(b, b.ExtendSessions(b.Context(), []persistence.SessionID{sessionID(1)}, 0), persistence.ErrInvalid)
	many := make([]persistence.SessionID, persistence.MaxExtendSessions+1)
	require.ErrorIs(b, b.ExtendSessions(b.Context(), many, b.unit()), persistence.ErrTooLarge)
	require.NoError(b, b.ExtendSessions(b.Context(), many[1:], b.unit()))
}

func sessionLost(b *bench) {
	lost := func(held ...persistence.HeldSession) []persistence.HeldSession {
		b.Helper()
		lost, err := b.LostSessions(b.Context(), held)
		require.NoError(b, err)
		return lost
	}
	b.session(1, "t1")
	b.session(2, "u1")
	first, second := persistence.HeldSession{ID: sessionID(1), Generation: 1}, persistence.HeldSession{ID: sessionID(2), Generation: 1}
	require.Empty(b, lost())
	require.Empty(b, lost(first, second))
	b.pass(5)
	b.mustResume(1, "t1", "t2")
	require.Equal(b, []persistence.HeldSession{{ID: sessionID(1), Generation: 2}}, lost(second, first))
	require.Empty(b, lost(second, persistence.HeldSession{ID: sessionID(1), Generation: 2}))
	b.pass(5) // the second one is over
	require.ElementsMatch(b, []persistence.HeldSession{{ID: sessionID(1), Generation: 2}, {ID: sessionID(2)}, {ID: sessionID(3)}},
		lost(first, second, persistence.HeldSession{ID: sessionID(3), Generation: 7}))

	many := make([]persistence.HeldSession, persistence.MaxExtendSessions+1)
	_, err := b.LostSessions(b.Context(), many)
	require.ErrorIs(b, err, persistence.ErrTooLarge)
	many = many[1:]
	for i := range many {
		many[i] = persistence.HeldSession{ID: sessionID(100 + i), Generation: 1}
	}
	many[500] = first
	require.Len(b, lost(many...), len(many))
}

func sessionDeletion(b *bench) {
	for i := range 5 {
		s, err := b.CreateSession(b.Context(), sessionID(i), token("t1"), fmt.Sprintf("member-%d", i), b.unit()*10)
		require.NoError(b, err)
		require.NoError(b, b.SaveSessionRooms(b.Context(), s.ID, 1, []string{fmt.Sprintf("room-%d", i)}, b.unit()*10))
		b.pass(1)
	}
	b.pass(7) // sessions 0, 1 and 2 are over
	first, err := b.DeleteExpiredSessions(b.Context(), 2)
	require.NoError(b, err)
	require.Len(b, first, 2)
	require.Equal(b, "member-0", first[0].Member, "the longest expired first")
	require.Equal(b, sessionID(0), first[0].ID)
	require.Equal(b, []string{"room-0"}, first[0].Rooms)
	require.EqualValues(b, 1, first[0].Generation)
	require.Equal(b, "member-1", first[1].Member)
	rest, err := b.DeleteExpiredSessions(b.Context(), 100)
	require.NoError(b, err)
	require.Len(b, rest, 1)
	rest, err = b.DeleteExpiredSessions(b.Context(), 100)
	require.NoError(b, err)
	require.Empty(b, rest)
	b.mustResume(4, "t1", "t2")
	b.session(0, "again")
}

func sessionMany(b *bench) {
	const sessions = 1000
	var group sync.WaitGroup
	for i := range sessions {
		group.Go(func() {
			_, err := b.CreateSession(b.Context(), sessionID(i), token("t1"), "ada", 10*b.unit())
			requireIs(b, err, nil)
			err = b.SaveSessionRooms(b.Context(), sessionID(i), 1, []string{fmt.Sprint(i)}, 10*b.unit())
			requireIs(b, err, nil)
			s, err := b.resume(i, "t1", "t2")
			requireIs(b, err, nil)
			if len(s.Rooms) != 1 || s.Rooms[0] != fmt.Sprint(i) || s.Generation != 2 {
				b.Errorf("session %d: %+v", i, s)
			}
		})
	}
	group.Wait()
}
