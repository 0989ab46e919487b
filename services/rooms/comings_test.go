package rooms

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// comings returns who has come (+) and gone (-) as a gateway was told, and how many more.
func (g *fakeGateway) comings(frames []received) (told []string, more uint32) {
	for _, r := range frames {
		m := r.frame.GetMembersChanged()
		for _, member := range m.GetJoined() {
			told = append(told, "+"+member)
		}
		for _, member := range m.GetLeft() {
			told = append(told, "-"+member)
		}
		more += m.GetJoinedMore() + m.GetLeftMore()
	}
	return told, more
}

// Members who come with their first session and go with their last are told to every gateway, once the room's settings say so.
func TestComings(t *testing.T) {
	t.Parallel()
	m := setupModerated(t, nil)
	other := startGateway(t, m.plane, "gw-2")
	other.connect(m.rooms)
	m.gw.subscribe("rooms-1", "lobby")
	other.subscribe("rooms-1", "lobby")
	m.gw.join("rooms-1", "lobby", "before")
	on := true
	m.rule(&roomv1.ChangeSettings{PresenceEvents: &on})

	told := func(want ...string) {
		t.Helper()
		for _, g := range []*fakeGateway{m.gw, other} {
			g.wait(fmt.Sprint(want), func(frames []received) bool {
				told, more := g.comings(frames)
				return slices.Equal(told, want) && more == 0
			})
		}
	}
	m.gw.join("rooms-1", "lobby", "ada")
	told("+ada")
	require.NotNil(t, m.gw.ask("rooms-1", "lobby", joinFrame("ada", "another", 1, nil)).GetJoined())
	require.NotNil(t, m.gw.ask("rooms-1", "lobby", leaveFrame("ada", "s-ada", 2)).GetLeft())
	m.gw.join("rooms-1", "lobby", "bob")
	told("+ada", "+bob")
	require.NotNil(t, m.gw.ask("rooms-1", "lobby", leaveFrame("ada", "another", 2)).GetLeft())
	told("+ada", "+bob", "-ada")
	m.rule(&roomv1.BanMember{MemberId: "bob"})
	told("+ada", "+bob", "-ada", "-bob")

	off := false
	m.rule(&roomv1.ChangeSettings{PresenceEvents: &off})
	m.gw.join("rooms-1", "lobby", "dan")
	m.rule(&roomv1.ChangeSettings{PresenceEvents: &on})
	m.gw.join("rooms-1", "lobby", "eve")
	told("+ada", "+bob", "-ada", "-bob", "+eve")
}

// A crowd that comes and goes is counted, not named: nobody who is there is flooded.
func TestComingsOfACrowdAreCounted(t *testing.T) {
	t.Parallel()
	m := setupModerated(t, nil)
	on := true
	m.rule(&roomv1.ChangeSettings{PresenceEvents: &on})
	m.gw.subscribe("rooms-1", "lobby")
	const members = 3000
	began := time.Now()
	all := func(frame func(n int) *roomv1.Frame) {
		var answers []<-chan *roomv1.Frame
		for n := range members {
			answers = append(answers, m.gw.start("rooms-1", "lobby", frame(n)))
		}
		for _, ch := range answers {
			require.Nil(t, m.gw.await(ch).GetRefused())
		}
	}
	all(func(n int) *roomv1.Frame { return joinFrame(fmt.Sprint("m", n), "s", 1, nil) })
	var told []string
	m.gw.wait("all of them", func(frames []received) bool {
		named, more := m.gw.comings(frames)
		told = named
		return len(named)+int(more) == members
	})
	// Two reports a second at most, of 200 at most, fewer the more are there.
	reports := 2 + int(time.Since(began)/(500*time.Millisecond))
	require.LessOrEqual(t, len(told), 200*reports)
	require.Less(t, len(told), members)
	frames := 0
	for _, r := range m.gw.frames {
		if r.frame.GetMembersChanged() != nil {
			frames++
		}
	}
	require.LessOrEqual(t, frames, reports)
	require.Equal(t, clientv1.ErrorCode(0), clientv1.ErrorCode(m.gw.publish("rooms-1", "lobby", "m0", "x")[0].GetRefused().GetCode()))
}

// In a room of 10,000 the comings and goings of thousands cause no more frames for those who are there than the protocol says,
// 50,000 a second, and leave nobody out of the count.
func TestComingsDoNotFloodAFullRoom(t *testing.T) {
	t.Parallel()
	m := setupModerated(t, nil)
	on := true
	m.rule(&roomv1.ChangeSettings{PresenceEvents: &on})
	m.gw.subscribe("rooms-1", "lobby")
	const there, coming = 10_000, 2000
	online := &roomv1.Online{Full: true}
	for n := range there {
		online.Members = append(online.Members, &roomv1.Present{MemberId: fmt.Sprint("there", n), Connections: 1})
	}
	require.NoError(t, m.gw.send("rooms-1", &roomv1.Frame{RoomId: "lobby", Kind: &roomv1.Frame_Online{Online: online}}))
	query := &roomv1.Frame{Kind: &roomv1.Frame_PresenceQuery{PresenceQuery: &roomv1.PresenceQuery{}}}
	require.Eventually(t, func() bool { return m.gw.ask("rooms-1", "lobby", query).GetPresenceList().GetCount() == there }, patience, 10*time.Millisecond)

	began := time.Now()
	var answers []<-chan *roomv1.Frame
	for n := range coming {
		answers = append(answers, m.gw.start("rooms-1", "lobby", joinFrame(fmt.Sprint("m", n), "s", 1, nil)))
	}
	for _, ch := range answers {
		require.NotNil(t, m.gw.await(ch).GetJoined())
	}
	var told []string
	m.gw.wait("all of them", func(frames []received) bool {
		named, more := m.gw.comings(frames)
		told = named
		return len(named)+int(more) == coming
	})
	require.NotEmpty(t, told)
	reports := 1 + time.Since(began).Seconds()*2
	require.LessOrEqual(t, float64(len(told)*there), 25_000*reports, "%d named to %d", len(told), there)
}
