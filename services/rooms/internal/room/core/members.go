package core

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-rt/parley/libs/protocol/ids"
	journalv1 "github.com/parley-rt/parley/libs/protocol/journal/v1"

	"github.com/parley-rt/parley/libs/persistence"
)

// Limits of one members shard. A full one sends new memberships to the next; the byte limit keeps its snapshot below
// what the journal takes.
const (
	ShardMemberships = 10_000
	ShardBytes       = 768 << 10

	// LeftKept is how long the operation number of a session that left is remembered, so that its late operations stay
	// ignored; LeftMax is how many of them a shard remembers.
	LeftKept = 10 * time.Minute
	LeftMax  = 2_000

	// membershipOverhead is what a membership weighs in a snapshot beside its two ids.
	membershipOverhead = 40
)

// SessionKey names a membership: a member is in a room while one of its sessions is.
type SessionKey struct{ Member, Session string }

func (k SessionKey) weight() int { return membershipOverhead + len(k.Member) + len(k.Session) }

type membership struct {
	operation uint64
	joined    bool
	at        time.Time
}

// Members is one shard of a room's memberships.
type Members struct {
	sessions map[SessionKey]*membership
	// Sessions that left, oldest first. A key appears once per leave; stale entries are skipped.
	left []leftSession
	// Number of joined sessions per member.
	members map[string]int
	bytes   int
	gone    int
}

type leftSession struct {
	key       SessionKey
	operation uint64
	at        time.Time
}

// NewMembers returns an empty shard.
func NewMembers() *Members {
	return &Members{sessions: make(map[SessionKey]*membership), members: make(map[string]int)}
}

// RestoreMembers decodes a snapshot.
func RestoreMembers(snap persistence.Snapshot) (*Members, error) {
	if snap.Manifest != ManifestMembersSnapshot {
		return nil, fmt.Errorf("%w: snapshot of kind %q", ErrEvent, snap.Manifest)
	}
	var stored journalv1.MembersSnapshot
	if err := decode(snap.Manifest, snap.Seq, snap.Codec, snap.Payload, &stored); err != nil {
		return nil, err
	}
	m := NewMembers()
	for _, s := range stored.Memberships {
		m.set(SessionKey{s.MemberId, s.SessionId}, s.Operation, s.Joined, s.At.AsTime())
	}
	return m, nil
}

// Joined tells whether one of the member's sessions is in the room.
func (m *Members) Joined(member string) bool { return m.members[member] > 0 }

// Count returns the number of members.
func (m *Members) Count() int { return len(m.members) }

// Knows tells whether the session has a place in this shard, joined or lately left.
func (m *Members) Knows(k SessionKey) bool {
	_, ok := m.sessions[k]
	return ok
}

// Full tells whether the shard takes no further sessions, with pending ones about to come.
func (m *Members) Full(pending int) bool {
	return len(m.sessions)+pending >= ShardMemberships || m.bytes+pending*(membershipOverhead+2*MaxMemberID) >= ShardBytes
}

// Heard notes an operation that changed nothing and was not stored, so that earlier ones of the session that come late
// are ignored. A takeover forgets it.
func (m *Members) Heard(k SessionKey, operation uint64) {
	if s, ok := m.sessions[k]; ok && operation > s.operation {
		s.operation = operation
	}
}

// Apply takes the next event, live or in replay.
func (m *Members) Apply(e persistence.Event) error {
	switch e.Manifest {
	case ManifestSessionJoined:
		var j journalv1.SessionJoined
		if err := decode(e.Manifest, e.Seq, e.Codec, e.Payload, &j); err != nil {
			return err
		}
		m.set(SessionKey{j.MemberId, j.SessionId}, j.Operation, true, j.At.AsTime())
	case ManifestSessionLeft:
		var l journalv1.SessionLeft
		if err := decode(e.Manifest, e.Seq, e.Codec, e.Payload, &l); err != nil {
			return err
		}
		m.set(SessionKey{l.MemberId, l.SessionId}, l.Operation, false, l.At.AsTime())
	default:
		return fmt.Errorf("%w: event of kind %q at seq %d", ErrEvent, e.Manifest, e.Seq)
	}
	return nil
}

func (m *Members) set(k SessionKey, operation uint64, joined bool, at time.Time) {
	s, ok := m.sessions[k]
	if !ok {
		s = &membership{}
		m.sessions[k] = s
		m.bytes += k.weight()
	}
	switch {
	case joined && !s.joined:
		m.members[k.Member]++
		if ok {
			m.gone--
		}
	case !joined && (s.joined || !ok):
		if s.joined {
			if m.members[k.Member]--; m.members[k.Member] == 0 {
				delete(m.members, k.Member)
			}
		}
		m.gone++
	}
	s.joined, s.at = joined, at
	s.operation = max(s.operation, operation)
	if !joined {
		m.left = append(m.left, leftSession{key: k, operation: s.operation, at: at})
	}
	m.forget(at)
}

// forget drops sessions that left long ago by an event's own time, so that a replay forgets the same ones.
func (m *Members) forget(now time.Time) {
	for len(m.left) > 0 {
		l := m.left[0]
		s, ok := m.sessions[l.key]
		stale := !ok || s.joined || !s.at.Equal(l.at)
		if !stale && now.Sub(l.at) <= LeftKept && m.gone <= LeftMax {
			return
		}
		m.left = m.left[1:]
		if !stale {
			delete(m.sessions, l.key)
			m.bytes -= l.key.weight()
			m.gone--
		}
	}
	m.left = nil
}

// Snapshot encodes the shard.
func (m *Members) Snapshot() (persistence.Snapshot, error) {
	stored := &journalv1.MembersSnapshot{Memberships: make([]*journalv1.Membership, 0, len(m.sessions))}
	for k, s := range m.sessions {
		if s.joined {
			stored.Memberships = append(stored.Memberships, &journalv1.Membership{
				MemberId: k.Member, SessionId: k.Session, Operation: s.operation, At: timestamppb.New(s.at), Joined: true,
			})
		}
	}
	slices.SortFunc(stored.Memberships, func(a, b *journalv1.Membership) int {
		return cmp.Or(cmp.Compare(a.MemberId, b.MemberId), cmp.Compare(a.SessionId, b.SessionId))
	})
	// Those that left come last, in the order in which they will be forgotten.
	for _, l := range m.left {
		if s, ok := m.sessions[l.key]; ok && !s.joined && s.at.Equal(l.at) {
			stored.Memberships = append(stored.Memberships, &journalv1.Membership{
				MemberId: l.key.Member, SessionId: l.key.Session, Operation: s.operation, At: timestamppb.New(s.at),
			})
		}
	}
	payload, err := proto.Marshal(stored)
	if err != nil {
		return persistence.Snapshot{}, fmt.Errorf("encode members snapshot: %w", err)
	}
	return persistence.Snapshot{Codec: persistence.CodecProto, Manifest: ManifestMembersSnapshot, Payload: payload}, nil
}

// Change is a join or a leave of one session. Operations of a session are numbered by its gateway.
type Change struct {
	SessionKey
	Operation uint64
	Leave     bool
}

// Changed tells what became of a Change.
type Changed struct {
	// Stale: a later operation of the session was seen before; nothing changed.
	Stale bool
	// Stored: an event was written.
	Stored bool
}

// MembersDraft is a shard plus what the changes of one batch decided.
type MembersDraft struct {
	m        *Members
	sessions map[SessionKey]membership
}

// Draft opens an overlay for one batch.
func (m *Members) Draft() *MembersDraft { return &MembersDraft{m: m} }

// Change decides one join or leave. Joining again and leaving again write nothing. A session that leaves before its join
// arrived is written down as gone, so that the join is ignored when it does.
func (d *MembersDraft) Change(c Change, now time.Time) ([]persistence.Event, Changed) {
	s, known := d.session(c.SessionKey)
	if known && c.Operation <= s.operation {
		return nil, Changed{Stale: c.Leave == s.joined}
	}
	if known && c.Leave != s.joined {
		return nil, Changed{}
	}
	e, err := c.event(now)
	if err != nil {
		// Ids are checked before a change gets here, so there is nothing that could not be encoded.
		return nil, Changed{Stale: true}
	}
	if d.sessions == nil {
		d.sessions = make(map[SessionKey]membership)
	}
	d.sessions[c.SessionKey] = membership{operation: c.Operation, joined: !c.Leave, at: now}
	return []persistence.Event{e}, Changed{Stored: true}
}

func (d *MembersDraft) session(k SessionKey) (membership, bool) {
	if s, ok := d.sessions[k]; ok {
		return s, true
	}
	if s, ok := d.m.sessions[k]; ok {
		return *s, true
	}
	return membership{}, false
}

func (c Change) event(now time.Time) (persistence.Event, error) {
	at := timestamppb.New(now)
	operation := strconv.FormatUint(c.Operation, 10)
	if c.Leave {
		return encode(ManifestSessionLeft, ids.DedupeKey(c.Member, "leave/"+c.Session+"/"+operation),
			&journalv1.SessionLeft{MemberId: c.Member, SessionId: c.Session, Operation: c.Operation, At: at})
	}
	return encode(ManifestSessionJoined, ids.DedupeKey(c.Member, "join/"+c.Session+"/"+operation),
		&journalv1.SessionJoined{MemberId: c.Member, SessionId: c.Session, Operation: c.Operation, At: at})
}
