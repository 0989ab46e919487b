package core

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"pgregory.net/rapid"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/ids"
	journalv1 "github.com/parley-rt/parley/libs/protocol/journal/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"

	"github.com/parley-rt/parley/libs/persistence"
)

func firing(schedule string, number uint64, content string) *roomv1.Publish {
	return &roomv1.Publish{
		MemberId: ids.ScheduleMember(schedule),
		Firing:   &roomv1.Firing{ScheduleId: schedule, Number: number},
		Drafts:   []*roomv1.Draft{draftOf(fmt.Sprintf("schedule:%s:%d", schedule, number), content)},
	}
}

// fire decides one firing and stores what it gave.
func fire(t require.TestingT, s *State, p *roomv1.Publish, now time.Time) *roomv1.Outcome {
	events, outcomes := s.Draft(maxContent, seats{}).Fire(p, s.Head()+1, now)
	require.Len(t, outcomes, 1)
	commit(t, s, events, now)
	return outcomes[0]
}

// S6: a room takes any number above the last one of a schedule and none twice.
func TestFiringsAreTakenOnce(t *testing.T) {
	t.Parallel()
	s := liveState()
	for _, c := range []struct {
		schedule  string
		number    uint64
		seq       uint64
		duplicate bool
	}{
		{"a", 1, 1, false}, {"a", 1, 1, true}, {"b", 1, 2, false},
		{"a", 5, 3, false}, // numbers may be left out …
		{"a", 3, 0, true},  // … and do not come afterwards
		{"a", 1, 0, true}, {"a", 5, 3, true}, {"a", 6, 4, false}, {"b", 1, 2, true},
		{"c", math.MaxUint64, 5, false}, {"c", math.MaxUint64, 5, true}, {"c", 1, 0, true},
	} {
		o := fire(t, s, firing(c.schedule, c.number, "x"), epochTime)
		require.Nil(t, o.Refused)
		require.Equal(t, c.seq, o.Seq, "%v", c)
		require.Equal(t, c.duplicate, o.Duplicate, "%v", c)
	}
	fresh := s.TakeFresh()
	require.Len(t, fresh, 5)
	chained(t, fresh)
	require.Equal(t, "schedule:a", fresh[0].Sender)
	require.Equal(t, "schedule:a:1", fresh[0].MessageId)
}

// S6: two schedulers are at work at once and send in one batch.
func TestFiringsOfOneBatch(t *testing.T) {
	t.Parallel()
	s := liveState()
	d := s.Draft(maxContent, seats{})
	var events []persistence.Event
	for i, want := range []uint64{1, 1, 2, 0, 2} {
		es, o := d.Fire(firing("a", []uint64{1, 1, 4, 2, 4}[i], "x"), uint64(len(events))+1, epochTime)
		events = append(events, es...)
		require.Equal(t, want, o[0].Seq, i)
	}
	require.Len(t, events, 2)
	commit(t, s, events, epochTime)
	require.True(t, fire(t, s, firing("a", 4, "x"), epochTime).Duplicate)
}

// A member that publishes what looks like a schedule's next firing does not keep it from coming, nor the other way round.
func TestMembersAndSchedulesDoNotMeet(t *testing.T) {
	t.Parallel()
	s := liveState()
	p := firing("a", 1, "x")
	p.MemberId = "ada"
	events, _ := post(s.Draft(maxContent, everybody), "ada", p.Drafts, 1, epochTime)
	commit(t, s, events, epochTime)
	require.Equal(t, uint64(2), fire(t, s, p, epochTime).Seq)
	p = firing("a", 2, "x")
	p.MemberId = "ada"
	require.Equal(t, uint64(3), fire(t, s, p, epochTime).Seq)
	events, outcomes := post(s.Draft(maxContent, everybody), "ada", p.Drafts, 4, epochTime)
	require.Len(t, events, 1)
	require.False(t, outcomes[0].Duplicate)
}

func TestRefusedFirings(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	r.ask(&roomv1.BanMember{MemberId: "banned", Lasting: durationpb.New(time.Hour)})
	r.ask(&roomv1.MuteMember{MemberId: "muted"})
	nobody := journalv1.Level_LEVEL_NOBODY
	r.ask(&roomv1.ChangeSettings{Join: &nobody, Publish: &nobody})
	s, head := r.state, r.state.Head()
	named := func(member string) *roomv1.Publish {
		p := firing("a", 1, "x")
		p.MemberId = member
		return p
	}
	noDraft, two := firing("a", 1, "x"), firing("a", 1, "x")
	noDraft.Drafts, two.Drafts = nil, append(two.Drafts, draftOf("m2", "y"))
	for name, c := range map[string]struct {
		p    *roomv1.Publish
		code clientv1.ErrorCode
	}{
		"banned":          {named("banned"), clientv1.ErrorCode_ERROR_CODE_BANNED},
		"muted":           {named("muted"), clientv1.ErrorCode_ERROR_CODE_MUTED},
		"too large":       {firing("a", 1, strings.Repeat("x", maxContent+1)), clientv1.ErrorCode_ERROR_CODE_TOO_LARGE},
		"not utf-8":       {firing("a", 1, "\xff"), clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT},
		"no number":       {firing("a", 0, "x"), clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT},
		"no schedule":     {firing("", 1, "x"), clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT},
		"no sender":       {named(""), clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT},
		"no message":      {noDraft, clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT},
		"two messages":    {two, clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT},
		"a missing draft": {&roomv1.Publish{MemberId: "ada", Firing: &roomv1.Firing{ScheduleId: "a", Number: 1}, Drafts: []*roomv1.Draft{nil}}, clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT},
	} {
		o := fire(t, s, c.p, r.now)
		require.Equal(t, int32(c.code), o.GetRefused().GetCode(), name)
		require.Equal(t, head, s.Head(), name)
	}
	// What was refused uses no number up; who may join and publish does not matter to those who administer.
	require.Equal(t, head+1, fire(t, s, firing("a", 1, "x"), r.now).Seq)
	// A ban that has come in between does not make a repeat a refusal.
	p := named("late")
	p.Firing.Number = 2
	require.Equal(t, head+2, fire(t, s, p, r.now).Seq)
	r.ask(&roomv1.BanMember{MemberId: "late"})
	require.True(t, fire(t, s, p, r.now).Duplicate)
}

func TestSchedulesAreForgotten(t *testing.T) {
	t.Parallel()
	s := liveState()
	fire(t, s, firing("a", 5, "x"), epochTime)
	require.True(t, fire(t, s, firing("a", 5, "x"), epochTime.Add(FiringsKept)).Duplicate)
	s.Expire(epochTime.Add(FiringsKept))
	require.Len(t, s.firings.last, 1)
	require.Equal(t, uint64(2), fire(t, s, firing("a", 1, "x"), epochTime.Add(FiringsKept+1)).Seq)
	s.Expire(epochTime.Add(2*FiringsKept + 2))
	require.Empty(t, s.firings.last)
}

// A room that too many schedules publish in tells so, forgets none that may still be sent again, and takes further ones later.
func TestManySchedules(t *testing.T) {
	t.Parallel()
	s := liveState()
	d := s.Draft(maxContent, seats{})
	var events []persistence.Event
	for n := range SchedulesMax {
		es, o := d.Fire(firing(fmt.Sprint("s", n), math.MaxUint64-1, ""), uint64(n)+1, epochTime.Add(time.Duration(n)*time.Millisecond))
		require.Nil(t, o[0].Refused)
		events = append(events, es...)
	}
	_, o := d.Fire(firing("more", 1, ""), SchedulesMax+1, epochTime)
	require.Equal(t, int32(clientv1.ErrorCode_ERROR_CODE_BUSY), o[0].GetRefused().GetCode())
	commit(t, s, events, epochTime)
	now := epochTime.Add(FiringsSure)
	require.Equal(t, int32(clientv1.ErrorCode_ERROR_CODE_BUSY), fire(t, s, firing("more", 1, ""), now).GetRefused().GetCode())
	require.Equal(t, uint64(SchedulesMax+1), fire(t, s, firing("s2", math.MaxUint64, ""), now).Seq, "one that is known is no further one")

	snap, err := s.Snapshot()
	require.NoError(t, err)
	var stored journalv1.RoomSnapshot
	require.NoError(t, proto.Unmarshal(snap.Payload, &stored))
	// Beside rights and kicks, which a test of theirs fills.
	require.Less(t, len(snap.Payload), persistence.MaxSnapshotBytes-RightsBytes-KicksKept*160)

	now = now.Add(time.Minute)
	for n := range SchedulesMax / 16 {
		require.Nil(t, fire(t, s, firing(fmt.Sprint("more", n), 1, ""), now).Refused, n)
	}
	require.LessOrEqual(t, len(s.firings.last), SchedulesMax)
	require.True(t, fire(t, s, firing("s2", 1, ""), now).Duplicate, "used lately")
	require.True(t, fire(t, s, firing(fmt.Sprint("s", SchedulesMax-1), 1, ""), now).Duplicate, "not the one unused for longest")
}

func TestFiringsOfASnapshotThatIsNone(t *testing.T) {
	t.Parallel()
	for _, bad := range []*journalv1.LastFirings{
		{Schedules: make([]byte, 15), Numbers: []uint64{1}, UsedAt: []int64{1}},
		{Schedules: make([]byte, 16), Numbers: []uint64{1, 2}, UsedAt: []int64{1}},
		{Schedules: make([]byte, 16), Numbers: []uint64{1}},
	} {
		payload, err := proto.Marshal(&journalv1.RoomSnapshot{Firings: bad})
		require.NoError(t, err)
		_, err = RestoreState(persistence.Claim{}, persistence.Snapshot{
			Seq: 5, Manifest: ManifestRoomSnapshot, Codec: persistence.CodecProto, Payload: payload,
		}, 0)
		require.ErrorIs(t, err, ErrEvent)
	}
}

// S6: two schedulers send what they like, batches get lost, the room moves to a node that recovers it from any snapshot: every
// firing is in the room at most once, each that was accepted is, and a schedule's firings are in the order of their numbers.
func TestFiringsModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := liveState()
		h := &history{}
		last := map[string]uint64{}
		stored := map[string][]uint64{}
		now := epochTime
		for range rapid.IntRange(1, 40).Draw(t, "batches") {
			now = now.Add(time.Duration(rapid.IntRange(0, 600).Draw(t, "pause")) * time.Second)
			d := s.Draft(maxContent, seats{})
			var events []persistence.Event
			before := clone(last)
			added := map[string][]uint64{}
			for range rapid.IntRange(1, 4).Draw(t, "firings") {
				schedule := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "schedule")
				number := uint64(rapid.IntRange(1, 12).Draw(t, "number"))
				es, o := d.Fire(firing(schedule, number, "x"), s.Head()+uint64(len(events))+1, now)
				require.Nil(t, o[0].Refused)
				require.Equal(t, number <= last[schedule], o[0].Duplicate)
				require.Equal(t, o[0].Duplicate, len(es) == 0)
				if !o[0].Duplicate {
					last[schedule] = number
					added[schedule] = append(added[schedule], number)
				}
				events = append(events, es...)
			}
			if rapid.IntRange(0, 3).Draw(t, "fails") == 0 {
				last = before
				continue
			}
			h.events = append(h.events, commit(t, s, events, now)...)
			for schedule, numbers := range added {
				stored[schedule] = append(stored[schedule], numbers...)
			}
			if rapid.IntRange(0, 3).Draw(t, "snapshot") == 0 && s.Head() > 0 {
				snap, err := s.Snapshot()
				require.NoError(t, err)
				snap.Seq = s.Head()
				h.snaps = append(h.snaps, snap)
			}
			if rapid.IntRange(0, 3).Draw(t, "moves") == 0 {
				s = h.recovered(t, rapid.IntRange(-1, len(h.snaps)-1).Draw(t, "from"), 3, now)
			}
		}
		got := map[string][]uint64{}
		for _, e := range h.events {
			_, f, err := postedOf(e)
			require.NoError(t, err)
			got[f.ScheduleId] = append(got[f.ScheduleId], f.Number)
		}
		require.Equal(t, stored, got)
		for schedule, numbers := range got {
			for i := 1; i < len(numbers); i++ {
				require.Greater(t, numbers[i], numbers[i-1], schedule)
			}
		}
	})
}

func FuzzFire(f *testing.F) {
	f.Add("a", uint64(1), "ada", "m", "x")
	f.Add("", uint64(0), "", "", "\xff")
	f.Fuzz(func(t *testing.T, schedule string, number uint64, member, id, content string) {
		s := liveState()
		p := &roomv1.Publish{MemberId: member, Firing: &roomv1.Firing{ScheduleId: schedule, Number: number}, Drafts: []*roomv1.Draft{draftOf(id, content)}}
		o := fire(t, s, p, epochTime)
		again := fire(t, s, p, epochTime)
		if o.Refused != nil {
			require.Equal(t, o.Refused.Code, again.Refused.GetCode())
			require.Zero(t, s.Head())
			return
		}
		require.True(t, again.Duplicate)
		require.Equal(t, o.Seq, again.Seq)
		require.Equal(t, uint64(1), s.Head())
	})
}
