package core

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	journalv1 "github.com/parley-rt/parley/libs/protocol/journal/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"

	"github.com/parley-rt/parley/libs/persistence"
)

// asked returns a command of an administrator.
func asked(operation string, command any) *roomv1.Administer {
	a := &roomv1.Administer{Actor: "root", OperationId: operation}
	switch c := command.(type) {
	case *roomv1.ChangeSettings:
		a.Command = &roomv1.Administer_ChangeSettings{ChangeSettings: c}
	case *roomv1.KickMember:
		a.Command = &roomv1.Administer_Kick{Kick: c}
	case *roomv1.BanMember:
		a.Command = &roomv1.Administer_Ban{Ban: c}
	case *roomv1.UnbanMember:
		a.Command = &roomv1.Administer_Unban{Unban: c}
	case *roomv1.MuteMember:
		a.Command = &roomv1.Administer_Mute{Mute: c}
	case *roomv1.UnmuteMember:
		a.Command = &roomv1.Administer_Unmute{Unmute: c}
	case *roomv1.InviteMember:
		a.Command = &roomv1.Administer_Invite{Invite: c}
	case *roomv1.UninviteMember:
		a.Command = &roomv1.Administer_Uninvite{Uninvite: c}
	}
	return a
}

// room is a live room whose commands are decided and committed one by one.
type room struct {
	t     require.TestingT
	state *State
	seats seats
	now   time.Time
	ops   int
}

func newRoom(t require.TestingT) *room {
	return &room{t: t, state: liveState(), seats: seats{}, now: epochTime}
}

func (r *room) ask(command any) Ruled {
	r.ops++
	events, ruled := r.state.Draft(maxContent, r.seats).Administer(asked(fmt.Sprint("op", r.ops), command), r.state.Head()+1, r.now)
	commit(r.t, r.state, events, r.now)
	return ruled
}

func (r *room) publish(member, id string) *roomv1.Outcome {
	events, outcomes := post(r.state.Draft(maxContent, r.seats), member, []*roomv1.Draft{draftOf(id, "hello")}, r.state.Head()+1, r.now)
	commit(r.t, r.state, events, r.now)
	return outcomes[0]
}

func (r *room) refuses(code clientv1.ErrorCode, member, id string) *roomv1.Refused {
	o := r.publish(member, id)
	require.Equal(r.t, code.String(), clientv1.ErrorCode(o.GetRefused().GetCode()).String())
	return o.Refused
}

// S8: a ban holds for everything after it until it expires or is taken back; what was accepted before stays accepted.
func TestBan(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	r.seats["ada"] = 0
	first := r.publish("ada", "first")
	require.Equal(t, uint64(1), first.Seq)

	ruled := r.ask(&roomv1.BanMember{MemberId: "ada", Reason: "spam", Lasting: durationpb.New(time.Minute)})
	require.Equal(t, uint64(2), ruled.Answer.Seq)
	require.True(t, ruled.Answer.Changed)
	require.Equal(t, "ada", ruled.Evicted)
	require.Equal(t, r.now.Add(time.Minute), ruled.Answer.ExpiresAt.AsTime())
	require.Equal(t, uint64(2), r.state.Removal())

	refused := r.refuses(clientv1.ErrorCode_ERROR_CODE_BANNED, "ada", "second")
	require.Equal(t, "spam", refused.Message)
	require.InDelta(t, 60_000, refused.RetryAfterMs, 1)
	require.True(t, r.publish("ada", "first").Duplicate, "accepted before the ban")

	r.now = r.now.Add(time.Minute)
	require.Nil(t, r.state.Barred("ada", r.now), "it has expired")
	r.refuses(clientv1.ErrorCode_ERROR_CODE_NOT_JOINED, "ada", "third") // its seat was of before the ban
	r.seats["ada"] = r.state.Head()
	require.NotZero(t, r.publish("ada", "fourth").Seq)

	r.ask(&roomv1.BanMember{MemberId: "ada"})
	require.Equal(t, clientv1.ErrorCode_ERROR_CODE_BANNED, r.state.Barred("ada", r.now.Add(MaxLasting)).Code, "for good")
	again := r.ask(&roomv1.BanMember{MemberId: "ada"})
	require.False(t, again.Answer.Changed, "that is so already")
	require.Equal(t, r.state.Head(), again.Answer.Seq)
	require.True(t, r.ask(&roomv1.BanMember{MemberId: "ada", Lasting: durationpb.New(time.Hour)}).Answer.Changed, "a new expiry")
	require.NotNil(t, r.state.Barred("ada", r.now.Add(time.Hour-1)))
	require.Nil(t, r.state.Barred("ada", r.now.Add(time.Hour)))

	require.True(t, r.ask(&roomv1.UnbanMember{MemberId: "ada"}).Answer.Changed)
	require.Equal(t, &roomv1.Administered{}, r.ask(&roomv1.UnbanMember{MemberId: "ada"}).Answer, "nothing to undo")
	r.refuses(clientv1.ErrorCode_ERROR_CODE_NOT_JOINED, "ada", "fifth")
}

// The chain of prev_seq passes over what is not a message.
func TestChainPassesOverRulings(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	r.seats["bob"] = 0
	r.publish("bob", "1")
	r.ask(&roomv1.BanMember{MemberId: "ada"})
	r.ask(&roomv1.KickMember{MemberId: "eve"})
	r.publish("bob", "2")
	fresh := r.state.TakeFresh()
	require.Equal(t, uint64(4), fresh[1].Seq)
	require.Equal(t, uint64(1), fresh[1].PrevSeq)
	r.ask(&roomv1.UnbanMember{MemberId: "ada"})
	require.Equal(t, uint64(5), r.state.Head())
	require.Equal(t, uint64(4), r.state.LastMessage())
}

func TestKickEndsSeatsOfBefore(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	r.seats["ada"] = 0
	require.NotZero(t, r.publish("ada", "1").Seq)
	kick := r.ask(&roomv1.KickMember{MemberId: "ada"})
	require.Equal(t, "ada", kick.Evicted)
	r.refuses(clientv1.ErrorCode_ERROR_CODE_NOT_JOINED, "ada", "2")
	r.seats["ada"] = r.state.Head() // it joined again
	require.NotZero(t, r.publish("ada", "3").Seq)
}

func TestMute(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	r.seats["ada"] = 0
	require.False(t, r.ask(&roomv1.MuteMember{MemberId: "ada", Lasting: durationpb.New(10 * time.Second)}).Removes())
	refused := r.refuses(clientv1.ErrorCode_ERROR_CODE_MUTED, "ada", "1")
	require.InDelta(t, 10_000, refused.RetryAfterMs, 1)
	require.Equal(t, clientv1.ErrorCode_ERROR_CODE_MUTED, r.state.Silenced(r.seats, "ada", r.now).Code)
	require.Nil(t, r.state.Outside(r.seats, "ada", r.now), "it may listen")
	r.now = r.now.Add(10 * time.Second)
	require.NotZero(t, r.publish("ada", "2").Seq)

	r.ask(&roomv1.MuteMember{MemberId: "ada"})
	require.Zero(t, r.refuses(clientv1.ErrorCode_ERROR_CODE_MUTED, "ada", "3").RetryAfterMs, "for good")
	r.ask(&roomv1.UnmuteMember{MemberId: "ada"})
	require.NotZero(t, r.publish("ada", "4").Seq)
}

func level(l journalv1.Level) *journalv1.Level { return &l }

func TestLevels(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		level                      journalv1.Level
		nobody, invited, moderator bool // who may
	}{
		{journalv1.Level_LEVEL_ANYONE, true, true, true},
		{journalv1.Level_LEVEL_INVITED, false, true, true},
		{journalv1.Level_LEVEL_MODERATORS, false, false, true},
		{journalv1.Level_LEVEL_NOBODY, false, false, false},
	} {
		r := newRoom(t)
		for _, member := range []string{"guest", "invited", "moderator"} {
			r.seats[member] = 0
		}
		r.ask(&roomv1.InviteMember{MemberId: "invited"})
		r.ask(&roomv1.InviteMember{MemberId: "moderator", Moderator: true})
		may := map[string]bool{"guest": c.nobody, "invited": c.invited, "moderator": c.moderator}

		r.ask(&roomv1.ChangeSettings{Publish: level(c.level), History: level(c.level)})
		for member, ok := range may {
			require.Equal(t, ok, r.publish(member, "1").Refused == nil, "%s publishes at %v", member, c.level)
			require.Equal(t, ok, r.state.Unread(r.seats, member, r.now) == nil, "%s reads at %v", member, c.level)
			require.Nil(t, r.state.Barred(member, r.now))
		}
		r.ask(&roomv1.ChangeSettings{Publish: level(journalv1.Level_LEVEL_ANYONE), Join: level(c.level)})
		for member, ok := range may {
			require.Equal(t, ok, r.state.Barred(member, r.now) == nil, "%s joins at %v", member, c.level)
			require.Equal(t, ok, r.publish(member, "2").Refused == nil, "who may not be in the room may not publish, seat or not")
		}
	}
}

// What takes members out of the room by the settings is known as such, and nothing else is.
func TestNarrowing(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	for _, step := range []struct {
		command any
		narrows bool
	}{
		{&roomv1.InviteMember{MemberId: "ada", Moderator: true}, false},
		{&roomv1.ChangeSettings{Publish: level(journalv1.Level_LEVEL_MODERATORS)}, false},
		{&roomv1.InviteMember{MemberId: "ada"}, false},
		{&roomv1.UninviteMember{MemberId: "ada"}, false},
		{&roomv1.ChangeSettings{Join: level(journalv1.Level_LEVEL_INVITED)}, true},
		{&roomv1.InviteMember{MemberId: "ada", Moderator: true}, false},
		{&roomv1.InviteMember{MemberId: "ada"}, false},
		{&roomv1.InviteMember{MemberId: "ada", Moderator: true}, false},
		{&roomv1.ChangeSettings{Join: level(journalv1.Level_LEVEL_MODERATORS)}, true},
		{&roomv1.InviteMember{MemberId: "ada"}, true},
		{&roomv1.ChangeSettings{Join: level(journalv1.Level_LEVEL_ANYONE)}, false},
		{&roomv1.ChangeSettings{Join: level(journalv1.Level_LEVEL_INVITED)}, true},
		{&roomv1.UninviteMember{MemberId: "ada"}, true},
	} {
		before := r.state.Removal()
		ruled := r.ask(step.command)
		require.Nil(t, ruled.Refused)
		require.Equal(t, step.narrows, ruled.Narrowed, "%v", step.command)
		require.Equal(t, step.narrows, ruled.Removes())
		want := before
		if step.narrows {
			want = r.state.Head()
		}
		require.Equal(t, want, r.state.Removal(), "%v", step.command)
	}
}

func TestChangeSettings(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	count, bytes, on := uint64(10), uint32(20), true
	ruled := r.ask(&roomv1.ChangeSettings{
		Join: level(journalv1.Level_LEVEL_INVITED), PresenceEvents: &on, RetentionAge: durationpb.New(time.Hour),
		RetentionCount: &count, MaxContentBytes: &bytes,
	})
	want := &journalv1.Settings{
		Join: journalv1.Level_LEVEL_INVITED, PresenceEvents: true, RetentionAge: durationpb.New(time.Hour), RetentionCount: 10, MaxContentBytes: 20,
	}
	require.True(t, proto.Equal(want, ruled.Answer.Settings))
	require.True(t, proto.Equal(want, r.state.Settings()))
	require.Equal(t, uint64(1), r.state.SettingsSeq())

	same := r.ask(&roomv1.ChangeSettings{PresenceEvents: &on})
	require.False(t, same.Answer.Changed)
	require.Equal(t, uint64(1), same.Answer.Seq)
	require.True(t, proto.Equal(want, same.Answer.Settings))

	zero := uint64(0)
	ruled = r.ask(&roomv1.ChangeSettings{RetentionAge: durationpb.New(0), RetentionCount: &zero})
	require.Nil(t, ruled.Answer.Settings.RetentionAge)
	require.Zero(t, ruled.Answer.Settings.RetentionCount)
	require.Equal(t, journalv1.Level_LEVEL_INVITED, ruled.Answer.Settings.Join, "what is absent stays")
	require.Zero(t, r.state.RetentionAge())
}

func TestContentLimitOfTheRoom(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	r.seats["ada"] = 0
	five := uint32(5)
	require.NotZero(t, r.publish("ada", "1").Seq)
	r.ask(&roomv1.ChangeSettings{MaxContentBytes: &five})
	require.NotZero(t, r.publish("ada", "2").Seq, "hello has five")
	four := uint32(4)
	r.ask(&roomv1.ChangeSettings{MaxContentBytes: &four})
	r.refuses(clientv1.ErrorCode_ERROR_CODE_TOO_LARGE, "ada", "3")
}

func TestRefusedCommands(t *testing.T) {
	t.Parallel()
	tooMany := uint32(maxContent + 1)
	for name, a := range map[string]*roomv1.Administer{
		"no operation":     {Actor: "root", Command: asked("", &roomv1.KickMember{MemberId: "ada"}).Command},
		"long operation":   {Actor: "root", OperationId: strings.Repeat("o", 129), Command: asked("", &roomv1.KickMember{MemberId: "ada"}).Command},
		"no actor":         {OperationId: "1", Command: asked("", &roomv1.KickMember{MemberId: "ada"}).Command},
		"no command":       {Actor: "root", OperationId: "1"},
		"empty command":    {Actor: "root", OperationId: "1", Command: &roomv1.Administer_Ban{}},
		"no member":        asked("1", &roomv1.BanMember{}),
		"long member":      asked("1", &roomv1.MuteMember{MemberId: strings.Repeat("m", MaxMemberID+1)}),
		"member not UTF-8": asked("1", &roomv1.InviteMember{MemberId: "\xff"}),
		"long reason":      asked("1", &roomv1.KickMember{MemberId: "ada", Reason: strings.Repeat("r", MaxReason+1)}),
		"too short":        asked("1", &roomv1.BanMember{MemberId: "ada", Lasting: durationpb.New(time.Second - 1)}),
		"negative":         asked("1", &roomv1.BanMember{MemberId: "ada", Lasting: durationpb.New(-time.Hour)}),
		"too long":         asked("1", &roomv1.MuteMember{MemberId: "ada", Lasting: durationpb.New(MaxLasting + 1)}),
		"not a duration":   asked("1", &roomv1.MuteMember{MemberId: "ada", Lasting: &durationpb.Duration{Seconds: 1, Nanos: -1}}),
		"level 0":          asked("1", &roomv1.ChangeSettings{Join: level(journalv1.Level_LEVEL_UNSPECIFIED)}),
		"unknown level":    asked("1", &roomv1.ChangeSettings{History: level(99)}),
		"short age":        asked("1", &roomv1.ChangeSettings{RetentionAge: durationpb.New(time.Second)}),
		"large content":    asked("1", &roomv1.ChangeSettings{MaxContentBytes: &tooMany}),
		"slow messages":    asked("1", &roomv1.ChangeSettings{MessageRate: &journalv1.Rate{PerSecond: 1e-9, Burst: 1}}),
		"negative bytes":   asked("1", &roomv1.ChangeSettings{ByteRate: &journalv1.Rate{PerSecond: -1}}),
	} {
		s := liveState()
		events, ruled := s.Draft(maxContent, everybody).Administer(a, 1, epochTime)
		require.Empty(t, events, name)
		require.Nil(t, ruled.Answer, name)
		require.Equal(t, int32(clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT), ruled.Refused.GetCode(), name)
		require.NotEmpty(t, ruled.Refused.Message, name)
	}
}

// A repeated operation is answered as the first was, also by the next writer, and whatever happened since.
func TestOperationsAreRecognised(t *testing.T) {
	t.Parallel()
	s := liveState()
	ban := asked("op", &roomv1.BanMember{MemberId: "ada", Lasting: durationpb.New(time.Minute)})
	d := s.Draft(maxContent, everybody)
	events, ruled := d.Administer(ban, 1, epochTime)
	require.Len(t, events, 1)
	require.True(t, ruled.Answer.Changed)
	more, ruled := d.Administer(ban, 2, epochTime)
	require.Empty(t, more)
	require.Equal(t, &roomv1.Administered{Seq: 1, Duplicate: true}, ruled.Answer, "in the same batch")
	h := &history{events: commit(t, s, events, epochTime)}
	snap, err := s.Snapshot()
	require.NoError(t, err)
	snap.Seq = 1
	h.snaps = []persistence.Snapshot{snap}

	for from := -1; from < 1; from++ {
		next := h.recovered(t, from, 10, epochTime)
		_, ruled = next.Draft(maxContent, everybody).Administer(ban, 2, epochTime.Add(WindowAge))
		require.Equal(t, &roomv1.Administered{Seq: 1, Duplicate: true}, ruled.Answer)
	}
	other := proto.CloneOf(ban)
	other.Actor = "somebody else"
	_, ruled = s.Draft(maxContent, everybody).Administer(other, 2, epochTime)
	require.True(t, ruled.Answer.Changed, "operations are the actor's own")
}

// Within one batch a command sees what those before it decided; a dropped batch leaves nothing of it.
func TestRulingsInOneBatch(t *testing.T) {
	t.Parallel()
	s := liveState()
	d := s.Draft(maxContent, seats{"ada": 0, "bob": 0})
	var events []persistence.Event
	next := func() uint64 { return uint64(len(events)) + 1 }
	ask := func(op string, command any) {
		es, ruled := d.Administer(asked(op, command), next(), epochTime)
		require.Nil(t, ruled.Refused)
		events = append(events, es...)
	}
	publish := func(member, id string) *roomv1.Outcome {
		es, outcomes := post(d, member, []*roomv1.Draft{draftOf(id, "")}, next(), epochTime)
		events = append(events, es...)
		return outcomes[0]
	}
	code := func(o *roomv1.Outcome) clientv1.ErrorCode { return clientv1.ErrorCode(o.GetRefused().GetCode()) }

	require.Zero(t, code(publish("ada", "1")))
	ask("1", &roomv1.BanMember{MemberId: "ada"})
	require.Equal(t, clientv1.ErrorCode_ERROR_CODE_BANNED, code(publish("ada", "2")))
	require.True(t, publish("ada", "1").Duplicate)
	ask("2", &roomv1.UnbanMember{MemberId: "ada"})
	require.Equal(t, clientv1.ErrorCode_ERROR_CODE_NOT_JOINED, code(publish("ada", "2")), "the ban has ended its memberships")
	ask("3", &roomv1.MuteMember{MemberId: "bob"})
	require.Equal(t, clientv1.ErrorCode_ERROR_CODE_MUTED, code(publish("bob", "1")))
	ask("4", &roomv1.UnmuteMember{MemberId: "bob"})
	ask("5", &roomv1.ChangeSettings{Publish: level(journalv1.Level_LEVEL_INVITED)})
	require.Equal(t, clientv1.ErrorCode_ERROR_CODE_FORBIDDEN, code(publish("bob", "1")))
	ask("6", &roomv1.InviteMember{MemberId: "bob"})
	require.Zero(t, code(publish("bob", "1")))
	ask("7", &roomv1.UninviteMember{MemberId: "bob"})
	require.Equal(t, clientv1.ErrorCode_ERROR_CODE_FORBIDDEN, code(publish("bob", "2")))

	_, ruled := s.Draft(maxContent, everybody).Administer(asked("1", &roomv1.UnbanMember{MemberId: "ada"}), 1, epochTime)
	require.False(t, ruled.Answer.Changed, "the draft was not stored")
	commit(t, s, events, epochTime)
	require.Nil(t, s.Barred("ada", epochTime))
	require.Equal(t, journalv1.Level_LEVEL_INVITED, s.Settings().Publish)
}

// A list that is full says so; replacing and what has expired do not count.
func TestFullLists(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	for n := range RightsListed {
		ruled := r.ask(&roomv1.BanMember{MemberId: fmt.Sprint("m", n), Lasting: durationpb.New(time.Hour)})
		require.Nil(t, ruled.Refused, "ban %d", n)
	}
	full := r.ask(&roomv1.BanMember{MemberId: "one more"})
	require.Equal(t, int32(clientv1.ErrorCode_ERROR_CODE_TOO_LARGE), full.Refused.GetCode())
	require.Contains(t, full.Refused.Message, "10000 bans")
	require.True(t, r.ask(&roomv1.BanMember{MemberId: "m1"}).Answer.Changed, "it is there already")
	snap, err := r.state.Snapshot()
	require.NoError(t, err)
	require.Less(t, len(snap.Payload), persistence.MaxSnapshotBytes)

	r.now = r.now.Add(time.Hour)
	r.state.Expire(r.now)
	require.True(t, r.ask(&roomv1.BanMember{MemberId: "one more"}).Answer.Changed)
	require.Len(t, r.state.rights.bans, 2)

	long := newRoom(t)
	name := strings.Repeat("x", MaxMemberID-8)
	n := 0
	for ; ; n++ {
		ruled := long.ask(&roomv1.MuteMember{MemberId: fmt.Sprintf("%s%08d", name, n), Reason: strings.Repeat("r", MaxReason)})
		if ruled.Refused != nil {
			require.Equal(t, int32(clientv1.ErrorCode_ERROR_CODE_TOO_LARGE), ruled.Refused.Code)
			break
		}
		if n < 2*KicksKept {
			long.ask(&roomv1.KickMember{MemberId: fmt.Sprintf("%s%08d", name, n)})
		}
	}
	require.Less(t, n, RightsListed)
	require.Len(t, long.state.rights.kicks, KicksKept)
	snap, err = long.state.Snapshot()
	require.NoError(t, err)
	require.Less(t, len(snap.Payload), persistence.MaxSnapshotBytes)
	require.Greater(t, len(snap.Payload), RightsBytes*9/10)
}

// Publishing at a rate that fills the dedupe window leaves place for those who moderate.
func TestFloodedRoomIsModerated(t *testing.T) {
	t.Parallel()
	s := NewState(persistence.Claim{}, 128)
	s.Live(epochTime)
	r := &room{t: t, state: s, seats: seats{"ada": 0}, now: epochTime}
	n := 0
	for ; r.publish("ada", fmt.Sprint(n)).Refused == nil; n++ {
	}
	require.Equal(t, 126, n)
	require.Equal(t, uint64(127), r.ask(&roomv1.BanMember{MemberId: "ada"}).Answer.Seq)
	r.refuses(clientv1.ErrorCode_ERROR_CODE_BANNED, "ada", "more")
	require.NotNil(t, r.ask(&roomv1.KickMember{MemberId: "ada"}).Answer)
	require.Equal(t, int32(clientv1.ErrorCode_ERROR_CODE_BUSY), r.ask(&roomv1.KickMember{MemberId: "ada"}).Refused.GetCode())
}

// Whatever an administrator sends is answered or refused, changes something only by an event that can be applied, and the
// state after that event is the draft's.
func FuzzAdminister(f *testing.F) {
	for _, a := range []*roomv1.Administer{
		asked("op", &roomv1.ChangeSettings{Join: level(journalv1.Level_LEVEL_INVITED), RetentionAge: durationpb.New(time.Hour)}),
		asked("op", &roomv1.BanMember{MemberId: "ada", Reason: "spam", Lasting: durationpb.New(time.Hour)}),
		asked("op", &roomv1.InviteMember{MemberId: "ada", Moderator: true}),
		asked("", &roomv1.KickMember{MemberId: "ada"}),
	} {
		payload, err := proto.Marshal(a)
		require.NoError(f, err)
		f.Add(payload)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		var a roomv1.Administer
		if proto.Unmarshal(payload, &a) != nil {
			return
		}
		s := liveState()
		d := s.Draft(maxContent, everybody)
		events, ruled := d.Administer(&a, 1, epochTime)
		require.NotEqual(t, ruled.Answer == nil, ruled.Refused == nil)
		require.Equal(t, ruled.Answer.GetChanged(), len(events) == 1)
		commit(t, s, events, epochTime)
		require.Equal(t, ruled.Removes(), s.Removal() > 0)
		for _, member := range []string{"ada", ruled.Evicted} {
			require.Equal(t, barred(&d.rights, member, epochTime), s.Barred(member, epochTime))
			require.Equal(t, silenced(&d.rights, everybody, member, epochTime), s.Silenced(everybody, member, epochTime))
		}
	})
}
