package core

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	journalv1 "github.com/parley-rt/parley/libs/protocol/journal/v1"

	"github.com/parley-rt/parley/libs/persistence"
)

// change decides, commits and applies one change alone.
func change(t require.TestingT, m *Members, member, session string, operation uint64, leave bool, now time.Time) (Changed, []persistence.Event) {
	k := SessionKey{member, session}
	events, changed := m.Draft().Change(Change{SessionKey: k, Operation: operation, Leave: leave}, now)
	for _, e := range events {
		require.NoError(t, m.Apply(e))
	}
	if !changed.Stored && !changed.Stale {
		m.Heard(k, operation)
	}
	return changed, events
}

func TestMembership(t *testing.T) {
	t.Parallel()
	m := NewMembers()
	for _, step := range []struct {
		name      string
		session   string
		operation uint64
		leave     bool
		want      Changed
	}{
		{"first session joins", "s1", 1, false, Changed{Stored: true, Sessions: 1}},
		{"joins again, same operation", "s1", 1, false, Changed{}},
		{"joins again, later operation", "s1", 5, false, Changed{}},
		{"late leave is ignored", "s1", 3, true, Changed{Stale: true}},
		{"second session joins", "s2", 1, false, Changed{Stored: true, Sessions: 1}},
		{"first session leaves", "s1", 6, true, Changed{Stored: true, Sessions: -1}},
		{"leave is repeated", "s1", 6, true, Changed{}},
		{"late join is ignored", "s1", 4, false, Changed{Stale: true}},
		{"last session leaves", "s2", 2, true, Changed{Stored: true, Sessions: -1}},
		{"joins after leaving", "s2", 3, false, Changed{Stored: true, Sessions: 1}},
		{"leaves before its join came", "s3", 2, true, Changed{Stored: true}},
		{"that join comes", "s3", 1, false, Changed{Stale: true}},
	} {
		changed, events := change(t, m, "ada", step.session, step.operation, step.leave, epochTime)
		require.Equal(t, step.want, changed, step.name)
		require.Equal(t, step.want.Stored, len(events) == 1, step.name)
	}
	require.Equal(t, Seat{Sessions: 1}, m.Seat(Seat{}, "ada", 0))
	require.Equal(t, 1, m.Count())
}

func TestMembersDraftSeesItsBatch(t *testing.T) {
	t.Parallel()
	m := NewMembers()
	d := m.Draft()
	k := SessionKey{"ada", "s1"}
	for _, step := range []struct {
		name   string
		change Change
		want   Changed
	}{
		{"joins", Change{SessionKey: k, Operation: 1}, Changed{Stored: true, Sessions: 1}},
		{"joins again", Change{SessionKey: k, Operation: 2}, Changed{}},
		{"leaves", Change{SessionKey: k, Operation: 3, Leave: true}, Changed{Stored: true, Sessions: -1}},
		{"late join", Change{SessionKey: k, Operation: 2}, Changed{Stale: true}},
	} {
		_, changed := d.Change(step.change, epochTime)
		require.Equal(t, step.want, changed, step.name)
	}
	require.Zero(t, m.Count(), "a dropped draft leaves no trace")
	require.False(t, m.Knows(k))
}

// A kick ends the sessions that were in the room before it, and no others; a late repeat of their join does not undo it.
func TestEvictSessions(t *testing.T) {
	t.Parallel()
	m := NewMembers()
	join := func(session string, operation, roomSeq uint64) Changed {
		events, changed := m.Draft().Change(Change{SessionKey: SessionKey{"ada", session}, Operation: operation, RoomSeq: roomSeq}, epochTime)
		for _, e := range events {
			require.NoError(t, m.Apply(e))
		}
		return changed
	}
	join("old", 7, 10)
	join("older", 3, 5)
	join("new", 1, 20)
	require.Equal(t, Seat{Sessions: 3, Since: 5}, m.Seat(Seat{}, "ada", 0))
	require.Equal(t, Seat{Sessions: 1, Since: 20}, m.Seat(Seat{}, "ada", 15), "sessions of before a kick at 15 do not count")
	require.True(t, m.Seated("ada", 20))
	require.False(t, m.Seated("ada", 21))

	keys := m.Sessions("ada", 15)
	require.ElementsMatch(t, []SessionKey{{"ada", "old"}, {"ada", "older"}}, keys)
	d := m.Draft()
	events, out := d.Evict(append(keys, SessionKey{"bob", "never here"}), 15, epochTime)
	require.Len(t, events, 2)
	require.Equal(t, keys, out)
	again, _ := d.Evict(keys, 15, epochTime)
	require.Empty(t, again, "once is enough")
	for _, e := range events {
		require.NoError(t, m.Apply(e))
	}
	require.Equal(t, Seat{Sessions: 1, Since: 20}, m.Seat(Seat{}, "ada", 0))
	require.Equal(t, Changed{Stale: true}, join("old", 7, 16), "the join comes again, late")
	require.Equal(t, Changed{Stored: true, Sessions: 1}, join("old", 8, 16), "it joins anew")

	snap, err := m.Snapshot()
	require.NoError(t, err)
	restored, err := RestoreMembers(snap)
	require.NoError(t, err)
	require.Equal(t, seatsOf(m), seatsOf(restored))
	require.Equal(t, Seat{Sessions: 2, Since: 16}, restored.Seat(Seat{}, "ada", 0))
}

func TestMembersForgetWhoLeft(t *testing.T) {
	t.Parallel()
	m := NewMembers()
	now := epochTime
	for n := range LeftMax + 100 {
		session := fmt.Sprint(n)
		change(t, m, "ada", session, 1, false, now)
		change(t, m, "ada", session, 2, true, now)
	}
	require.Len(t, m.sessions, LeftMax)
	require.LessOrEqual(t, len(m.left), LeftMax)
	now = now.Add(LeftKept + time.Second)
	change(t, m, "bob", "b", 1, false, now)
	require.Len(t, m.sessions, 1, "everybody who left was forgotten")
	require.Equal(t, SessionKey{"bob", "b"}.weight(), m.bytes)
	require.Zero(t, m.gone)
}

func TestFullShard(t *testing.T) {
	t.Parallel()
	m := NewMembers()
	for n := range ShardMemberships {
		require.False(t, m.Full(0), "full at %d", n)
		change(t, m, "m"+fmt.Sprint(n), "s", 1, false, epochTime)
	}
	require.True(t, m.Full(0))
	snap, err := m.Snapshot()
	require.NoError(t, err)
	require.Less(t, len(snap.Payload), persistence.MaxSnapshotBytes)

	long := NewMembers()
	name := string(make([]byte, MaxMemberID-8))
	n := 0
	for ; !long.Full(0); n++ {
		change(t, long, fmt.Sprintf("%s%08d", name, n), fmt.Sprintf("%s%08d", name, n), 1, false, epochTime)
	}
	require.Less(t, n, ShardMemberships)
	snap, err = long.Snapshot()
	require.NoError(t, err)
	require.Less(t, len(snap.Payload), persistence.MaxSnapshotBytes, "the byte limit keeps the snapshot storable")
}

// A shard recovered from any snapshot and the events after it is the live one, and a model of plain rules agrees with both.
func TestMembersModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		type last struct {
			operation uint64
			joined    bool
			known     bool
		}
		live := NewMembers()
		model := make(map[SessionKey]last)
		var events []persistence.Event
		var snap persistence.Snapshot
		snapAt := 0
		now := epochTime
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			k := SessionKey{rapid.SampledFrom([]string{"ada", "bob"}).Draw(t, "member"), rapid.SampledFrom([]string{"1", "2"}).Draw(t, "session")}
			operation := uint64(rapid.IntRange(0, 30).Draw(t, "operation"))
			leave := rapid.Bool().Draw(t, "leave")
			now = now.Add(time.Duration(rapid.IntRange(0, 5_000).Draw(t, "pause")) * time.Millisecond)
			changed, es := change(t, live, k.Member, k.Session, operation, leave, now)
			events = append(events, es...)
			before := model[k]
			if !before.known || operation > before.operation {
				model[k] = last{operation: operation, joined: !leave, known: true}
			}
			require.Equal(t, before.known && operation <= before.operation && leave == before.joined, changed.Stale)
			require.Equal(t, live.Seat(Seat{}, k.Member, 0).Sessions > 0, model[SessionKey{k.Member, "1"}].joined || model[SessionKey{k.Member, "2"}].joined)
			if rapid.IntRange(0, 9).Draw(t, "snapshot") == 0 {
				var err error
				snap, err = live.Snapshot()
				require.NoError(t, err)
				snapAt = len(events)
			}
		}
		got := NewMembers()
		if snapAt > 0 {
			var err error
			got, err = RestoreMembers(snap)
			require.NoError(t, err)
		}
		for _, e := range events[snapAt:] {
			require.NoError(t, got.Apply(e))
		}
		require.Equal(t, joinedOf(t, live), joinedOf(t, got))
		require.Equal(t, seatsOf(live), seatsOf(got))
		require.Equal(t, live.bytes, got.bytes)
		require.Equal(t, live.gone, got.gone)
	})
}

func seatsOf(m *Members) map[string][]string {
	all := make(map[string][]string)
	for member := range m.All {
		for _, k := range m.Sessions(member, math.MaxUint64) {
			all[member] = append(all[member], fmt.Sprint(k.Session, " ", m.sessions[k].roomSeq))
		}
		slices.Sort(all[member])
	}
	return all
}

// joinedOf lists sessions and whether they are joined. Operation numbers that were only heard are not stored, so they may
// differ after a recovery.
func joinedOf(t require.TestingT, m *Members) []string {
	snap, err := m.Snapshot()
	require.NoError(t, err)
	var stored journalv1.MembersSnapshot
	require.NoError(t, proto.Unmarshal(snap.Payload, &stored))
	var list []string
	for _, s := range stored.Memberships {
		list = append(list, fmt.Sprintf("%s/%s %v", s.MemberId, s.SessionId, s.Joined))
	}
	return list
}
