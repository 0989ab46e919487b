package rooms

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	journalmemory "github.com/parley-rt/parley/libs/persistence/memory"
	"github.com/parley-rt/parley/libs/persistence/persistencetest"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	journalv1 "github.com/parley-rt/parley/libs/protocol/journal/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

func reportFrame(members ...string) *roomv1.Frame {
	o := &roomv1.Online{Full: true}
	for _, member := range members {
		o.Members = append(o.Members, &roomv1.Present{MemberId: member, Connections: 1})
	}
	return &roomv1.Frame{Kind: &roomv1.Frame_Online{Online: o}}
}

func evictedMembers(e *roomv1.Evicted) map[string]clientv1.ErrorCode {
	codes := make(map[string]clientv1.ErrorCode)
	for _, m := range e.GetMembers() {
		codes[m.MemberId] = clientv1.ErrorCode(m.Code)
	}
	return codes
}

// S8: a gateway that has missed evictions, whatever it missed with them, learns who is out from its report.
func TestReportIsAnsweredByEvictions(t *testing.T) {
	t.Parallel()
	m := setupModerated(t, nil)
	for _, member := range []string{"ada", "bob", "eve", "dan"} {
		m.gw.join("rooms-1", "lobby", member)
	}
	m.rule(&roomv1.BanMember{MemberId: "ada"})
	m.rule(&roomv1.KickMember{MemberId: "bob"})
	m.rule(&roomv1.InviteMember{MemberId: "dan"})
	private := m.rule(&roomv1.ChangeSettings{Join: level(journalv1.Level_LEVEL_INVITED)})
	subscribed := m.gw.subscribe("rooms-1", "lobby")
	require.Equal(t, private.Seq, subscribed.RemovalSeq)

	answer := m.gw.ask("rooms-1", "lobby", reportFrame("ada", "bob", "eve", "dan")).GetEvicted()
	require.NotNil(t, answer)
	require.Equal(t, []uint64{private.Seq, private.Seq, private.Seq}, []uint64{answer.Seq, answer.PrevRemovalSeq, answer.RemovalSeq})
	require.Equal(t, map[string]clientv1.ErrorCode{
		"ada": clientv1.ErrorCode_ERROR_CODE_BANNED, "bob": clientv1.ErrorCode_ERROR_CODE_NOT_JOINED, "eve": clientv1.ErrorCode_ERROR_CODE_NOT_JOINED,
	}, evictedMembers(answer), "eve has been taken out already when it is reported")

	answer = m.gw.ask("rooms-1", "lobby", reportFrame("dan")).GetEvicted()
	require.NotNil(t, answer, "asked for, so it is answered")
	require.Empty(t, answer.Members)

	// Without a request number only outsiders are worth an answer.
	report := reportFrame("dan")
	report.RoomId = "lobby"
	require.NoError(t, m.gw.send("rooms-1", report))
	report = reportFrame("stranger")
	report.RoomId = "lobby"
	require.NoError(t, m.gw.send("rooms-1", report))
	frame, _ := m.gw.evicted("lobby", "stranger")
	require.Len(t, frame.Members, 1)
	require.Equal(t, frame.PrevRemovalSeq, frame.RemovalSeq)
	for _, r := range m.gw.frames {
		if r.frame.GetEvicted() != nil {
			require.NotContains(t, evictedMembers(r.frame.GetEvicted()), "dan")
		}
	}
}

// S8: a gateway whose Link takes no more loses its subscription instead of an eviction.
func TestEvictionThatCannotBeSent(t *testing.T) {
	t.Parallel()
	m := setupModerated(t, nil)
	slow := startGateway(t, m.plane, "gw-2")
	slow.connect(m.rooms)
	m.gw.join("rooms-1", "lobby", "ada")
	m.gw.join("rooms-1", "lobby", "bob")
	slow.subscribe("rooms-1", "lobby")
	release := slow.stall()
	content := string(make([]byte, 60<<10))
	for n := range 180 { // more than a Link queues
		answer := m.gw.ask("rooms-1", "lobby", &roomv1.Frame{Kind: &roomv1.Frame_Publish{Publish: &roomv1.Publish{
			MemberId: "bob", Drafts: []*roomv1.Draft{{MessageId: fmt.Sprint(n), Content: content}},
		}}})
		require.NotNil(t, answer.GetPublished())
	}
	ban := m.rule(&roomv1.BanMember{MemberId: "ada"})
	release()
	slow.closed("lobby", 1)
	for _, r := range slow.frames {
		require.Nil(t, r.frame.GetEvicted())
		require.Zero(t, r.frame.GetDeliver().GetRemovalSeq(), "nothing of after the ban was sent")
	}
	require.Equal(t, ban.Seq, slow.subscribe("rooms-1", "lobby").RemovalSeq)
	require.Contains(t, evictedMembers(slow.ask("rooms-1", "lobby", reportFrame("ada")).GetEvicted()), "ada")
}

// S8: another node takes the room over before anybody was told. What counts is in the room's stream: the new writer refuses the
// member and tells who reports it.
func TestBanOutlivesItsWriter(t *testing.T) {
	t.Parallel()
	eachBackend(t, testBanOutlivesItsWriter)
}

func testBanOutlivesItsWriter(t *testing.T, backend persistence.Backend) {
	p := setupPairOn(t, backend, func(c *Config) { c.MovesPerSecond = -1 })
	ops := startPeer(t, p.plane, ServiceName, "ops-1")
	ops.connect(p.one, p.two)
	p.gw.join("rooms-1", "lobby", "ada")
	p.gw.join("rooms-1", "lobby", "bob")
	p.gw.subscribe("rooms-1", "lobby")
	ban := ops.ask("rooms-1", "lobby", administerFrame("ban", &roomv1.BanMember{MemberId: "ada"})).GetAdministered()
	require.NotNil(t, ban)
	kill(t, p.one)
	require.Eventually(t, func() bool {
		answer := p.gw.ask("rooms-2", "lobby", &roomv1.Frame{Kind: &roomv1.Frame_Subscribe{Subscribe: &roomv1.Subscribe{}}})
		return answer.GetSubscribed().GetRemovalSeq() == ban.Seq
	}, patience, 50*time.Millisecond)
	require.Equal(t, map[string]clientv1.ErrorCode{"ada": clientv1.ErrorCode_ERROR_CODE_BANNED},
		evictedMembers(p.gw.ask("rooms-2", "lobby", reportFrame("ada", "bob")).GetEvicted()))
	require.Equal(t, int32(clientv1.ErrorCode_ERROR_CODE_BANNED), p.gw.publish("rooms-2", "lobby", "ada", "m1")[0].GetRefused().GetCode())
	refusedWith(t, p.gw.ask("rooms-2", "lobby", joinFrame("ada", "s-ada", 2, nil)), clientv1.ErrorCode_ERROR_CODE_BANNED)
	require.True(t, ops.ask("rooms-2", "lobby", administerFrame("ban", &roomv1.BanMember{MemberId: "ada"})).GetAdministered().GetDuplicate())
}

// S8: between a kick and the end of the memberships anything may fail. The member is out all the same, may join again, and the
// memberships end as soon as the journal takes it: in this activation or in the next.
func TestMembershipsEndLate(t *testing.T) {
	t.Parallel()
	for name, dies := range map[string]bool{"same activation": false, "next activation": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plan := persistencetest.NewPlan()
			backend := persistencetest.Faulty(journalmemory.New(journalmemory.Options{}), plan)
			m := setupModerated(t, backend, shortFence, func(c *Config) { c.TakeoverEvery = 20 * time.Millisecond })
			m.gw.join("rooms-1", "lobby", "ada")
			m.gw.join("rooms-1", "lobby", "bob")
			plan.Add(persistencetest.Fault{Op: persistencetest.OpAppend, Key: membersStream, Times: -1, Err: persistence.ErrUnavailable})
			m.rule(&roomv1.KickMember{MemberId: "ada"})
			m.rule(&roomv1.BanMember{MemberId: "bob"})
			require.Equal(t, int32(clientv1.ErrorCode_ERROR_CODE_NOT_JOINED), m.gw.publish("rooms-1", "lobby", "ada", "m1")[0].GetRefused().GetCode())
			require.Equal(t, int32(clientv1.ErrorCode_ERROR_CODE_BANNED), m.gw.publish("rooms-1", "lobby", "bob", "m1")[0].GetRefused().GetCode())
			require.Equal(t, uint32(2), m.describe().Members)
			refusedWith(t, m.gw.ask("rooms-1", "lobby", joinFrame("ada", "s-ada", 2, nil)), clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE)
			if dies {
				// Somebody takes the room's stream and gives it back: the activation ends without doing anything more.
				c, err := backend.Claim(context.Background(), lobbyStream, "somebody", persistence.ClaimOptions{})
				require.NoError(t, err)
				require.NoError(t, backend.Release(context.Background(), c))
			}
			plan.Clear()
			require.Eventually(t, func() bool {
				answer := m.ops.ask("rooms-1", "lobby", &roomv1.Frame{Kind: &roomv1.Frame_Describe{Describe: &roomv1.Describe{}}})
				return answer.GetDescription() != nil && answer.GetDescription().Members == 0
			}, patience, 20*time.Millisecond)
			require.Eventually(t, func() bool { // the same join that was put off
				return m.gw.ask("rooms-1", "lobby", joinFrame("ada", "s-ada", 2, nil)).GetJoined() != nil
			}, patience, 20*time.Millisecond)
		})
	}
}

// Thousands are put out at once, in parts that the journal and the Links take.
func TestMassEviction(t *testing.T) {
	t.Parallel()
	m := setupModerated(t, nil)
	const members = 5000 // more than one frame names
	for n := 0; n < members; {
		var answers []<-chan *roomv1.Frame
		for ; n < members && len(answers) < 500; n++ {
			answers = append(answers, m.gw.start("rooms-1", "lobby", joinFrame(fmt.Sprintf("m%d", n), "s", 1, nil)))
		}
		for _, ch := range answers {
			require.NotNil(t, m.gw.await(ch).GetJoined())
		}
	}
	m.rule(&roomv1.InviteMember{MemberId: "m7"})
	m.gw.subscribe("rooms-1", "lobby")
	private := m.rule(&roomv1.ChangeSettings{Join: level(journalv1.Level_LEVEL_INVITED)})
	out := make(map[string]clientv1.ErrorCode)
	var last *roomv1.Evicted
	m.gw.wait("evictions", func(frames []received) bool {
		for _, r := range frames {
			if e := r.frame.GetEvicted(); e != nil {
				last = e
				for member, code := range evictedMembers(e) {
					out[member] = code
				}
			}
		}
		return last.GetRemovalSeq() == private.Seq
	})
	require.Len(t, out, members-1)
	require.NotContains(t, out, "m7")
	require.Equal(t, clientv1.ErrorCode_ERROR_CODE_FORBIDDEN, out["m8"])
	require.Eventually(t, func() bool { return m.describe().Members == 1 }, patience, 20*time.Millisecond)
}

// S8: of a member that was kicked and came back elsewhere, a gateway that has missed the kick learns it, too: what it holds of
// before has ended, although the member is in the room.
func TestMissedKickOfMemberWhoCameBack(t *testing.T) {
	t.Parallel()
	m := setupModerated(t, nil)
	other := startGateway(t, m.plane, "gw-2")
	other.connect(m.rooms)
	m.gw.join("rooms-1", "lobby", "ada")
	m.gw.join("rooms-1", "lobby", "bob")
	require.NotNil(t, other.ask("rooms-1", "lobby", joinFrame("ada", "elsewhere", 1, nil)).GetJoined())
	kick := m.rule(&roomv1.KickMember{MemberId: "ada"})
	back := other.ask("rooms-1", "lobby", joinFrame("ada", "elsewhere", 2, nil)).GetJoined()
	require.NotNil(t, back)
	require.GreaterOrEqual(t, back.Head, kick.Seq, "as of then it is in")

	m.gw.subscribe("rooms-1", "lobby")
	answer := m.gw.ask("rooms-1", "lobby", reportFrame("ada", "bob")).GetEvicted()
	require.NotNil(t, answer)
	require.Empty(t, answer.Members, "both are in the room now")
	frame, eviction := m.gw.evicted("lobby", "ada")
	require.Equal(t, kick.Seq, frame.Seq, "only what was let in before has ended")
	require.Equal(t, clientv1.ErrorCode_ERROR_CODE_NOT_JOINED, clientv1.ErrorCode(eviction.Code))
	require.Equal(t, []uint64{kick.Seq, kick.Seq}, []uint64{frame.PrevRemovalSeq, frame.RemovalSeq}, "it is no new link of the chain")
}
