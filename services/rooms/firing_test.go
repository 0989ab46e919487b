package rooms

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/dcplane/memory"
	journalmemory "github.com/parley-rt/parley/libs/persistence/memory"
	"github.com/parley-rt/parley/libs/protocol/ids"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

func firingFrame(schedule string, number uint64) *roomv1.Frame {
	return &roomv1.Frame{Kind: &roomv1.Frame_Publish{Publish: &roomv1.Publish{
		MemberId: ids.ScheduleMember(schedule),
		Firing:   &roomv1.Firing{ScheduleId: schedule, Number: number},
		Drafts:   []*roomv1.Draft{{MessageId: fmt.Sprintf("schedule:%s:%d", schedule, number), Content: fmt.Sprint(number)}},
	}}}
}

// S6: two schedulers that both take themselves for the one send every firing, the room changes its node in between: each is in
// the room once, and is delivered to its members.
func TestTwoSchedulersFire(t *testing.T) {
	t.Parallel()
	plane, backend := memory.NewPlane(), journalmemory.New(journalmemory.Options{})
	one := startRooms(t, plane, backend, "rooms-1")
	gw := startGateway(t, plane, "gw-1")
	gw.connect(one)
	gw.subscribe("rooms-1", "lobby")
	schedulers := []*fakeGateway{startPeer(t, plane, schedulerService, "scheduler-1"), startPeer(t, plane, schedulerService, "scheduler-2")}
	for _, s := range schedulers {
		s.connect(one)
	}
	outcome := func(s *fakeGateway, node string, number uint64) *roomv1.Outcome {
		answer := s.ask(node, "lobby", firingFrame("daily", number)).GetPublished()
		require.Len(t, answer.GetOutcomes(), 1)
		require.Nil(t, answer.Outcomes[0].Refused)
		return answer.Outcomes[0]
	}
	for n := uint64(1); n <= 5; n++ {
		first := outcome(schedulers[n%2], "rooms-1", n)
		require.False(t, first.Duplicate)
		second := outcome(schedulers[(n+1)%2], "rooms-1", n)
		require.True(t, second.Duplicate)
		require.Equal(t, first.Seq, second.Seq)
	}
	delivered := gw.delivered("lobby", 5)
	for i, m := range delivered {
		require.Equal(t, fmt.Sprint(i+1), m.Content)
		require.Equal(t, "schedule:daily", m.Sender)
	}
	stopRooms(t, one)

	two := startRooms(t, plane, backend, "rooms-2")
	for _, s := range schedulers {
		s.connect(two)
	}
	require.True(t, outcome(schedulers[0], "rooms-2", 5).Duplicate, "the next writer knows what was fired")
	require.True(t, outcome(schedulers[1], "rooms-2", 3).Duplicate)
	require.False(t, outcome(schedulers[1], "rooms-2", 6).Duplicate)
	head, err := backend.Head(t.Context(), lobbyStream)
	require.NoError(t, err)
	require.EqualValues(t, 6, head.LastSeq)
}

// Only schedulers fire, and they do nothing else.
func TestWhoFires(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	scheduler := startPeer(t, b.plane, schedulerService, "scheduler-1")
	scheduler.connect(b.rooms)
	unchecked := firingFrame("daily", 1)
	unchecked.GetPublish().Unchecked = true
	for frame, from := range map[*roomv1.Frame]*fakeGateway{
		firingFrame("daily", 1):       b.gw,
		unchecked:                     scheduler,
		publishFrame("eve", "m1"):     scheduler,
		joinFrame("eve", "s", 1, nil): scheduler,
	} {
		frame.RoomId, frame.Connection, frame.Request = "lobby", 1, 99
		require.NoError(t, from.send("rooms-1", frame))
	}
	// Frames of a Link come in order: when these are answered those before them were handled.
	b.gw.join("rooms-1", "lobby", "ada")
	require.EqualValues(t, 1, scheduler.ask("rooms-1", "lobby", firingFrame("daily", 1)).GetPublished().GetOutcomes()[0].GetSeq(), "nothing was there before")
}
