package hub

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// removals is a model with connections of x and y at the head, all live.
func removals(t *testing.T) (m *model, x, y *modelSink) {
	m = newModel(t, Config{})
	m.publish(3)
	x, y = m.sink("x", codec.JSON{}, 100), m.sink("y", codec.JSON{}, 100)
	m.join(x, nil)()
	m.join(y, nil)()
	m.pump()
	m.publish(1)
	m.pump()
	require.Equal(t, []int{1, 1}, []int{x.got, y.got})
	return m, x, y
}

// S8: who was taken out gets what came before and nothing after; the others notice nothing.
func TestEvictedMember(t *testing.T) {
	t.Parallel()
	m, x, y := removals(t)
	other := m.sink("x", codec.Binary{}, 100)
	m.join(other, ptr(0))()
	m.pump()
	m.publish(1)
	m.remove("x")
	m.publish(2)
	before := m.number
	m.pump()
	require.True(t, x.evicted && x.told && other.evicted && other.told)
	require.Equal(t, []int{2, 4, 5}, []int{x.got, y.got, other.got})
	require.Equal(t, before, m.number, "nobody was asked anything")

	m.join(x, nil)() // it may again
	m.publish(1)
	m.pump()
	require.Equal(t, []int{3, 5}, []int{x.got, y.got})
	require.False(t, x.evicted)
}

// What the client is told: why, and when it may come back.
func TestRoomLeftFrame(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	for want, e := range map[string]*roomv1.Eviction{
		`{"room_left":{"room_id":"r","reason":"kicked","message":"enough"}}`: {
			Code: int32(clientv1.ErrorCode_ERROR_CODE_NOT_JOINED), Reason: "enough",
		},
		`{"room_left":{"room_id":"r","reason":"forbidden"}}`: {Code: int32(clientv1.ErrorCode_ERROR_CODE_FORBIDDEN)},
		`{"room_left":{"room_id":"r","reason":"banned"}}`:    {Code: int32(clientv1.ErrorCode_ERROR_CODE_BANNED)},
		`{"room_left":{"room_id":"r","reason":"banned","retry_after_ms":5001}}`: {
			Code: int32(clientv1.ErrorCode_ERROR_CODE_BANNED), ExpiresAt: timestamppb.New(now.Add(5 * time.Second)),
		},
		`{"room_left":{"room_id":"r","reason":"banned","retry_after_ms":4294967295}}`: {
			Code: int32(clientv1.ErrorCode_ERROR_CODE_BANNED), ExpiresAt: timestamppb.New(now.Add(100 * 24 * time.Hour)),
		},
	} {
		require.JSONEq(t, want, string(unframe(evictedFrame(codec.JSON{}, "r", e, now))))
	}
}

// S8: an Evicted that was lost is missed at the next frame, whatever that is, before anything of it is handed on.
func TestMissedEviction(t *testing.T) {
	t.Parallel()
	for name, next := range map[string]func(m *model){
		"delivery":          func(m *model) { m.publish(2) },
		"another eviction":  func(m *model) { m.remove("y"); m.publish(1) },
		"nothing, but lost": func(m *model) { m.topic.Lost(m.now, "n0") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, x, _ := removals(t)
			m.remove("x")
			m.nodes[0].toHub = nil // nobody says so
			next(m)
			for len(m.nodes[0].toHub) > 0 {
				m.deliver(m.nodes[0])
			}
			require.Equal(t, 1, x.got)
			m.pump()
			require.True(t, x.evicted)
			require.Equal(t, 1, x.got)
		})
	}
}

// S8: of a member that was kicked and has come back, the connections of before the kick end; those of after it stay, and so do
// those that were let in in a history that was lost, of which the seq says nothing.
func TestMissedKickOfAMemberWhoCameBack(t *testing.T) {
	t.Parallel()
	m, x, y := removals(t)
	back := m.sink("x", codec.JSON{}, 100)
	m.remove("x")
	m.nodes[0].toHub = nil // nobody says so
	kicked := m.head
	m.join(back, nil)()
	m.topic.Lost(m.now, "n0")
	m.serve(m.nodes[0])
	m.deliver(m.nodes[0]) // subscribed again
	before := m.number
	past := &roomv1.Evicted{Epoch: m.epoch, Seq: kicked, PrevRemovalSeq: kicked, RemovalSeq: kicked, Members: []*roomv1.Eviction{{MemberId: "x"}}}
	m.topic.Evicted(m.now, "n0", 0, past)
	require.True(t, x.evicted && x.told)
	require.False(t, back.evicted || y.evicted)
	require.Equal(t, before, m.number, "nobody was asked anything")
	m.publish(1)
	m.pump()
	require.Equal(t, []int{1, 1, 2}, []int{x.got, back.got, y.got})

	m.topic.subs.At(back).as, m.topic.subs.At(back).foreign = 0, true
	m.topic.Evicted(m.now, "n0", 0, past)
	require.False(t, back.evicted)
}

// S8: a page that shows a removal which is not known here is not handed on.
func TestPageAfterAMissedEviction(t *testing.T) {
	t.Parallel()
	m := newModel(t, Config{})
	m.publish(5)
	x := m.sink("x", codec.JSON{}, 100)
	m.join(x, ptr(0))()
	n := m.nodes[0]
	m.serve(n)
	m.deliver(n) // subscribed; the page is asked for
	m.remove("x")
	n.toHub = nil // nobody says so
	m.serve(n)    // the report
	n.toHub = nil
	m.serve(n) // the page
	m.deliver(n)
	require.Zero(t, x.got)
	m.pump()
	require.True(t, x.evicted)
	require.Zero(t, x.got)
}

// S8: while a topic subscribes again, evictions that come in order count; one after a gap confirms nobody.
func TestEvictionsWhileSubscribing(t *testing.T) {
	t.Parallel()
	m, x, y := removals(t)
	m.remove("x")
	m.nodes[0].toHub = nil // lost
	m.topic.Lost(m.now, "n0")
	m.remove("y")
	m.publish(1)
	m.deliver(m.nodes[0])
	m.deliver(m.nodes[0])
	require.True(t, y.evicted)
	require.Equal(t, 1, x.got)
	m.pump()
	require.True(t, x.evicted)
	require.Equal(t, 1, x.got)
}

// S8: a join that was answered before the member was taken out and arrives after is held until the room has said no; one of
// somebody else until it has said yes.
func TestJoinOvertakenByAnEviction(t *testing.T) {
	t.Parallel()
	m, _, y := removals(t)
	x := m.sink("x", codec.JSON{}, 100)
	z := m.sink("z", codec.JSON{}, 100)
	lateX, lateZ := m.join(x, nil), m.join(z, nil)
	m.remove("x")
	m.pump()
	lateZ()
	require.NotZero(t, m.topic.check, "the room is asked for z")
	lateX() // not named in that report
	m.publish(2)
	m.deliver(m.nodes[0])
	require.Equal(t, []int{3, 0, 0}, []int{y.got, z.got, x.got}, "held, both")
	m.serve(m.nodes[0])
	for len(m.nodes[0].toHub) > 0 {
		m.deliver(m.nodes[0])
	}
	require.Equal(t, []int{3, 2, 0}, []int{y.got, z.got, x.got}, "z goes on, x was not meant")
	m.pump()
	require.Equal(t, []int{3, 2, 0}, []int{y.got, z.got, x.got})
	require.True(t, x.evicted && x.told)
	require.False(t, z.evicted)
	m.tick(time.Second)
	m.pump()
	require.False(t, m.topic.Busy())
}

// A report that is not answered makes the topic subscribe again; nobody is held for ever (L2).
func TestReportWithoutAnswer(t *testing.T) {
	t.Parallel()
	m, _, _ := removals(t)
	z := m.sink("z", codec.JSON{}, 100)
	late := m.join(z, nil)
	m.remove("x")
	m.pump()
	late()
	m.nodes[0].toNode = nil // the report is lost
	m.publish(1)
	for range 25 {
		m.pump()
		m.tick(100 * time.Millisecond)
	}
	require.Equal(t, 1, z.got)
}

// A Link that does not take the report now takes it later.
func TestReportThatCannotBeSent(t *testing.T) {
	t.Parallel()
	m, _, _ := removals(t)
	z := m.sink("z", codec.JSON{}, 100)
	late := m.join(z, nil)
	m.remove("x")
	m.pump()
	m.nodes[0].down = true
	late()
	require.True(t, m.topic.Busy())
	m.nodes[0].down = false
	m.publish(1)
	m.tick(100 * time.Millisecond)
	m.pump()
	require.Equal(t, 1, z.got)
}

// Signals are not for connections that may be out.
func TestSignalsPassOverWhoIsHeld(t *testing.T) {
	t.Parallel()
	m, _, y := removals(t)
	z := m.sink("z", codec.JSON{}, 100)
	late := m.join(z, nil)
	m.remove("x")
	m.pump()
	late()
	require.Equal(t, 1, m.topic.Signal(&roomv1.Signalled{Epoch: 1, Sender: "s", Content: "1"}))
	m.pump()
	require.Equal(t, 2, m.topic.Signal(&roomv1.Signalled{Epoch: 1, Sender: "s", Content: "2"}))
	require.Equal(t, []string{"1", "2"}, y.signals)
	require.Equal(t, []string{"2"}, z.signals)
}

// A new writer's hub state is not trusted beyond what the new subscription says.
func TestEvictionAtTheNextWriter(t *testing.T) {
	t.Parallel()
	m, x, y := removals(t)
	m.takeover()
	m.learn()
	m.remove("x") // the new writer knows nobody here yet
	m.publish(1)
	m.pump()
	require.True(t, x.evicted)
	require.Equal(t, []int{1, 2}, []int{x.got, y.got})
}
