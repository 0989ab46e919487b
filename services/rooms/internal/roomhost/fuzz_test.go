package roomhost

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/persistence/memory"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/rooms/internal/door"
	"github.com/parley-rt/parley/services/rooms/internal/room"
)

// Whatever bytes a gateway sends, the room that gets them still answers, and everything that waited was given back.
func FuzzFrames(f *testing.F) {
	cursor := &roomv1.Cursor{AfterSeq: 3, AfterMessageId: "m", Incarnation: 1}
	for _, frame := range []*roomv1.Frame{
		{Kind: &roomv1.Frame_Join{Join: &roomv1.Join{MemberId: "ada", SessionId: "s", Operation: 1, Cursor: cursor}}},
		{Kind: &roomv1.Frame_Leave{Leave: &roomv1.Leave{MemberId: "ada", SessionId: "s", Operation: 2}}},
		publishFrame("ada", "m1", "hello"),
		{Kind: &roomv1.Frame_Signal{Signal: &roomv1.Signal{MemberId: "ada", Type: "typing"}}},
		{Kind: &roomv1.Frame_Read{Read: &roomv1.Read{AfterSeq: proto.Uint64(1), Limit: 5}}},
		{Kind: &roomv1.Frame_PresenceQuery{PresenceQuery: &roomv1.PresenceQuery{}}},
		{Kind: &roomv1.Frame_Subscribe{Subscribe: &roomv1.Subscribe{}}},
		{Kind: &roomv1.Frame_Unsubscribe{Unsubscribe: &roomv1.Unsubscribe{}}},
		{Kind: &roomv1.Frame_Online{Online: &roomv1.Online{Full: true, Members: []*roomv1.Present{{MemberId: "ada", Connections: 1}}}}},
		{Kind: &roomv1.Frame_CompareHeads{CompareHeads: &roomv1.CompareHeads{Rooms: []*roomv1.RoomHead{{RoomId: "lobby"}}}}},
		{Kind: &roomv1.Frame_Subscribed{Subscribed: &roomv1.Subscribed{}}},
	} {
		frame.RoomId, frame.Connection = "lobby", 1
		body, err := proto.Marshal(frame)
		require.NoError(f, err)
		f.Add(body)
	}
	b := setup(f, memory.New(memory.Options{}))
	b.join("lobby", "ada")
	f.Fuzz(func(t *testing.T, body []byte) {
		frame, err := door.Parse(body)
		if err != nil {
			return
		}
		if frame.GetCompareHeads() == nil {
			frame.RoomId = "lobby" // one room gets it all
		}
		frame.Request = 0
		b.meter.Add(len(body))
		b.tell(room.NewInbound(actorkit.Peer{Node: "gw-1"}, frame, actorkit.Frame{}, len(body), b.meter, time.Now()))
		answer := <-b.start("lobby", &roomv1.Frame{Kind: &roomv1.Frame_PresenceQuery{PresenceQuery: &roomv1.PresenceQuery{}}})
		require.NotNil(t, answer.GetPresenceList(), "answered by %v", answer)
	})
}
