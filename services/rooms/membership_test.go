package rooms

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/names"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/rooms/internal/room/core"

	"github.com/parley-rt/parley/libs/actorkit/actorkittest"
	"github.com/parley-rt/parley/libs/persistence"
)

// S3, S8: only joined members publish and signal, by the room's own word; what was accepted before stays accepted.
func TestOnlyMembersPublish(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	outcomes := b.gw.publish("rooms-1", "lobby", "ada", "m1")
	require.Equal(t, int32(clientv1.ErrorCode_ERROR_CODE_NOT_JOINED), outcomes[0].GetRefused().GetCode())

	b.gw.join("rooms-1", "lobby", "ada")
	require.Equal(t, uint64(1), b.gw.publish("rooms-1", "lobby", "ada", "m1")[0].Seq)
	require.NotNil(t, b.gw.ask("rooms-1", "lobby", leaveFrame("ada", "s-ada", 2)).GetLeft())

	outcomes = b.gw.publish("rooms-1", "lobby", "ada", "m1", "m2")
	require.Equal(t, uint64(1), outcomes[0].Seq)
	require.True(t, outcomes[0].Duplicate)
	require.Equal(t, int32(clientv1.ErrorCode_ERROR_CODE_NOT_JOINED), outcomes[1].GetRefused().GetCode())

	refusedWith(t, b.gw.ask("rooms-1", "lobby", signalFrame("ada")), clientv1.ErrorCode_ERROR_CODE_NOT_JOINED)
	refusedWith(t, b.gw.ask("rooms-1", "lobby", joinFrame("ada", "s-ada", 1, nil)), clientv1.ErrorCode_ERROR_CODE_NOT_JOINED)
	refusedWith(t, b.gw.ask("rooms-1", "lobby", joinFrame("", "s", 1, nil)), clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT)
}

func signalFrame(member string) *roomv1.Frame {
	return &roomv1.Frame{Kind: &roomv1.Frame_Signal{Signal: &roomv1.Signal{MemberId: member, Type: "typing", Content: "…"}}}
}

func TestSignalsReachSubscribers(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.gw.join("rooms-1", "lobby", "ada")
	b.gw.subscribe("rooms-1", "lobby")
	frame := signalFrame("ada")
	frame.RoomId = "lobby"
	require.NoError(t, b.gw.send("rooms-1", frame))
	b.gw.wait("signal", func(frames []received) bool {
		for _, r := range frames {
			if s := r.frame.GetSignalled(); s != nil {
				return s.Sender == "ada" && s.Type == "typing" && s.Content == "…" && s.Epoch == 1
			}
		}
		return false
	})
	head, err := b.backend.Head(t.Context(), persistence.StreamKey(names.RoomStream("lobby")))
	require.NoError(t, err)
	require.Zero(t, head.LastSeq, "signals are never stored")
}

func TestPresence(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	other := startGateway(t, b.plane, "gw-2")
	other.connect(b.rooms)
	online := func(g *fakeGateway, full bool, members ...*roomv1.Present) {
		require.NoError(t, g.send("rooms-1", &roomv1.Frame{RoomId: "lobby", Kind: &roomv1.Frame_Online{Online: &roomv1.Online{Full: full, Members: members}}}))
	}
	list := func() *roomv1.PresenceList {
		answer := b.gw.ask("rooms-1", "lobby", &roomv1.Frame{Kind: &roomv1.Frame_PresenceQuery{PresenceQuery: &roomv1.PresenceQuery{}}})
		return answer.GetPresenceList()
	}
	b.gw.subscribe("rooms-1", "lobby")
	other.subscribe("rooms-1", "lobby")
	online(b.gw, true, &roomv1.Present{MemberId: "bob", Connections: 1}, &roomv1.Present{MemberId: "ada", Connections: 2})
	online(other, true, &roomv1.Present{MemberId: "ada", Connections: 1})
	require.Eventually(t, func() bool {
		l := list()
		return l.Count == 2 && l.Members[0].MemberId == "ada" && l.Members[0].Connections == 3 && l.Members[1].MemberId == "bob"
	}, patience, 10*time.Millisecond)

	// The gateway node disappears: its share goes with it.
	require.NoError(t, other.reg.Deregister(t.Context()))
	actorkittest.StopNode(t, other.node)
	require.Eventually(t, func() bool {
		l := list()
		return l.Count == 2 && l.Members[0].Connections == 2
	}, patience, 10*time.Millisecond)

	// A hub that is not subscribed is told so when it reports.
	require.NoError(t, b.gw.send("rooms-1", &roomv1.Frame{RoomId: "lobby", Kind: &roomv1.Frame_Unsubscribe{Unsubscribe: &roomv1.Unsubscribe{}}}))
	online(b.gw, false, &roomv1.Present{MemberId: "bob", Connections: 2})
	b.gw.closed("lobby", 1)
	require.Zero(t, list().Count)

	// So is one that reports to a room that is not here.
	require.NoError(t, b.gw.send("rooms-1", &roomv1.Frame{RoomId: "elsewhere", Kind: &roomv1.Frame_Online{Online: &roomv1.Online{Full: true}}}))
	require.Zero(t, b.gw.closed("elsewhere", 1).Epoch)
}

// More members than one stream holds: the room opens a further one, and finds it again after a restart.
func TestMembershipSharding(t *testing.T) {
	t.Parallel()
	b := setup(t, nil, func(c *Config) { c.IdleAfter = 50 * time.Millisecond })
	const members = core.ShardMemberships + 50
	answers := make([]<-chan *roomv1.Frame, 0, 500)
	for n := 0; n < members; {
		answers = answers[:0]
		for ; n < members && len(answers) < cap(answers); n++ {
			answers = append(answers, b.gw.start("rooms-1", "lobby", joinFrame(fmt.Sprintf("m%d", n), "s", 1, nil)))
		}
		for _, ch := range answers {
			require.NotNil(t, b.gw.await(ch).GetJoined())
		}
	}
	further := persistence.StreamKey(names.MembersStream("lobby") + "/1")
	head, err := b.backend.Head(t.Context(), further)
	require.NoError(t, err)
	require.Equal(t, uint64(50), head.LastSeq)

	passivated(t, b, "lobby")
	last := fmt.Sprintf("m%d", members-1)
	require.NotZero(t, b.gw.publish("rooms-1", "lobby", last, "hello")[0].Seq)
	require.NotNil(t, b.gw.ask("rooms-1", "lobby", leaveFrame(last, "s", 2)).GetLeft())
	require.NotNil(t, b.gw.publish("rooms-1", "lobby", last, "bye")[0].GetRefused())
	head, err = b.backend.Head(t.Context(), further)
	require.NoError(t, err)
	require.Equal(t, uint64(51), head.LastSeq, "the leave went to the stream that has the join")
}

// passivated waits until a room was given back for idleness.
func passivated(t testing.TB, b *bundle, roomID string) {
	t.Helper()
	require.Eventually(t, func() bool {
		head, err := b.backend.Head(t.Context(), persistence.StreamKey(names.RoomStream(roomID)))
		require.NoError(t, err)
		return head.Owner == ""
	}, patience, 10*time.Millisecond)
}

// S1, S3: an idle room leaves memory and comes back as it was: members, numbering, dedupe window and history.
func TestIdleRoomComesBack(t *testing.T) {
	t.Parallel()
	eachBackend(t, testIdleRoomComesBack)
}

func testIdleRoomComesBack(t *testing.T, backend persistence.Backend) {
	b := setup(t, backend, func(c *Config) { c.IdleAfter = 50 * time.Millisecond })
	joined := b.gw.join("rooms-1", "lobby", "ada")
	b.gw.publish("rooms-1", "lobby", "ada", "m1", "m2")
	passivated(t, b, "lobby")

	outcomes := b.gw.publish("rooms-1", "lobby", "ada", "m2", "m3")
	require.Equal(t, uint64(2), outcomes[0].Seq)
	require.True(t, outcomes[0].Duplicate)
	require.Equal(t, uint64(3), outcomes[1].Seq)

	// A member comes back with its cursor; the message it names is found.
	answer := b.gw.ask("rooms-1", "lobby", joinFrame("ada", "s-ada", 2, &roomv1.Cursor{AfterSeq: 1, AfterMessageId: "m1", Incarnation: joined.Incarnation}))
	require.True(t, answer.GetJoined().GetRecovered())
	require.Equal(t, uint64(1), answer.GetJoined().Cursor)
	require.Greater(t, answer.GetJoined().Epoch, joined.Epoch)
	page := b.gw.ask("rooms-1", "lobby", readFrame(&roomv1.Read{})).GetPage()
	require.Len(t, page.Messages, 3)
	contiguous(t, 0, page.Messages)

	// A subscriber keeps the room.
	b.gw.subscribe("rooms-1", "lobby")
	require.Never(t, func() bool {
		head, err := b.backend.Head(t.Context(), persistence.StreamKey(names.RoomStream("lobby")))
		return err != nil || head.Owner == ""
	}, 1200*time.Millisecond, 50*time.Millisecond)
}
