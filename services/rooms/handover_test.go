package rooms

import (
	"context"
	"errors"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/actorkit/actorkittest"
	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/libs/dcplane/memory"
	"github.com/parley-rt/parley/libs/persistence"
	journalmemory "github.com/parley-rt/parley/libs/persistence/memory"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

var bothNodes = []string{"rooms-1", "rooms-2"}

// occupy lets a member join rooms at a node and the gateway subscribe them.
func (g *fakeGateway) occupy(node string, roomIDs []string) {
	g.t.Helper()
	var answers []<-chan *roomv1.Frame
	for _, id := range roomIDs {
		answers = append(answers, g.start(node, id, joinFrame("ada", "s-ada", 1, nil)),
			g.start(node, id, &roomv1.Frame{Kind: &roomv1.Frame_Subscribe{Subscribe: &roomv1.Subscribe{}}}))
	}
	for _, ch := range answers {
		answer := g.await(ch)
		require.True(g.t, answer.GetJoined() != nil || answer.GetSubscribed() != nil, "answered by %v", answer)
	}
}

// S1–S5, L3, L5: a node that stops hands its rooms over while they are published to. Clients see no error, subscribers are
// told where to go on, and the new owner knows memberships and what was published before.
func TestDrainHandsRoomsOver(t *testing.T) {
	t.Parallel()
	eachBackend(t, testDrainHandsRoomsOver)
}

func testDrainHandsRoomsOver(t *testing.T, backend persistence.Backend) {
	p := setupPairOn(t, backend)
	ids := roomIDs(60)
	p.gw.occupy("rooms-1", ids)
	before := headsOf(t, backend, ids)
	tr := startTraffic(t, p.gw, "ada", ids[:20], "rooms-1", bothNodes, 2*time.Millisecond)
	p.gw.wait("deliveries", func(frames []received) bool { return len(messagesOf(frames, "r:0")) > 5 })
	stopRooms(t, p.one)
	for _, id := range ids {
		require.Equal(t, "rooms-2", p.gw.closed(id, 1).Owner)
		require.Equal(t, before[id].Epoch, p.gw.closed(id, 1).Epoch)
	}
	for id, head := range headsOf(t, backend, ids) {
		require.Equal(t, "rooms-2", head.Owner)
		require.Equal(t, before[id].Epoch+1, head.Epoch, "claimed once")
	}
	subscribed := p.gw.subscribe("rooms-2", "r:0")
	publishers := tr.stop()
	verify(t, backend, publishers)
	for _, p := range publishers {
		require.Zero(t, p.passing, "not even a refusal that gateways keep to themselves")
	}
	// The chain goes on: what the new owner delivers follows what Subscribed named.
	require.Positive(t, subscribed.LastMessageSeq)
	first := publishers[0].acked[0]
	outcomes := p.gw.publish("rooms-2", "r:0", "ada", first.id, "after")
	require.True(t, outcomes[0].Duplicate)
	require.Equal(t, first.seq, outcomes[0].Seq)
	require.False(t, outcomes[1].Duplicate)
}

// fakeRooms is a rooms node that does with moves what a test wants.
type fakeRooms struct {
	t    testing.TB
	name string
	node *actorkit.Node
	// answer returns the answer to a frame of a move; nil: none.
	answer func(frame *roomv1.Frame) *roomv1.Frame

	mu  sync.Mutex
	got []*roomv1.Frame
}

func startFakeRooms(t testing.TB, plane *memory.Plane, name string, of *Service, answer func(*roomv1.Frame) *roomv1.Frame) *fakeRooms {
	t.Helper()
	f := &fakeRooms{t: t, name: name, answer: answer}
	f.node = actorkittest.StartNode(t, name, f, func(c *actorkit.NodeConfig) { c.Service = ServiceName })
	dir, err := plane.Open(t.Context(), memory.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dir.Close(context.Background())) })
	self := f.node.Self()
	_, err = dir.Register(t.Context(), dcplane.Node{
		Service: ServiceName, DC: "dc-a", Name: name, Incarnation: self.Incarnation,
		Host: self.Host, RemotingPort: self.RemotingPort, State: dcplane.StateReady,
	})
	require.NoError(t, err)
	f.node.SetPeers([]actorkit.Peer{of.node.Self()})
	actorkittest.WaitUp(t, f.node, of.cfg.Node)
	waitLinked(t, of, name)
	return f
}

func (f *fakeRooms) HandleFrame(from actorkit.Peer, in actorkit.Frame) {
	frame := new(roomv1.Frame)
	if err := proto.Unmarshal(in.Body, frame); err != nil {
		f.t.Errorf("rooms sent what is no frame: %v", err)
		return
	}
	f.mu.Lock()
	f.got = append(f.got, frame)
	f.mu.Unlock()
	if answer := f.answer(frame); answer != nil {
		answer.RoomId, answer.Request = frame.RoomId, frame.Request
		body, err := proto.Marshal(answer)
		if err != nil {
			f.t.Errorf("answer cannot be encoded: %v", err)
			return
		}
		if err := f.node.Send(from.Node, actorkit.Frame{Body: body}); err != nil && !errors.Is(err, actorkit.ErrUnknownPeer) {
			f.t.Errorf("answer not sent: %v", err)
		}
	}
}

func (f *fakeRooms) HandleLink(actorkit.LinkEvent) {}

func (f *fakeRooms) count(is func(*roomv1.Frame) bool) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, frame := range f.got {
		if is(frame) {
			n++
		}
	}
	return n
}

func isHandOver(f *roomv1.Frame) bool { return f.GetHandOver() != nil }

func preloadedAnswer() *roomv1.Frame {
	return &roomv1.Frame{Kind: &roomv1.Frame_Preloaded{Preloaded: &roomv1.Preloaded{}}}
}

func notTakenAnswer() *roomv1.Frame {
	return &roomv1.Frame{Kind: &roomv1.Frame_NotTaken{NotTaken: &roomv1.NotTaken{Reason: "no"}}}
}

// L3, L5: whatever the node does that should take the rooms, the drain ends in time, and what it did not take is released.
func TestDrainWithoutAWillingNode(t *testing.T) {
	t.Parallel()
	const rooms = 100
	for name, c := range map[string]struct {
		answer func(*roomv1.Frame) *roomv1.Frame
		// handOvers is how many rooms it may have been given at most.
		handOvers int
	}{
		"says nothing": {func(*roomv1.Frame) *roomv1.Frame { return nil }, 0},
		"refuses":      {func(*roomv1.Frame) *roomv1.Frame { return notTakenAnswer() }, 0},
		"refuses at last": {func(f *roomv1.Frame) *roomv1.Frame {
			if f.GetPreload() != nil {
				return preloadedAnswer()
			}
			return notTakenAnswer()
		}, rooms},
		// Only those that pause at the time: then it is trusted no more.
		"hangs when it should take them": {func(f *roomv1.Frame) *roomv1.Frame {
			if f.GetPreload() != nil {
				return preloadedAnswer()
			}
			return nil
		}, 16},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, nil, func(c *Config) { c.DrainTimeout = 10 * time.Second })
			fake := startFakeRooms(t, b.plane, "rooms-2", b.rooms, c.answer)
			ids := roomIDs(rooms)
			b.gw.occupy("rooms-1", ids)
			b.gw.publish("rooms-1", "r:7", "ada", "m1")
			stopRooms(t, b.rooms)
			for _, id := range ids {
				require.Empty(t, b.gw.closed(id, 1).Owner)
			}
			for _, head := range headsOf(t, b.backend, ids) {
				require.Empty(t, head.Owner, "released")
			}
			require.LessOrEqual(t, fake.count(isHandOver), c.handOvers)

			next := startRooms(t, b.plane, b.backend, "rooms-3")
			b.gw.connect(next)
			outcomes := b.gw.publish("rooms-3", "r:7", "ada", "m1", "m2")
			require.True(t, outcomes[0].Duplicate)
			require.Equal(t, uint64(2), outcomes[1].Seq)
		})
	}
}

// S2, L3: the node that was given the rooms has claimed them and says nothing more. They are not taken from it while it
// lives; once it is gone another one takes them.
func TestDrainToANodeThatDiesWithTheRooms(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	fake := startFakeRooms(t, b.plane, "rooms-2", b.rooms, func(f *roomv1.Frame) *roomv1.Frame {
		if f.GetPreload() != nil {
			return preloadedAnswer()
		}
		_, err := b.backend.Claim(context.Background(), roomKey(f.RoomId), "rooms-2",
			persistence.ClaimOptions{Guard: persistence.GuardEpoch{Epoch: f.GetHandOver().Epoch}})
		require.NoError(t, err)
		return nil
	})
	b.gw.occupy("rooms-1", []string{"lobby"})
	b.gw.publish("rooms-1", "lobby", "ada", "m1")
	stopRooms(t, b.rooms)
	require.Equal(t, "rooms-2", headsOf(t, b.backend, []string{"lobby"})["lobby"].Owner, "what another node has is not released")

	next := startRooms(t, b.plane, b.backend, "rooms-3")
	b.gw.connect(next)
	waitLinked(t, next, "rooms-2")
	answer := b.gw.ask("rooms-3", "lobby", publishFrame("ada", "m2"))
	require.Equal(t, "rooms-2", answer.GetMoved().GetOwner(), "answered by %v", answer)
	actorkittest.StopNode(t, fake.node)
	require.Equal(t, uint64(2), b.gw.insist("rooms-3", "lobby", "ada", "m2")[0].Seq)
}

// S7: the journal loses some of a room's tail before the room is handed over. The new owner was told what had been
// acknowledged and announces the loss.
func TestHandOverOfALostTail(t *testing.T) {
	t.Parallel()
	backend := journalmemory.New(journalmemory.Options{})
	p := setupPairOn(t, backend)
	joined := p.gw.join("rooms-1", "lobby", "ada")
	p.gw.publish("rooms-1", "lobby", "ada", "m1", "m2", "m3", "m4", "m5")
	backend.Lose(roomKey("lobby"), 2)
	stopRooms(t, p.one)
	answer := p.gw.ask("rooms-2", "lobby", joinFrame("ada", "s-ada", 2, &roomv1.Cursor{AfterSeq: 4, Incarnation: joined.Incarnation}))
	told := answer.GetJoined()
	require.NotNil(t, told, "answered by %v", answer)
	require.NotEqual(t, joined.Incarnation, told.Incarnation)
	require.EqualValues(t, clientv1.ResetReason_RESET_REASON_REWOUND, told.ResetReason)
}

// quick lets rooms move to nodes that joined without much waiting.
func quick(c *Config) { c.SettleAfter, c.RestFor = 300*time.Millisecond, time.Millisecond }

// placed tells which node is the first choice of each room.
func placed(ids, nodes []string) map[string]string {
	all := make([]dcplane.Node, len(nodes))
	for i, n := range nodes {
		all[i] = dcplane.Node{Service: ServiceName, DC: "dc-a", Name: n}
	}
	first := make(map[string]string)
	for _, id := range ids {
		first[id] = dcplane.Rank(id, all)[0].Name
	}
	return first
}

// S1–S5: rooms go to a node that has joined if it is their first choice, each once, while they are published to; the others
// stay. Clients see no error.
func TestJoiningNodeIsGivenItsRooms(t *testing.T) {
	t.Parallel()
	eachBackend(t, testJoiningNodeIsGivenItsRooms)
}

func testJoiningNodeIsGivenItsRooms(t *testing.T, backend persistence.Backend) {
	b := setup(t, backend, quick)
	ids := roomIDs(60)
	b.gw.occupy("rooms-1", ids)
	before := headsOf(t, backend, ids)
	tr := startTraffic(t, b.gw, "ada", ids[:20], "rooms-1", bothNodes, 2*time.Millisecond)
	two := startRooms(t, b.plane, backend, "rooms-2", quick)
	b.gw.connect(b.rooms, two)
	want := placed(ids, bothNodes)
	for id, node := range want {
		if node == "rooms-2" {
			require.Equal(t, "rooms-2", b.gw.closed(id, 1).Owner)
		}
	}
	// Nothing moves any more. For what does not happen there is no event: a second is three times what the nodes wait before they
	// look at what to give away.
	<-time.After(time.Second)
	for id, head := range headsOf(t, backend, ids) {
		require.Equal(t, want[id], head.Owner, id)
		if want[id] == "rooms-2" {
			require.Equal(t, before[id].Epoch+1, head.Epoch, "moved once")
		} else {
			require.Equal(t, before[id].Epoch, head.Epoch, "left alone")
		}
	}
	publishers := tr.stop()
	verify(t, backend, publishers)
	for _, p := range publishers {
		require.Zero(t, p.passing)
	}
}

// The third node gets its share as soon as the second one did: rooms are looked at whenever the nodes have changed.
func TestThirdNodeIsGivenItsRooms(t *testing.T) {
	t.Parallel()
	p := setupPair(t, quick)
	ids := roomIDs(30)
	p.gw.occupy("rooms-1", ids)
	owners := func() map[string]string {
		all := make(map[string]string)
		for id, head := range headsOf(t, p.backend, ids) {
			all[id] = head.Owner
		}
		return all
	}
	require.Eventually(t, func() bool { return maps.Equal(placed(ids, bothNodes), owners()) }, patience, 20*time.Millisecond)
	three := startRooms(t, p.plane, p.backend, "rooms-3", quick)
	p.gw.connect(p.one, p.two, three)
	for _, id := range ids { // subscribed again, as hubs do
		f := follower{g: p.gw, room: id, node: placed(ids, bothNodes)[id], nodes: []string{"rooms-1", "rooms-2", "rooms-3"}}
		_, err := f.ask(func() *roomv1.Frame {
			return &roomv1.Frame{Kind: &roomv1.Frame_Subscribe{Subscribe: &roomv1.Subscribe{}}}
		})
		require.NoError(t, err)
	}
	want := placed(ids, []string{"rooms-1", "rooms-2", "rooms-3"})
	require.Eventually(t, func() bool { return maps.Equal(want, owners()) }, patience, 20*time.Millisecond)
}

// A node that will not have the rooms does not get them: they go on where they are, without a refusal, and it is not asked
// again and again.
func TestJoiningNodeThatRefuses(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(*roomv1.Frame) *roomv1.Frame{
		"at once": func(*roomv1.Frame) *roomv1.Frame { return notTakenAnswer() },
		"when it is handed over": func(f *roomv1.Frame) *roomv1.Frame {
			if f.GetPreload() != nil {
				return preloadedAnswer()
			}
			return notTakenAnswer()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, nil, quick, func(c *Config) { c.MovesPerSecond = 10 })
			ids := roomIDs(60)
			b.gw.occupy("rooms-1", ids)
			before := headsOf(t, b.backend, ids)
			tr := startTraffic(t, b.gw, "ada", ids[:20], "rooms-1", []string{"rooms-1"}, 2*time.Millisecond)
			began := time.Now()
			fake := startFakeRooms(t, b.plane, "rooms-2", b.rooms, answer)
			require.Eventually(t, func() bool { return fake.count(func(f *roomv1.Frame) bool { return f.GetPreload() != nil }) > 0 },
				patience, 10*time.Millisecond)
			// What is shown is a rate: that it is kept for a while, however long that is on this machine.
			<-time.After(2 * time.Second)
			asked := fake.count(func(*roomv1.Frame) bool { return true })
			require.LessOrEqual(t, asked, max(20, int(10*time.Since(began).Seconds())))
			require.Equal(t, before, headsOfStreams(headsOf(t, b.backend, ids), before))
			publishers := tr.stop()
			verify(t, b.backend, publishers)
			for _, p := range publishers {
				require.Zero(t, p.passing)
			}
		})
	}
}

// headsOfStreams returns heads with what publishing changes as it was before.
func headsOfStreams(heads, before map[string]persistence.Head) map[string]persistence.Head {
	for id, h := range heads {
		h.LastSeq, h.SnapSeq = before[id].LastSeq, before[id].SnapSeq
		heads[id] = h
	}
	return heads
}

// A room that nobody uses is let go of when another node has become its first choice; it starts there when it is wanted.
func TestUnusedRoomsAreLetGo(t *testing.T) {
	t.Parallel()
	b := setup(t, nil, quick)
	ids := roomIDs(20)
	for _, id := range ids {
		b.gw.join("rooms-1", id, "ada")
	}
	two := startRooms(t, b.plane, b.backend, "rooms-2", quick)
	b.gw.connect(b.rooms, two)
	for id, node := range placed(ids, bothNodes) {
		if node != "rooms-2" {
			continue
		}
		require.Eventually(t, func() bool {
			head := headsOf(t, b.backend, []string{id})[id]
			return head.Owner != "rooms-1"
		}, patience+usedLatelyAtMost, 20*time.Millisecond, id)
		require.Equal(t, uint64(1), b.gw.insist("rooms-2", id, "ada", "m1")[0].Seq)
	}
}

const usedLatelyAtMost = 10 * time.Second
