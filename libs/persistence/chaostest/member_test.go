package chaostest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
)

// sessionTTL outlives every outage of a run.
const sessionTTL = 10 * time.Minute

// member is somebody whose connections come and go: each resumes the session on some node, with the newest token he knows,
// and saves the rooms he is in.
type member struct {
	l      *load
	name   string
	random *rand.Rand
	tokens uint64

	id         persistence.SessionID
	token      persistence.TokenHash
	generation uint64
	rooms      []string
	// attempts numbers the resumes. One that is unknown may still happen, whenever: it must not take the session from a later
	// one. Until there is a later one the generation may not be the newest any more: unsure.
	attempts uint64
	// loose: a save of rooms is unknown, so the rooms may be either.
	loose, unsure bool
}

func newMember(l *load, i int) *member {
	return &member{l: l, name: fmt.Sprintf("member-%d", i), random: l.random(uint64(6000 + i))}
}

func (m *member) live(ctx context.Context) {
	for pause(ctx, between(m.random, 50*time.Millisecond)) {
		n := m.l.node(m.random)
		op, cancel := context.WithTimeout(ctx, 10*time.Second)
		switch {
		case m.generation == 0:
			m.create(op, n)
		case m.random.IntN(3) == 0:
			m.resume(op, n)
		case m.random.IntN(5) == 0:
			m.check(ctx, "extend", m.extend(op, n))
		default:
			m.save(op, n)
		}
		cancel()
	}
}

func (m *member) next() persistence.TokenHash {
	m.tokens++
	return sha256.Sum256(fmt.Append(nil, m.name, m.l.seed, m.tokens))
}

func (m *member) create(ctx context.Context, n *node) {
	m.tokens++
	binary.BigEndian.PutUint64(m.id[:], m.random.Uint64()) // a new one for each attempt: the one before may come yet
	binary.BigEndian.PutUint64(m.id[8:], m.tokens)
	token := m.next()
	began := time.Now()
	s, err := n.CreateSession(ctx, m.id, token, m.name, sessionTTL)
	if !m.check(ctx, "create", err) {
		return
	}
	m.l.witness.wrote("", began, "session of "+m.name)
	if s.Generation != 1 || s.Member != m.name {
		m.l.witness.fail(kept, "", "%s created a session and got %+v", m.name, s)
	}
	m.token, m.generation, m.rooms, m.loose, m.unsure = token, 1, nil, false, false
}

func (m *member) resume(ctx context.Context, n *node) {
	next := m.next()
	began := time.Now()
	m.attempts++
	s, err := n.ResumeSession(ctx, m.id, m.token, next, m.attempts, sessionTTL)
	switch {
	case errors.Is(err, persistence.ErrUnknown):
		m.unsure = true
		return
	case errors.Is(err, persistence.ErrSessionUnknown):
		m.l.witness.fail(kept, "", "%s resumed generation %d with its newest token on %s: %v", m.name, m.generation, n.name, err)
		m.generation = 0
		return
	case !m.check(ctx, "resume", err):
		return
	}
	m.l.counts.resumes.Add(1)
	m.l.witness.wrote("", began, "resume of "+m.name)
	if s.Generation <= m.generation {
		m.l.witness.fail(rises, "", "%s resumed generation %d and got %d", m.name, m.generation, s.Generation)
	}
	if !m.loose && !slices.Equal(s.Rooms, m.rooms) {
		m.l.witness.fail(kept, "", "%s saved the rooms %q and has %q", m.name, m.rooms, s.Rooms)
	}
	m.token, m.generation, m.rooms, m.loose = next, s.Generation, s.Rooms, false
	m.unsure = false
}

func (m *member) save(ctx context.Context, n *node) {
	rooms := []string{fmt.Sprintf("room-%d", m.random.IntN(50)), fmt.Sprintf("room-%d", m.random.IntN(50))}
	slices.Sort(rooms)
	rooms = slices.Compact(rooms)
	began := time.Now()
	err := n.SaveSessionRooms(ctx, m.id, m.generation, rooms, sessionTTL)
	switch {
	case errors.Is(err, persistence.ErrUnknown):
		m.loose = true
	case errors.Is(err, persistence.ErrSessionReplaced):
		if !m.unsure { // by a resume of its own
			m.l.witness.fail(kept, "", "%s saved its rooms in generation %d on %s: %v", m.name, m.generation, n.name, err)
		}
		m.resume(ctx, n)
	case m.check(ctx, "save", err):
		m.l.witness.wrote("", began, "rooms of "+m.name)
		m.rooms = rooms
	}
}

func (m *member) extend(ctx context.Context, n *node) error {
	return n.ExtendSessions(ctx, []persistence.SessionID{m.id}, sessionTTL)
}

// check tells whether a call went well, and judges its error.
func (m *member) check(ctx context.Context, what string, err error) bool {
	if err == nil {
		return true
	}
	if !transient(err) && ctx.Err() == nil {
		m.l.witness.fail(contract, "", "%s of %s in generation %d: %v", what, m.name, m.generation, err)
	}
	return false
}
