package hub

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/parley-rt/parley/libs/actorkit"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/gateway/internal/route"
)

func TestPushedFrames(t *testing.T) {
	t.Parallel()
	body := func(f *roomv1.Frame) []byte {
		b, err := proto.Marshal(f)
		require.NoError(t, err)
		return b
	}
	deliver := body(&roomv1.Frame{RoomId: "r", Kind: &roomv1.Frame_Deliver{Deliver: &roomv1.Deliver{Epoch: 3}}})
	room, kind := pushed(deliver)
	require.Equal(t, "r", string(room))
	require.Equal(t, kindDeliver, kind)
	_, kind = pushed(body(&roomv1.Frame{RoomId: "r", Kind: &roomv1.Frame_Signalled{Signalled: &roomv1.Signalled{Type: "t"}}}))
	require.Equal(t, kindSignalled, kind)
	_, kind = pushed(body(&roomv1.Frame{RoomId: "r", Kind: &roomv1.Frame_MembersChanged{MembersChanged: &roomv1.MembersChanged{Epoch: 1}}}))
	require.Equal(t, kindMembersChanged, kind)
	for _, f := range []*roomv1.Frame{
		{RoomId: "r", Kind: &roomv1.Frame_Evicted{Evicted: &roomv1.Evicted{Epoch: 1}}},
		{RoomId: "r", Request: 3, Kind: &roomv1.Frame_Subscribed{Subscribed: &roomv1.Subscribed{}}},
		{RoomId: "r", Request: 3, Kind: &roomv1.Frame_Page{Page: &roomv1.Page{}}},
		{RoomId: "r", Kind: &roomv1.Frame_Closed{Closed: &roomv1.Closed{}}},
	} {
		_, kind = pushed(body(f))
		require.Zero(t, kind, "answers and the end of a subscription are never dropped")
	}
	for cut := range len(deliver) {
		_, kind = pushed(deliver[:cut])
		require.Zero(t, kind)
	}
}

func TestInboxIsBounded(t *testing.T) {
	t.Parallel()
	signal, err := proto.Marshal(&roomv1.Frame{RoomId: "r", Kind: &roomv1.Frame_Signalled{Signalled: &roomv1.Signalled{Type: "t"}}})
	require.NoError(t, err)
	deliver, err := proto.Marshal(&roomv1.Frame{RoomId: "r", Kind: &roomv1.Frame_Deliver{Deliver: &roomv1.Deliver{Epoch: 3}}})
	require.NoError(t, err)
	b := &inbox{limit: 1}
	weight, ok, _ := b.admit(actorkit.Frame{Body: deliver}, "n")
	require.True(t, ok, "one frame always fits")
	_, ok, tell := b.admit(actorkit.Frame{Body: signal}, "n")
	require.False(t, ok)
	require.False(t, tell)
	_, ok, tell = b.admit(actorkit.Frame{Body: deliver}, "n")
	require.False(t, ok)
	require.True(t, tell)
	_, _, tell = b.admit(actorkit.Frame{Body: deliver}, "n2")
	require.False(t, tell, "the shard is told once")
	require.Equal(t, weight, b.waiting.Load())
	b.release(weight)
	decoded, ok, _ := b.admit(actorkit.Frame{Body: deliver, Decoded: new(roomv1.Frame)}, "n")
	require.True(t, ok)
	require.Greater(t, decoded, weight, "what a neighbour decoded is kept, too")
	b.release(decoded)
	require.Equal(t, map[string]string{"r": "n2"}, b.take())
	require.Empty(t, b.take())
	_, ok, _ = b.admit(actorkit.Frame{Body: deliver}, "n")
	require.True(t, ok)
	_, _, tell = b.admit(actorkit.Frame{Body: deliver}, "n")
	require.True(t, tell, "and told again after it took them")
}

// S5, L2: what a shard that cannot keep up did not take is read again: no message is missed or repeated, and what waits
// stays within the bound.
func TestDroppedMessagesAreReadAgain(t *testing.T) {
	t.Parallel()
	const limit, size, count = 1 << 20, 10_000, 1000
	h, u, _ := startHub(t, Config{WaitingBytes: limit})
	m := &messages{got: make(chan string, 2*count), hold: make(chan struct{}), entered: make(chan struct{}, 1)}
	h.Attach(m, "r", Start{Member: "a", Incarnation: 1})
	u.live(t, "r")
	pad := strings.Repeat("x", size)
	u.deliver("r", 1, 1, "1")
	<-m.entered
	box := h.inboxes[int(route.Hash("r")%uint32(len(h.inboxes)))]
	for seq := uint64(2); seq <= count; seq++ {
		u.deliver("r", 1, seq, strconv.FormatUint(seq, 10)+" "+pad)
		require.LessOrEqual(t, box.waiting.Load(), int64(limit+2*size))
	}
	require.GreaterOrEqual(t, box.waiting.Load(), int64(limit))
	u.last.Store(count)
	close(m.hold)
	for seq := 1; seq <= count; seq++ {
		select {
		case got := <-m.got:
			require.Equal(t, strconv.Itoa(seq), strings.Fields(got)[1], "after message %d", seq-1)
		case <-time.After(patience):
			require.FailNow(t, "message did not come", "%d", seq)
		}
	}
	require.Zero(t, box.waiting.Load())
	u.deliver("r", u.epoch.Load(), count+1, "live again")
	m.expect(t, "message live again")
	require.Empty(t, m.got)
}
