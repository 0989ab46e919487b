package rooms

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/parley-rt/parley/libs/persistence"
	journalmemory "github.com/parley-rt/parley/libs/persistence/memory"
	"github.com/parley-rt/parley/libs/persistence/persistencetest"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	journalv1 "github.com/parley-rt/parley/libs/protocol/journal/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

const membersStream = persistence.StreamKey("members/lobby")

// moderated is a bundle with another rooms node that asks on behalf of administrators.
type moderated struct {
	*bundle
	ops        *fakeGateway
	operations int
}

func setupModerated(t testing.TB, backend persistence.Backend, edit ...func(*Config)) *moderated {
	t.Helper()
	m := &moderated{bundle: setup(t, backend, append(edit, func(c *Config) { c.MovesPerSecond = -1 })...)}
	m.ops = startPeer(t, m.plane, ServiceName, "ops-1")
	m.ops.connect(m.rooms)
	return m
}

func administerFrame(operation string, command any) *roomv1.Frame {
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
	return &roomv1.Frame{Kind: &roomv1.Frame_Administer{Administer: a}}
}

// rule carries out a command in the lobby.
func (m *moderated) rule(command any) *roomv1.Administered {
	m.ops.t.Helper()
	m.operations++
	answer := m.ops.ask("rooms-1", "lobby", administerFrame(fmt.Sprint("op", m.operations), command))
	require.NotNil(m.ops.t, answer.GetAdministered(), "answered by %v", answer)
	return answer.GetAdministered()
}

func (m *moderated) describe() *roomv1.Description {
	m.ops.t.Helper()
	answer := m.ops.ask("rooms-1", "lobby", &roomv1.Frame{Kind: &roomv1.Frame_Describe{Describe: &roomv1.Describe{}}})
	require.NotNil(m.ops.t, answer.GetDescription(), "answered by %v", answer)
	return answer.GetDescription()
}

// evicted waits for the removal of a member and returns it with its frame.
func (g *fakeGateway) evicted(roomID, member string) (*roomv1.Evicted, *roomv1.Eviction) {
	g.t.Helper()
	var frame *roomv1.Evicted
	var found *roomv1.Eviction
	g.wait("eviction of "+member, func(frames []received) bool {
		for _, r := range frames {
			for _, e := range r.frame.GetEvicted().GetMembers() {
				if e.MemberId == member && r.frame.RoomId == roomID {
					frame, found = r.frame.GetEvicted(), e
					return true
				}
			}
		}
		return false
	})
	return frame, found
}

func level(l journalv1.Level) *journalv1.Level { return &l }

// S8: from its seq on a ban holds for publishes, joins, signals and reads, on every gateway; every subscribed one hears of it
// before the deliveries after it.
func TestBan(t *testing.T) {
	t.Parallel()
	eachBackend(t, testBan)
}

func testBan(t *testing.T, backend persistence.Backend) {
	m := setupModerated(t, backend)
	other := startGateway(t, m.plane, "gw-2")
	other.connect(m.rooms)
	for _, member := range []string{"ada", "bob"} {
		m.gw.join("rooms-1", "lobby", member)
	}
	m.gw.subscribe("rooms-1", "lobby")
	other.subscribe("rooms-1", "lobby")
	m.gw.publish("rooms-1", "lobby", "ada", "m1")

	ban := m.rule(&roomv1.BanMember{MemberId: "ada", Reason: "spam", Lasting: durationpb.New(time.Hour)})
	require.Equal(t, uint64(2), ban.Seq)
	require.True(t, ban.Changed)
	require.NotNil(t, ban.ExpiresAt)
	m.gw.publish("rooms-1", "lobby", "bob", "m2")
	for _, g := range []*fakeGateway{m.gw, other} {
		frame, e := g.evicted("lobby", "ada")
		require.Equal(t, []uint64{2, 0, 2}, []uint64{frame.Seq, frame.PrevRemovalSeq, frame.RemovalSeq})
		require.Equal(t, int32(clientv1.ErrorCode_ERROR_CODE_BANNED), e.Code)
		require.Equal(t, "spam", e.Reason)
		require.True(t, proto.Equal(ban.ExpiresAt, e.ExpiresAt))
		g.delivered("lobby", 2)
		after := false
		for _, r := range g.frames {
			after = after || r.frame.GetEvicted() != nil
			if d := r.frame.GetDeliver(); d != nil {
				require.Equal(t, after, d.Messages[0].Seq > 2, "the eviction comes between")
				require.Equal(t, after, d.RemovalSeq == 2)
			}
		}
	}

	outcomes := m.gw.publish("rooms-1", "lobby", "ada", "m1", "m3")
	require.True(t, outcomes[0].Duplicate, "accepted before the ban")
	require.Equal(t, int32(clientv1.ErrorCode_ERROR_CODE_BANNED), outcomes[1].GetRefused().GetCode())
	require.InDelta(t, time.Hour.Milliseconds(), outcomes[1].Refused.RetryAfterMs, float64(patience.Milliseconds()))
	for _, frame := range []*roomv1.Frame{
		joinFrame("ada", "s-ada", 2, nil), joinFrame("ada", "another session", 1, nil), signalFrame("ada"),
		readFrame(&roomv1.Read{MemberId: "ada"}),
		{Kind: &roomv1.Frame_PresenceQuery{PresenceQuery: &roomv1.PresenceQuery{MemberId: "ada"}}},
	} {
		r := refusedWith(t, other.ask("rooms-1", "lobby", frame), clientv1.ErrorCode_ERROR_CODE_BANNED)
		require.NotZero(t, r.RetryAfterMs)
		require.Equal(t, "spam", r.Message)
	}
	var d *roomv1.Description
	require.Eventually(t, func() bool { d = m.describe(); return d.Members == 1 }, patience, 5*time.Millisecond)
	require.Equal(t, []uint32{1, 0, 0}, []uint32{d.Bans, d.Mutes, d.Invitations})
	require.Equal(t, uint64(3), d.Head)
	require.Equal(t, uint64(3), d.LastMessageSeq)

	require.True(t, m.rule(&roomv1.UnbanMember{MemberId: "ada"}).Changed)
	outcomes = m.gw.publish("rooms-1", "lobby", "ada", "m3")
	require.Equal(t, int32(clientv1.ErrorCode_ERROR_CODE_NOT_JOINED), outcomes[0].GetRefused().GetCode(), "the ban has ended its membership")
	joined := m.gw.ask("rooms-1", "lobby", joinFrame("ada", "s-ada", 3, &roomv1.Cursor{AfterSeq: 2})).GetJoined()
	require.True(t, joined.GetRecovered(), "a cursor at the seq of a ban is as good as any")
	require.Equal(t, uint64(2), joined.Cursor)
	require.Equal(t, uint64(5), m.gw.publish("rooms-1", "lobby", "ada", "m3")[0].Seq)
	page := m.gw.ask("rooms-1", "lobby", readFrame(&roomv1.Read{AfterSeq: proto.Uint64(2), MemberId: "ada"})).GetPage()
	require.Equal(t, uint64(2), page.RemovalSeq)
	contiguous(t, 1, page.Messages)
	require.Len(t, page.Messages, 2)
}

// A ban ends by itself.
func TestBanExpires(t *testing.T) {
	t.Parallel()
	m := setupModerated(t, nil)
	m.gw.join("rooms-1", "lobby", "ada")
	m.rule(&roomv1.BanMember{MemberId: "ada", Lasting: durationpb.New(time.Second)})
	operation := uint64(1)
	require.Eventually(t, func() bool {
		operation++
		answer := m.gw.ask("rooms-1", "lobby", joinFrame("ada", "s-ada", operation, nil))
		if answer.GetRefused() != nil {
			refusedWith(t, answer, clientv1.ErrorCode_ERROR_CODE_BANNED)
		}
		return answer.GetJoined() != nil
	}, patience, 20*time.Millisecond)
	require.Zero(t, m.describe().Bans)
}

// S8, S3: members publish at full speed while they are banned, muted and kicked over and over: no message is in the room whose
// sender was not allowed at its place, and what was acknowledged is there.
func TestModerationUnderLoad(t *testing.T) {
	t.Parallel()
	eachBackend(t, testModerationUnderLoad)
}

func testModerationUnderLoad(t *testing.T, backend persistence.Backend) {
	m := setupModerated(t, backend)
	m.gw.join("rooms-1", "lobby", "ada")
	stop := make(chan struct{})
	acked := make(chan map[string]uint64)
	go func() {
		got := make(map[string]uint64)
		defer func() { acked <- got }()
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			ids := []string{fmt.Sprint(n, "a"), fmt.Sprint(n, "b"), fmt.Sprint(n, "c")}
			ch, err := m.gw.try("rooms-1", "lobby", publishFrame("ada", ids...))
			if err != nil {
				continue
			}
			for i, o := range (<-ch).GetPublished().GetOutcomes() {
				if o.Refused == nil {
					got[ids[i]] = o.Seq
				}
			}
		}
	}()
	type span struct{ from, to uint64 } // seqs at which ada may not publish
	var silent []span
	operation := uint64(1)
	for n := range 60 {
		var from uint64
		switch n % 3 {
		case 0:
			from = m.rule(&roomv1.BanMember{MemberId: "ada"}).Seq
			m.rule(&roomv1.UnbanMember{MemberId: "ada"})
		case 1:
			from = m.rule(&roomv1.MuteMember{MemberId: "ada"}).Seq
			silent = append(silent, span{from, m.rule(&roomv1.UnmuteMember{MemberId: "ada"}).Seq})
			continue
		case 2:
			from = m.rule(&roomv1.KickMember{MemberId: "ada"}).Seq
		}
		// As of when it is let in again nothing of it can be stored.
		operation++
		answer := m.gw.ask("rooms-1", "lobby", joinFrame("ada", "s-ada", operation, nil))
		require.NotNil(t, answer.GetJoined(), "%v", answer)
		silent = append(silent, span{from, answer.GetJoined().Head})
	}
	close(stop)
	stored := <-acked
	require.NotEmpty(t, stored)
	messages := readPages(t, m.bundle)
	contiguous(t, 0, messages)
	for _, msg := range messages {
		for _, s := range silent {
			require.False(t, s.from < msg.Seq && msg.Seq <= s.to, "message %d within %v", msg.Seq, s)
		}
		require.Equal(t, stored[msg.MessageId], msg.Seq)
		delete(stored, msg.MessageId)
	}
	require.Empty(t, stored, "acknowledged and lost")
}

// readPages reads the whole lobby.
func readPages(t testing.TB, b *bundle) []*roomv1.Message {
	t.Helper()
	var messages []*roomv1.Message
	for after := uint64(0); ; after = messages[len(messages)-1].Seq {
		page := b.gw.ask("rooms-1", "lobby", readFrame(&roomv1.Read{AfterSeq: &after})).GetPage()
		messages = append(messages, page.GetMessages()...)
		if !page.GetMore() {
			return messages
		}
	}
}

// A kick takes the member out on all its sessions, and is no more than that.
func TestKick(t *testing.T) {
	t.Parallel()
	m := setupModerated(t, nil)
	m.gw.join("rooms-1", "lobby", "ada")
	require.NotNil(t, m.gw.ask("rooms-1", "lobby", joinFrame("ada", "s-2", 1, nil)).GetJoined())
	m.gw.subscribe("rooms-1", "lobby")
	require.Equal(t, uint64(1), m.rule(&roomv1.KickMember{MemberId: "ada", Reason: "enough"}).Seq)
	_, e := m.gw.evicted("lobby", "ada")
	require.Equal(t, int32(clientv1.ErrorCode_ERROR_CODE_NOT_JOINED), e.Code)
	require.Equal(t, "enough", e.Reason)
	require.Equal(t, int32(clientv1.ErrorCode_ERROR_CODE_NOT_JOINED), m.gw.publish("rooms-1", "lobby", "ada", "m1")[0].GetRefused().GetCode())
	require.Eventually(t, func() bool { return m.describe().Members == 0 }, patience, 5*time.Millisecond)
	refusedWith(t, m.gw.ask("rooms-1", "lobby", joinFrame("ada", "s-2", 1, nil)), clientv1.ErrorCode_ERROR_CODE_NOT_JOINED)
	require.NotNil(t, m.gw.ask("rooms-1", "lobby", joinFrame("ada", "s-2", 2, nil)).GetJoined())
	require.Equal(t, uint64(2), m.gw.publish("rooms-1", "lobby", "ada", "m1")[0].Seq)
}

func TestMute(t *testing.T) {
	t.Parallel()
	m := setupModerated(t, nil)
	m.gw.join("rooms-1", "lobby", "ada")
	m.rule(&roomv1.MuteMember{MemberId: "ada", Lasting: durationpb.New(time.Minute)})
	r := m.gw.publish("rooms-1", "lobby", "ada", "m1")[0].GetRefused()
	require.Equal(t, int32(clientv1.ErrorCode_ERROR_CODE_MUTED), r.GetCode())
	require.NotZero(t, r.RetryAfterMs)
	require.NotZero(t, refusedWith(t, m.gw.ask("rooms-1", "lobby", signalFrame("ada")), clientv1.ErrorCode_ERROR_CODE_MUTED).RetryAfterMs)
	require.NotNil(t, m.gw.ask("rooms-1", "lobby", readFrame(&roomv1.Read{MemberId: "ada"})).GetPage(), "it may listen")
	m.rule(&roomv1.UnmuteMember{MemberId: "ada"})
	require.Equal(t, uint64(3), m.gw.publish("rooms-1", "lobby", "ada", "m1")[0].Seq)
}

// A room becomes private: who is not invited is out, at once and everywhere.
func TestPrivateRoom(t *testing.T) {
	t.Parallel()
	m := setupModerated(t, nil)
	for _, member := range []string{"ada", "bob", "eve"} {
		m.gw.join("rooms-1", "lobby", member)
	}
	m.gw.subscribe("rooms-1", "lobby")
	m.rule(&roomv1.InviteMember{MemberId: "ada"})
	changed := m.rule(&roomv1.ChangeSettings{Join: level(journalv1.Level_LEVEL_INVITED)})
	require.Equal(t, journalv1.Level_LEVEL_INVITED, changed.Settings.Join)
	for _, member := range []string{"bob", "eve"} {
		frame, e := m.gw.evicted("lobby", member)
		require.Equal(t, changed.Seq, frame.Seq)
		require.Equal(t, int32(clientv1.ErrorCode_ERROR_CODE_FORBIDDEN), e.Code)
		require.Contains(t, []clientv1.ErrorCode{
			clientv1.ErrorCode_ERROR_CODE_FORBIDDEN, clientv1.ErrorCode_ERROR_CODE_NOT_JOINED, // before and after its membership has ended
		}, clientv1.ErrorCode(m.gw.publish("rooms-1", "lobby", member, "x")[0].GetRefused().GetCode()))
		refusedWith(t, m.gw.ask("rooms-1", "lobby", joinFrame(member, "s-"+member, 2, nil)), clientv1.ErrorCode_ERROR_CODE_FORBIDDEN)
	}
	require.NotZero(t, m.gw.publish("rooms-1", "lobby", "ada", "m1")[0].Seq)

	m.rule(&roomv1.InviteMember{MemberId: "bob"})
	require.NotNil(t, m.gw.ask("rooms-1", "lobby", joinFrame("bob", "s-bob", 3, nil)).GetJoined())
	uninvited := m.rule(&roomv1.UninviteMember{MemberId: "ada"})
	frame, _ := m.gw.evicted("lobby", "ada")
	require.Equal(t, []uint64{uninvited.Seq, changed.Seq}, []uint64{frame.Seq, frame.PrevRemovalSeq})
	m.rule(&roomv1.ChangeSettings{Publish: level(journalv1.Level_LEVEL_MODERATORS)})
	require.Equal(t, int32(clientv1.ErrorCode_ERROR_CODE_FORBIDDEN), m.gw.publish("rooms-1", "lobby", "bob", "m2")[0].GetRefused().GetCode())
	m.rule(&roomv1.InviteMember{MemberId: "bob", Moderator: true})
	require.NotZero(t, m.gw.publish("rooms-1", "lobby", "bob", "m2")[0].Seq)
}

// Who may not read history gets what came since it joined, over all its sessions and resumes, and no more.
func TestHistoryIsForSome(t *testing.T) {
	t.Parallel()
	m := setupModerated(t, nil, func(c *Config) { c.IdleAfter = 50 * time.Millisecond })
	m.gw.join("rooms-1", "lobby", "ada")
	m.gw.publish("rooms-1", "lobby", "ada", "m1", "m2")
	m.rule(&roomv1.ChangeSettings{History: level(journalv1.Level_LEVEL_INVITED)})
	m.rule(&roomv1.InviteMember{MemberId: "ada"})
	m.gw.publish("rooms-1", "lobby", "ada", "m3") // seq 5

	join := func(member, session string, operation, after uint64) *roomv1.Joined {
		answer := m.gw.ask("rooms-1", "lobby", joinFrame(member, session, operation, &roomv1.Cursor{AfterSeq: after}))
		require.NotNil(t, answer.GetJoined(), "%v", answer)
		return answer.GetJoined()
	}
	joined := join("bob", "one", 1, 0)
	require.Equal(t, uint64(5), joined.Cursor)
	require.Equal(t, int32(clientv1.ResetReason_RESET_REASON_TRIMMED), joined.ResetReason)
	m.gw.publish("rooms-1", "lobby", "ada", "m4", "m5") // seqs 6, 7
	require.Equal(t, uint64(6), join("bob", "one", 2, 6).Cursor, "a resume continues")
	require.Equal(t, uint64(5), join("bob", "one", 3, 2).Cursor, "but not before it joined")
	require.Equal(t, uint64(5), join("bob", "two", 1, 0).Cursor, "the member has been here since")
	refusedWith(t, m.gw.ask("rooms-1", "lobby", readFrame(&roomv1.Read{MemberId: "bob"})), clientv1.ErrorCode_ERROR_CODE_FORBIDDEN)
	require.Len(t, m.gw.ask("rooms-1", "lobby", readFrame(&roomv1.Read{MemberId: "ada"})).GetPage().GetMessages(), 5)
	require.Equal(t, uint64(0), join("ada", "s-ada", 9, 0).Cursor)
	refusedWith(t, m.gw.ask("rooms-1", "lobby", readFrame(&roomv1.Read{MemberId: "eve"})), clientv1.ErrorCode_ERROR_CODE_NOT_JOINED)

	passivated(t, m.bundle, "lobby") // all of it is known after a restart
	require.Equal(t, uint64(5), join("bob", "one", 4, 0).Cursor)
	m.rule(&roomv1.KickMember{MemberId: "bob"}) // seq 8
	joined = join("bob", "one", 5, 0)
	require.Equal(t, uint64(8), joined.Cursor, "it is here since after the kick")

	// Who may read it by the settings and has a token that does not allow it gets no more either.
	m.rule(&roomv1.InviteMember{MemberId: "eve"}) // seq 9
	f := joinFrame("eve", "one", 1, &roomv1.Cursor{})
	f.GetJoin().NoHistory = true
	joined = m.gw.ask("rooms-1", "lobby", f).GetJoined()
	require.Equal(t, uint64(9), joined.GetCursor())
	require.Equal(t, int32(clientv1.ResetReason_RESET_REASON_TRIMMED), joined.GetResetReason())
	require.Equal(t, uint64(0), join("eve", "one", 2, 0).Cursor)
}

// A command that is sent again is carried out once, also by the next activation when nobody knows what became of the first.
func TestOperationIsCarriedOutOnce(t *testing.T) {
	t.Parallel()
	for name, stored := range map[string]bool{"stored": true, "not stored": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plan := persistencetest.NewPlan()
			m := setupModerated(t, persistencetest.Faulty(journalmemory.New(journalmemory.Options{}), plan))
			m.gw.join("rooms-1", "lobby", "ada")
			m.gw.publish("rooms-1", "lobby", "ada", "m1")
			plan.Add(persistencetest.Fault{Op: persistencetest.OpAppend, Key: lobbyStream, Late: stored, Err: persistence.ErrUnknown})
			mute := func() *roomv1.Frame {
				return m.ops.ask("rooms-1", "lobby", administerFrame("mute", &roomv1.MuteMember{MemberId: "ada", Lasting: durationpb.New(time.Hour)}))
			}
			require.Equal(t, "rooms-1", mute().GetMoved().GetOwner())
			done := mute().GetAdministered()
			require.NotNil(t, done)
			require.Equal(t, uint64(2), done.Seq)
			require.Equal(t, stored, done.Duplicate)
			require.True(t, mute().GetAdministered().GetDuplicate())
			require.Equal(t, uint64(2), m.describe().Head)
		})
	}
}

// Only rooms nodes administer: what a gateway sends of the kind is dropped.
func TestWhatOnlyRoomsNodesAsk(t *testing.T) {
	t.Parallel()
	m := setupModerated(t, nil)
	m.gw.join("rooms-1", "lobby", "ada")
	for _, frame := range []*roomv1.Frame{
		administerFrame("1", &roomv1.BanMember{MemberId: "ada"}),
		{Kind: &roomv1.Frame_Describe{Describe: &roomv1.Describe{}}},
		{Kind: &roomv1.Frame_List{List: &roomv1.List{Listing: roomv1.Listing_LISTING_MEMBERS}}},
		{Kind: &roomv1.Frame_Publish{Publish: &roomv1.Publish{MemberId: "eve", Unchecked: true, Drafts: []*roomv1.Draft{{MessageId: "x"}}}}},
	} {
		frame.RoomId, frame.Request, frame.Connection = "lobby", 99, 1
		require.NoError(t, m.gw.send("rooms-1", frame))
	}
	require.Equal(t, uint64(1), m.gw.publish("rooms-1", "lobby", "ada", "m1")[0].Seq, "nothing was written before")
	require.Zero(t, m.describe().Bans)
	for _, r := range m.gw.frames {
		require.NotEqual(t, uint64(99), r.frame.Request, "answered: %v", r.frame)
	}
	outcome := m.ops.ask("rooms-1", "lobby", &roomv1.Frame{Kind: &roomv1.Frame_Publish{Publish: &roomv1.Publish{
		MemberId: "eve", Unchecked: true, Drafts: []*roomv1.Draft{{MessageId: "x"}},
	}}}).GetPublished().GetOutcomes()[0]
	require.Equal(t, uint64(2), outcome.Seq, "a rooms node may publish for anybody")
}

func TestLists(t *testing.T) {
	t.Parallel()
	m := setupModerated(t, nil)
	for n := range 7 {
		m.gw.join("rooms-1", "lobby", fmt.Sprint("m", n))
	}
	require.NotNil(t, m.gw.ask("rooms-1", "lobby", joinFrame("m3", "another", 1, nil)).GetJoined())
	m.gw.subscribe("rooms-1", "lobby")
	report := reportFrame("m3")
	report.GetOnline().Members[0].Connections = 2
	require.NotNil(t, m.gw.ask("rooms-1", "lobby", report).GetEvicted())
	list := func(listing roomv1.Listing, after string, limit uint32) *roomv1.Listed {
		answer := m.ops.ask("rooms-1", "lobby", &roomv1.Frame{Kind: &roomv1.Frame_List{List: &roomv1.List{
			Listing: listing, AfterMemberId: after, Limit: limit,
		}}})
		require.NotNil(t, answer.GetListed(), "%v", answer)
		return answer.GetListed()
	}
	var members []string
	for after, more := "", true; more; {
		page := list(roomv1.Listing_LISTING_MEMBERS, after, 3)
		for _, l := range page.Members {
			members = append(members, fmt.Sprintf("%s/%d/%d", l.MemberId, l.Sessions, l.Connections))
			after = l.MemberId
		}
		more = page.More
	}
	require.Equal(t, "m0/1/0 m1/1/0 m2/1/0 m3/2/2 m4/1/0 m5/1/0 m6/1/0", strings.Join(members, " "))

	m.rule(&roomv1.BanMember{MemberId: "b2", Reason: "spam", Lasting: durationpb.New(time.Hour)})
	m.rule(&roomv1.BanMember{MemberId: "b1"})
	m.rule(&roomv1.MuteMember{MemberId: "x", Reason: "loud"})
	m.rule(&roomv1.InviteMember{MemberId: "i", Moderator: true})
	bans := list(roomv1.Listing_LISTING_BANS, "", 0).Members
	require.Len(t, bans, 2)
	require.Equal(t, []any{"b1", uint64(2), "root", ""}, []any{bans[0].MemberId, bans[0].Seq, bans[0].Actor, bans[0].Reason})
	require.Equal(t, []any{"b2", "spam"}, []any{bans[1].MemberId, bans[1].Reason})
	require.NotNil(t, bans[1].ExpiresAt)
	require.Equal(t, "loud", list(roomv1.Listing_LISTING_MUTES, "", 0).Members[0].Reason)
	require.True(t, list(roomv1.Listing_LISTING_INVITATIONS, "", 0).Members[0].Moderator)
	refusedWith(t, m.ops.ask("rooms-1", "lobby", &roomv1.Frame{Kind: &roomv1.Frame_List{List: &roomv1.List{}}}), clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT)
	d := m.describe()
	require.Equal(t, []uint32{7, 1, 2, 1, 1}, []uint32{d.Members, d.Online, d.Bans, d.Mutes, d.Invitations})
	require.Equal(t, "rooms-1", d.Node)
}
