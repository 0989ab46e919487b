package sim

import (
	"errors"
	"fmt"
	"time"
)

// roomID is the index of a room.
type roomID int

// messageID is unique per client; a retry carries the same one.
type messageID struct{ client, n int }

func (m messageID) String() string {
	if m == (messageID{}) {
		return "a setting"
	}
	return fmt.Sprintf("%d/%d", m.client, m.n)
}

// dedupeKey is what a room recognises a message by.
type dedupeKey struct {
	member int
	id     messageID
}

// row is one event of a room. A setting is numbered like a message but is none.
type row struct {
	seq, prev uint64
	epoch     uint64
	member    int
	id        messageID
	setting   bool
	by        *process
}

// stream is a room in the journal.
type stream struct {
	epoch uint64
	owner *process
	last  uint64
	rows  []row // rows[i] has seq i+1
	snap  uint64
	// claimNumber is the place of the newest claim in the journal's order of claims, claimedAt its time.
	claimNumber int
	claimedAt   time.Duration
}

var (
	errFenced      = errors.New("fenced")
	errConflict    = errors.New("not the head")
	errGuard       = errors.New("claimed meanwhile")
	errUnavailable = errors.New("journal unavailable")
	errUnknown     = errors.New("outcome unknown")
	errSession     = errors.New("session unknown")
)

// fencedError tells who has the room now.
type fencedError struct {
	owner *process
	epoch uint64
}

func (e *fencedError) Error() string { return errFenced.Error() + " by " + e.owner.String() }
func (e *fencedError) Unwrap() error { return errFenced }

// claimed is what a claim gives.
type claimed struct {
	epoch, last, snap uint64
}

// journal is the store of all rooms and sessions: one linearizable object. What it does it does at one moment; questions
// and answers are on the way before and after it, see call.
type journal struct {
	w       *world
	site    site
	streams []*stream
	claims  int

	sessions []*session

	up     bool
	life   int
	paused bool
	// held waits for the end of a pause.
	held []func()
	slow bool
	// pace is how long an operation takes at most when nothing is wrong.
	pace time.Duration
}

func (j *journal) claim(room roomID, by *process, guard uint64) (claimed, error) {
	s := j.streams[room]
	if guard != s.epoch && !j.w.without.Guard {
		return claimed{}, errGuard
	}
	before := s.owner
	s.epoch++
	s.owner = by
	j.claims++
	s.claimNumber, s.claimedAt = j.claims, j.w.now
	j.w.history.claimed(room, before, by, s.epoch)
	return claimed{epoch: s.epoch, last: s.last, snap: s.snap}, nil
}

// append stores all events or none, as seqs expected+1 and on.
func (j *journal) append(room roomID, epoch, expected uint64, events []row) error {
	s := j.streams[room]
	if !j.w.without.Fence && epoch != s.epoch {
		return &fencedError{owner: s.owner, epoch: s.epoch}
	}
	if !j.w.without.ExpectedSeq && expected != s.last {
		return errConflict
	}
	for _, e := range events {
		j.w.history.stored(room, s, e)
		if e.seq <= uint64(len(s.rows)) {
			s.rows[e.seq-1] = e // two rows of one number: the later one is what readers find
			continue
		}
		s.rows = append(s.rows, e)
	}
	s.last = uint64(len(s.rows))
	return nil
}

func (j *journal) release(room roomID, by *process, epoch uint64) {
	if s := j.streams[room]; s.epoch == epoch && s.owner == by {
		s.owner = nil
	}
}

func (j *journal) saveSnapshot(room roomID, epoch, seq uint64) error {
	s := j.streams[room]
	if epoch != s.epoch && !j.w.without.Fence {
		return &fencedError{owner: s.owner, epoch: s.epoch}
	}
	s.snap = max(s.snap, seq)
	return nil
}

// takeover is a room that somebody claimed.
type takeover struct {
	room  roomID
	epoch uint64
	owner *process
}

func (j *journal) takeovers(by *process, mark int) ([]takeover, int) {
	var list []takeover
	for room, s := range j.streams {
		if s.claimNumber > mark && s.owner != by {
			list = append(list, takeover{roomID(room), s.epoch, s.owner})
		}
	}
	return list, j.claims
}

// session is a member's, across connections.
type session struct {
	member           int
	newest, previous int // tokens; 0: none
	generation       int
	attempt          int // that replaced previous by newest
}

// openSession makes a session, or resumes the one of a token: the newest one issued, or the one that it replaced, because
// the answer with the newest was lost. Clients number their attempts: one that was given up and is carried out after a later
// one must not take the session from it.
func (j *journal) openSession(token, attempt, next int) (session, error) {
	if token == 0 {
		s := &session{member: len(j.sessions) + 1, newest: next, generation: 1}
		j.sessions = append(j.sessions, s)
		return *s, nil
	}
	for _, s := range j.sessions {
		lost := s.previous == token && (attempt > s.attempt || j.w.without.Attempts) && !j.w.without.PreviousToken
		if s.newest == token || lost {
			s.previous, s.newest, s.attempt = token, next, attempt
			s.generation++
			return *s, nil
		}
	}
	return session{}, errSession
}
