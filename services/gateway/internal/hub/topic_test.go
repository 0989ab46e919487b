package hub

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// pump lets everything on the Links happen.
func (m *model) pump() {
	for busy := true; busy; {
		busy = false
		for _, n := range m.nodes {
			for len(n.toNode)+len(n.toHub) > 0 {
				busy = true
				m.serve(n)
				m.deliver(n)
			}
		}
	}
}

func ptr(v uint64) *uint64 { return &v }

func TestLiveDelivery(t *testing.T) {
	t.Parallel()
	m := newModel(t, Config{})
	a := m.attach(nil, codec.JSON{}, 60)
	b := m.attach(nil, codec.Binary{}, 60)
	m.pump()
	for range 20 {
		m.publish(3)
		m.pump()
	}
	require.Equal(t, 60, a.got)
	require.Equal(t, 60, b.got)
	require.Equal(t, 120, m.made)
}

// Frames are compiled once per message and encoding and shared by all.
func TestFramesAreShared(t *testing.T) {
	t.Parallel()
	m := newModel(t, Config{})
	a, b := m.attach(nil, codec.JSON{}, 10), m.attach(nil, codec.JSON{}, 10)
	m.pump()
	m.publish(1)
	m.pump()
	require.Same(t, &a.lastSent[0], &b.lastSent[0])
}

// counting counts how often messages are encoded.
type counting struct {
	codec.Codec
	messages *int
}

func (c counting) Append(dst []byte, env *clientv1.Envelope) ([]byte, error) {
	if env.GetMessage() != nil {
		*c.messages++
	}
	return c.Codec.Append(dst, env)
}

// However many connections there are, and whether they are up to date or catch up, each message is encoded once for each encoding
// that somebody uses.
func TestEachCodecEncodesOnce(t *testing.T) {
	t.Parallel()
	m := newModel(t, Config{})
	var texts, binaries int
	text, binary := counting{codec.JSON{}, &texts}, counting{codec.Binary{}, &binaries}
	var sinks []*modelSink
	for range 50 {
		sinks = append(sinks, m.attach(nil, text, 1000), m.attach(nil, binary, 1000))
	}
	m.pump()
	for range 10 {
		m.publish(4)
		m.pump()
	}
	late := []*modelSink{m.attach(ptr(10), text, 1000), m.attach(ptr(10), binary, 1000)} // from the ring
	m.publish(1)
	m.pump()
	for _, s := range sinks {
		require.Equal(t, 41, s.got)
	}
	for _, s := range late {
		require.Equal(t, 31, s.got)
	}
	require.Equal(t, 41, texts)
	require.Equal(t, 41, binaries)
}

func TestCatchUpFromTheRing(t *testing.T) {
	t.Parallel()
	m := newModel(t, Config{})
	m.attach(nil, codec.JSON{}, 10)
	m.pump()
	m.publish(50)
	m.pump()
	before := m.number
	late := m.attach(ptr(20), codec.JSON{}, 100)
	require.Equal(t, 30, late.got)
	require.Equal(t, before, m.number, "no page was asked for")
	m.publish(1)
	m.pump()
	require.Equal(t, 31, late.got)
}

func TestCatchUpByPages(t *testing.T) {
	t.Parallel()
	m := newModel(t, Config{PageMessages: 10, RingMessages: 5})
	m.publish(95)
	slow := m.attach(ptr(0), codec.JSON{}, 4)
	m.pump()
	for slow.got < 95 {
		got := slow.got
		slow.read()
		m.pump()
		require.Greater(t, slow.got, got)
		require.LessOrEqual(t, slow.got-got, 4, "no more than the outbox takes")
	}
	slow.read()
	m.publish(2)
	m.pump()
	require.Equal(t, 97, slow.got)
}

// A commit larger than the outbox is nobody's fault: what does not fit comes when there is room, without asking anybody.
func TestCommitLargerThanTheOutbox(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]Config{
		"fits the ring":        {},
		"larger than the ring": {RingMessages: 5, RingBytes: 500},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newModel(t, cfg)
			a, b := m.attach(nil, codec.JSON{}, 4), m.attach(nil, codec.Binary{}, 7)
			fast := m.attach(nil, codec.JSON{}, 1000)
			m.pump()
			before := m.number
			m.publish(50)
			m.pump()
			require.Equal(t, 4, a.got)
			require.Equal(t, 7, b.got)
			require.Equal(t, 50, fast.got)
			for fast.got, m.sinks = 0, m.sinks[:2]; a.got < 50 || b.got < 50; {
				got := a.got + b.got
				a.read()
				b.read()
				require.Greater(t, a.got+b.got, got)
			}
			require.Equal(t, before, m.number, "no page was asked for")
			a.read()
			b.read()
			m.publish(2)
			m.pump()
			require.Equal(t, 52, a.got, "it is live again")
			require.Equal(t, 52, b.got)
			require.Equal(t, 156, m.topic.sent, "every message to every connection is counted once")
		})
	}
}

// Connections that fell behind while the room went on beyond the ring catch up by pages.
func TestFallingBehindTheRing(t *testing.T) {
	t.Parallel()
	m := newModel(t, Config{PageMessages: 10, RingMessages: 5})
	slow := m.attach(nil, codec.JSON{}, 3)
	m.pump()
	for range 10 {
		m.publish(6)
		m.pump()
	}
	require.Equal(t, 3, slow.got)
	for slow.got < 60 {
		got := slow.got
		slow.read()
		m.pump()
		require.Greater(t, slow.got, got)
	}
	slow.read()
	m.publish(1)
	m.pump()
	require.Equal(t, 61, slow.got)
}

// Connections at one cursor share one page, however many they are.
func TestPagesAreShared(t *testing.T) {
	t.Parallel()
	m := newModel(t, Config{})
	m.publish(30)
	var sinks []*modelSink
	for range 50 {
		sinks = append(sinks, m.attach(ptr(3), codec.JSON{}, 100))
	}
	m.pump()
	require.Equal(t, uint64(2), m.number, "one Subscribe, one Read")
	for _, s := range sinks {
		require.Equal(t, 27, s.got)
		require.Same(t, &sinks[0].lastSent[0], &s.lastSent[0])
	}
}

// Those who come back together, each from a cursor of its own, share the pages that cover them.
func TestPagesCoverOtherCursors(t *testing.T) {
	t.Parallel()
	m := newModel(t, Config{RingMessages: 10})
	m.publish(400)
	var sinks []*modelSink
	for i := range 300 {
		sinks = append(sinks, m.attach(ptr(uint64(i)), codec.JSON{}, 1000))
	}
	before := m.number
	m.pump()
	for i, s := range sinks {
		require.Equal(t, 400-i, s.got)
	}
	// How many depends on whose turn it is first; one each would be 300.
	require.LessOrEqual(t, m.number-before, uint64(40), "pages were asked for")
	shared := map[*byte]struct{}{}
	for _, s := range sinks {
		shared[&s.lastSent[0]] = struct{}{}
	}
	require.LessOrEqual(t, len(shared), 40, "and with them the frames")
	m.publish(1)
	m.pump()
	require.Equal(t, 401, sinks[0].got)
}

func TestPlacesForPagesAreBounded(t *testing.T) {
	t.Parallel()
	m := newModel(t, Config{TopicReads: 10})
	m.publish(30)
	for i := range 8 {
		m.attach(ptr(uint64(i)), codec.JSON{}, 100)
	}
	n := m.nodes[0]
	m.serve(n) // Subscribe
	m.deliver(n)
	reads := 0
	for _, f := range n.toNode {
		if f.GetRead() != nil {
			reads++
		}
	}
	require.Equal(t, 2, reads)
	for range 10 {
		m.pump()
		m.topic.CanRead(m.now)
	}
	for _, s := range m.sinks {
		require.Equal(t, uint64(30), s.cursor)
	}
	require.Equal(t, 2, m.reads)
}

func TestRestartOfAStream(t *testing.T) {
	t.Parallel()
	m := newModel(t, Config{})
	a := m.attach(nil, codec.JSON{}, 100)
	m.pump()
	m.publish(10)
	m.pump()
	m.join(a, ptr(4))()
	require.Equal(t, 16, a.got)
	m.publish(1)
	m.pump()
	require.Equal(t, uint64(11), a.cursor)
}

func TestRejoinTellsWhereTheStreamStands(t *testing.T) {
	t.Parallel()
	m := newModel(t, Config{})
	a := m.attach(nil, codec.JSON{}, 100)
	m.pump()
	m.publish(3)
	m.pump()
	a.asked = 3
	m.topic.Rejoin(a, 9)
	require.Equal(t, uint64(3), a.joined[1])
}

func TestSignalsSpareTheirSender(t *testing.T) {
	t.Parallel()
	m := newModel(t, Config{})
	a, b, c := m.attach(nil, codec.JSON{}, 1), m.attach(nil, codec.Binary{}, 1), m.attach(nil, codec.JSON{}, 1)
	m.pump()
	require.Equal(t, 2, m.topic.Signal(&roomv1.Signalled{Epoch: 1, Sender: "member-2", Type: "t", Content: "hi"}))
	require.Equal(t, 3, m.topic.Signal(&roomv1.Signalled{Epoch: 1, Sender: "elsewhere", Content: "ho"}))
	require.Zero(t, m.topic.Signal(&roomv1.Signalled{Epoch: 0, Sender: "elsewhere", Content: "old"}))
	require.Equal(t, []string{"hi", "ho"}, a.signals)
	require.Equal(t, []string{"ho"}, b.signals)
	require.Equal(t, []string{"hi", "ho"}, c.signals)
}

func TestDetachEndsTheStream(t *testing.T) {
	t.Parallel()
	m := newModel(t, Config{})
	a, b := m.attach(nil, codec.JSON{}, 100), m.attach(nil, codec.JSON{}, 100)
	m.pump()
	m.publish(1)
	m.pump()
	m.topic.Detach(m.now, a, joinedFrame(a.codec, 0, "r", 1, 1))
	require.Equal(t, []uint64{0, 1}, a.joined, "the last frame is sent behind the messages")
	a.gone = true
	m.publish(1)
	m.pump()
	require.Equal(t, 2, b.got)
	m.topic.Detach(m.now, a, nil) // a second time is nothing
}

func TestTrimmedPageResets(t *testing.T) {
	t.Parallel()
	m := newModel(t, Config{PageMessages: 3})
	m.publish(20)
	a := m.attach(ptr(1), codec.JSON{}, 100)
	m.serve(m.nodes[0]) // Subscribe
	m.deliver(m.nodes[0])
	m.trimmed = 12 // between the join and the page
	m.pump()
	require.Equal(t, 1, a.resets)
	require.Equal(t, 8, a.got)
}

// onlineOf collects the reports of who is online that reached a node.
func (m *model) onlineOf() (reports []*roomv1.Online) {
	for _, n := range m.nodes {
		for _, f := range n.toNode {
			if o := f.GetOnline(); o != nil {
				reports = append(reports, o)
			}
		}
	}
	return reports
}

func TestOnlineReports(t *testing.T) {
	t.Parallel()
	m := newModel(t, Config{})
	a := m.attach(nil, codec.JSON{}, 1)
	m.serve(m.nodes[0])
	m.deliver(m.nodes[0])
	full := m.onlineOf()
	require.Len(t, full, 1)
	require.True(t, full[0].GetFull())
	require.Len(t, full[0].GetMembers(), 1)
	m.pump()

	b := m.attach(nil, codec.JSON{}, 1)
	m.topic.Detach(m.now, a, nil)
	m.topic.Tick(m.now)
	require.Empty(t, m.onlineOf(), "changes soon after a report are collected for a while")
	require.True(t, m.topic.Busy())
	m.tick(200 * time.Millisecond)
	delta := m.onlineOf()
	require.Len(t, delta, 1)
	require.False(t, delta[0].GetFull())
	counts := map[string]uint32{}
	for _, p := range delta[0].GetMembers() {
		counts[p.GetMemberId()] = p.GetConnections()
	}
	require.Equal(t, map[string]uint32{"member-1": 0, "member-2": 1}, counts)
	m.pump()

	m.now = m.now.Add(200 * time.Millisecond)
	c := m.attach(nil, codec.JSON{}, 1)
	require.Len(t, m.onlineOf(), 1, "a change after a quiet while is told at once")
	m.pump()
	m.topic.Detach(m.now, c, nil)
	require.Empty(t, m.onlineOf())
	m.now = m.now.Add(200 * time.Millisecond)
	d := m.attach(nil, codec.JSON{}, 1)
	require.Len(t, m.onlineOf()[0].GetMembers(), 2, "with what was collected")
	m.pump()
	m.now = m.now.Add(200 * time.Millisecond)
	m.topic.Detach(m.now, d, nil)
	require.Len(t, m.onlineOf(), 1, "also when somebody leaves")
	m.pump()

	m.nodes[0].down = true
	m.topic.Detach(m.now, b, nil)
	m.tick(200 * time.Millisecond)
	m.nodes[0].down = false
	m.tick(200 * time.Millisecond)
	require.Len(t, m.onlineOf(), 1, "a report that was not taken is made again")
}

func TestTopicLingers(t *testing.T) {
	t.Parallel()
	m := newModel(t, Config{})
	a := m.attach(nil, codec.JSON{}, 10)
	m.pump()
	m.publish(3)
	m.pump()
	m.topic.Detach(m.now, a, nil)
	m.tick(9 * time.Second)
	require.False(t, m.topic.Empty(m.now))
	m.publish(2)
	m.pump()
	before := m.number
	b := m.attach(ptr(1), codec.JSON{}, 10)
	require.Equal(t, 4, b.got, "the ring went on")
	require.Equal(t, before, m.number)
	m.topic.Detach(m.now, b, nil)
	m.tick(10 * time.Second)
	require.True(t, m.topic.Empty(m.now))
	m.topic.Close()
	m.pump()
	require.False(t, m.nodes[0].subscribed)
}

func TestSilentNodeIsLeft(t *testing.T) {
	t.Parallel()
	m := newModel(t, Config{})
	a := m.attach(nil, codec.JSON{}, 10)
	require.Len(t, m.nodes[0].toNode, 1)
	m.tick(1900 * time.Millisecond)
	require.Empty(t, m.nodes[1].toNode)
	m.tick(100 * time.Millisecond)
	require.Len(t, m.nodes[1].toNode, 1)
	m.pump()
	m.publish(1)
	m.pump()
	require.Equal(t, 1, a.got)
}

// A lost tail is announced (S7): a client that saw it gets reset, one that did not reads on.
func TestLostTailIsAnnounced(t *testing.T) {
	t.Parallel()
	m := newModel(t, Config{})
	a := m.attach(nil, codec.JSON{}, 100)
	m.pump()
	m.publish(10)
	m.pump()
	m.loseTail(4)
	m.learn()
	b := m.attach(ptr(2), codec.JSON{}, 100)
	m.pump()
	m.publish(5)
	m.pump()
	m.settle()
	require.Equal(t, 1, a.resets)
	require.Equal(t, uint64(11), a.cursor)
	require.Zero(t, b.resets)
	require.Equal(t, 9, b.got)
}

// S7: a join that was answered before the tail was lost is told, whether the hub is new to the room or not.
func TestJoinFromBeforeTheLostTail(t *testing.T) {
	t.Parallel()
	for name, subscribed := range map[string]bool{"first of the room": false, "room is live": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newModel(t, Config{})
			if subscribed {
				m.attach(nil, codec.JSON{}, 100)
				m.pump()
			}
			m.publish(10)
			m.pump()
			late := &modelSink{m: m, codec: codec.JSON{}, limit: 100, asked: 8}
			first := [][]byte{joinedFrame(late.codec, 0, "r", 10, 1)}
			m.loseTail(4)
			m.learn()
			m.publish(6) // seqs go on where the journal ends: 7 to 12
			if subscribed {
				m.settle()
			}
			m.sinks = append(m.sinks, late)
			m.topic.Attach(m.now, late, Start{Member: "late", Cursor: 8, Epoch: 1, Incarnation: 1, Node: "n0", First: first})
			m.settle()
			require.Equal(t, 1, late.resets)
			require.Equal(t, uint64(12), late.cursor)
			m.publish(1)
			m.settle()
			require.Equal(t, uint64(13), late.cursor)
			late.agrees()
		})
	}
}
