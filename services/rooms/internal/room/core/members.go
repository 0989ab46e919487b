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
	membershipOverhead = 52
)

// SessionKey names a membership: a member is in a room while one of its sessions is.
type SessionKey struct{ Member, Session string }

func (k SessionKey) weight() int { return membershipOverhead + len(k.Member) + len(k.Session) }

type membership struct {
	session   string
	operation uint64
	joined    bool
	at        time.Time
	// Head of the room when the session joined.
	roomSeq uint64
}

// Members is one shard of a room's memberships.
type Members struct {
	sessions map[SessionKey]*membership
	// Sessions that left, oldest first. A key appears once per leave; stale entries are skipped.
	left []leftSession
	// Joined sessions per member.
	members map[string][]*membership
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
	return &Members{sessions: make(map[SessionKey]*membership), members: make(map[string][]*membership)}
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
		m.set(SessionKey{s.MemberId, s.SessionId}, membership{operation: s.Operation, joined: s.Joined, at: s.At.AsTime(), roomSeq: s.RoomSeq})
	}
	return m, nil
}

// Seated tells whether a session of the member is here that joined as of a seq of at least after.
func (m *Members) Seated(member string, after uint64) bool {
	for _, s := range m.members[member] {
		if s.roomSeq >= after {
			return true
		}
	}
	return false
}

// Seat adds to a member's place what this shard has of it: its sessions that joined as of a seq of at least after.
func (m *Members) Seat(seat Seat, member string, after uint64) Seat {
	for _, s := range m.members[member] {
		if s.roomSeq < after {
			continue
		}
		if seat.Sessions == 0 || s.roomSeq < seat.Since {
			seat.Since = s.roomSeq
		}
		seat.Sessions++
	}
	return seat
}

// Sessions returns the member's sessions that joined as of a seq below before.
func (m *Members) Sessions(member string, before uint64) []SessionKey {
	var keys []SessionKey
	for _, s := range m.members[member] {
		if s.roomSeq < before {
			keys = append(keys, SessionKey{member, s.session})
		}
	}
	return keys
}

// All goes through the members until yield returns false, in no order.
func (m *Members) All(yield func(member string) bool) {
	for member := range m.members {
		if !yield(member) {
			return
		}
	}
}

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
		m.set(SessionKey{j.MemberId, j.SessionId}, membership{operation: j.Operation, joined: true, at: j.At.AsTime(), roomSeq: j.RoomSeq})
	case ManifestSessionLeft:
		var l journalv1.SessionLeft
		if err := decode(e.Manifest, e.Seq, e.Codec, e.Payload, &l); err != nil {
			return err
		}
		m.set(SessionKey{l.MemberId, l.SessionId}, membership{operation: l.Operation, at: l.At.AsTime()})
	default:
		return fmt.Errorf("%w: event of kind %q at seq %d", ErrEvent, e.Manifest, e.Seq)
	}
	return nil
}

func (m *Members) set(k SessionKey, to membership) {
	s, ok := m.sessions[k]
	if !ok {
		s = &membership{session: k.Session}
		m.sessions[k] = s
		m.bytes += k.weight()
	}
	switch {
	case to.joined && !s.joined:
		m.members[k.Member] = append(m.members[k.Member], s)
		s.roomSeq = to.roomSeq
		if ok {
			m.gone--
		}
	case !to.joined && (s.joined || !ok):
		if s.joined {
			m.unseat(k.Member, s)
		}
		m.gone++
	}
	s.joined, s.at = to.joined, to.at
	s.operation = max(s.operation, to.operation)
	if !to.joined {
		m.left = append(m.left, leftSession{key: k, operation: s.operation, at: to.at})
	}
	m.forget(to.at)
}

func (m *Members) unseat(member string, s *membership) {
	seats := m.members[member]
	if len(seats) == 1 {
		delete(m.members, member)
		return
	}
	m.members[member] = slices.DeleteFunc(seats, func(o *membership) bool { return o == s })
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
				MemberId: k.Member, SessionId: k.Session, Operation: s.operation, At: timestamppb.New(s.at), Joined: true, RoomSeq: s.roomSeq,
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
	// RoomSeq is the room's head when a join came: it is in the room as of that seq.
	RoomSeq uint64
}

// Changed tells what became of a Change.
type Changed struct {
	// Stale: a later operation of the session was seen before; nothing changed.
	Stale bool
	// Stored: an event was written.
	Stored bool
	// Sessions is by how many sessions the member has more in the room: 1, 0 or -1.
	Sessions int
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
	d.set(c.SessionKey, membership{operation: c.Operation, joined: !c.Leave, at: now, roomSeq: c.RoomSeq})
	changed := Changed{Stored: true}
	switch {
	case !c.Leave:
		changed.Sessions = 1
	case s.joined:
		changed.Sessions = -1
	}
	return []persistence.Event{e}, changed
}

// Evict takes sessions out of the room that joined as of a seq below before. Their gateways' operation numbers stay as they
// are: a join that is repeated late does not bring them back, a new one does. It returns the sessions that the events take
// out, one each.
func (d *MembersDraft) Evict(keys []SessionKey, before uint64, now time.Time) (events []persistence.Event, out []SessionKey) {
	for _, k := range keys {
		s, known := d.session(k)
		if !known || !s.joined || s.roomSeq >= before {
			continue
		}
		e, err := encode(ManifestSessionLeft, ids.DedupeKey(k.Member, "evict/"+k.Session+"/"+strconv.FormatUint(s.operation, 10)),
			&journalv1.SessionLeft{MemberId: k.Member, SessionId: k.Session, Operation: s.operation, At: timestamppb.New(now)})
		if err != nil {
			continue // it was encoded when it joined
		}
		d.set(k, membership{operation: s.operation, at: now})
		events, out = append(events, e), append(out, k)
	}
	return events, out
}

func (d *MembersDraft) set(k SessionKey, to membership) {
	if d.sessions == nil {
		d.sessions = make(map[SessionKey]membership)
	}
	d.sessions[k] = to
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
		&journalv1.SessionJoined{MemberId: c.Member, SessionId: c.Session, Operation: c.Operation, At: at, RoomSeq: c.RoomSeq})
}
