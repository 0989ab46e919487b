package rooms

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/dcplane/memory"
	"github.com/parley-rt/parley/libs/persistence"
	journalmemory "github.com/parley-rt/parley/libs/persistence/memory"
	"github.com/parley-rt/parley/libs/protocol/names"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

func shortFence(c *Config) {
	c.FencedMin, c.FencedMax, c.knownAfter = 200*time.Millisecond, 300*time.Millisecond, -time.Hour
}

// Two nodes that do not know each other take the same room from one another.
type duel struct {
	backend            persistence.Backend
	first, second      *Service
	gwOne, gwTwo       *fakeGateway
	planeOne, planeTwo *memory.Plane
}

func setupDuel(t *testing.T, backend persistence.Backend, edit ...func(*Config)) *duel {
	t.Helper()
	d := &duel{backend: backend, planeOne: memory.NewPlane(), planeTwo: memory.NewPlane()}
	d.gwOne, d.gwTwo = startGateway(t, d.planeOne, "gw-1"), startGateway(t, d.planeTwo, "gw-2")
	edit = append([]func(*Config){shortFence}, edit...)
	d.first = startRooms(t, d.planeOne, d.backend, "rooms-1", edit...)
	d.second = startRooms(t, d.planeTwo, d.backend, "rooms-2", edit...)
	d.gwOne.connect(d.first)
	d.gwTwo.connect(d.second)
	return d
}

// S1, S2, S3: whoever claims wins; the loser acknowledges nothing more, sends askers on and tells its subscribers.
func TestUncoordinatedTakeover(t *testing.T) {
	t.Parallel()
	eachBackend(t, testUncoordinatedTakeover)
}

func testUncoordinatedTakeover(t *testing.T, backend persistence.Backend) {
	// The journal is not asked for takeovers: the loser learns of it by its own write.
	d := setupDuel(t, backend, func(c *Config) { c.TakeoverEvery = time.Hour })
	joined := d.gwOne.join("rooms-1", "lobby", "ada")
	d.gwOne.subscribe("rooms-1", "lobby")
	require.Equal(t, uint64(2), d.gwOne.publish("rooms-1", "lobby", "ada", "m1", "m2")[1].Seq)

	// The second node takes the room; its memberships and dedupe window come along.
	outcomes := d.gwTwo.publish("rooms-2", "lobby", "ada", "m2", "m3")
	require.True(t, outcomes[0].Duplicate)
	require.Equal(t, uint64(2), outcomes[0].Seq)
	require.Equal(t, uint64(3), outcomes[1].Seq)

	answer := d.gwOne.ask("rooms-1", "lobby", publishFrame("ada", "m4"))
	require.Equal(t, "rooms-2", answer.GetMoved().GetOwner(), "answered by %v", answer)
	closed := d.gwOne.closed("lobby", 1)
	require.Equal(t, "rooms-2", closed.Owner)
	require.Equal(t, joined.Epoch, closed.Epoch)
	require.Len(t, messagesOf(d.gwOne.frames, "lobby"), 2, "nothing of the winner was delivered by the loser")

	// For a while the loser does not take the room back (L6); then, knowing nobody else, it does.
	answer = d.gwOne.ask("rooms-1", "lobby", publishFrame("ada", "m4"))
	require.Equal(t, "rooms-2", answer.GetMoved().GetOwner(), "answered by %v", answer)
	require.Equal(t, uint64(4), d.gwOne.insist("rooms-1", "lobby", "ada", "m4")[0].Seq)

	page := d.gwOne.ask("rooms-1", "lobby", readFrame(&roomv1.Read{})).GetPage()
	contiguous(t, 0, page.Messages)
	for i, id := range []string{"m1", "m2", "m3", "m4"} {
		require.Equal(t, id, page.Messages[i].MessageId)
	}
}

// L2: a room that was lost and is only read learns of it from the journal, and its subscribers from the room.
func TestReadersOfALostRoomAreTold(t *testing.T) {
	t.Parallel()
	eachBackend(t, testReadersOfALostRoomAreTold)
}

func testReadersOfALostRoomAreTold(t *testing.T, backend persistence.Backend) {
	d := setupDuel(t, backend, func(c *Config) { c.TakeoverEvery = 50 * time.Millisecond })
	d.gwOne.join("rooms-1", "lobby", "ada")
	d.gwOne.subscribe("rooms-1", "lobby")
	d.gwTwo.subscribe("rooms-2", "lobby")
	require.Equal(t, "rooms-2", d.gwOne.closed("lobby", 1).Owner)
}

// S5: a member that comes back to a writer which was fenced and does not know it yet is ahead of what that one has. It is
// sent on; nothing of its history is gone.
func TestFencedWriterRewindsNobody(t *testing.T) {
	t.Parallel()
	eachBackend(t, testFencedWriterRewindsNobody)
}

func testFencedWriterRewindsNobody(t *testing.T, backend persistence.Backend) {
	d := setupDuel(t, backend, func(c *Config) { c.TakeoverEvery = time.Hour })
	d.gwOne.join("rooms-1", "lobby", "ada")
	d.gwOne.publish("rooms-1", "lobby", "ada", "m1")
	require.Equal(t, uint64(2), d.gwTwo.publish("rooms-2", "lobby", "ada", "m2")[0].Seq)

	back := joinFrame("ada", "s-ada", 2, &roomv1.Cursor{AfterSeq: 2, AfterMessageId: "m2"})
	answer := d.gwOne.ask("rooms-1", "lobby", back)
	require.Equal(t, "rooms-2", answer.GetMoved().GetOwner(), "answered by %v", answer)
	require.True(t, d.gwTwo.ask("rooms-2", "lobby", back).GetJoined().GetRecovered())
}

// S2, S3, L6: two nodes take a room from each other while both are published to; every message gets one place.
func TestDuelKeepsOneHistory(t *testing.T) {
	t.Parallel()
	eachBackend(t, testDuelKeepsOneHistory)
}

func testDuelKeepsOneHistory(t *testing.T, backend persistence.Backend) {
	d := setupDuel(t, backend, func(c *Config) {
		c.TakeoverEvery, c.FencedMin, c.FencedMax = 50*time.Millisecond, time.Millisecond, 20*time.Millisecond
	})
	d.gwOne.join("rooms-1", "lobby", "ada")
	acked := make(chan map[string]uint64, 2)
	publish := func(g *fakeGateway, node, prefix string) {
		got := make(map[string]uint64)
		for n := range 40 {
			id := fmt.Sprintf("%s%d", prefix, n)
			// Both publish the same ids now and then.
			if n%5 == 0 {
				id = fmt.Sprint("both", n)
			}
			for {
				if seq, ok := tryPublish(g, node, "lobby", "ada", id); ok {
					got[id] = seq
					break
				}
			}
		}
		acked <- got
	}
	go publish(d.gwOne, "rooms-1", "one")
	go publish(d.gwTwo, "rooms-2", "two")
	one, two := <-acked, <-acked

	events, err := d.backend.Read(t.Context(), persistence.StreamKey(names.RoomStream("lobby")), 1, 1000)
	require.NoError(t, err)
	page := readAll(t, d.backend, "lobby")
	require.Len(t, page, len(events))
	contiguous(t, 0, page)
	stored := make(map[string]uint64)
	for _, m := range page {
		require.NotContains(t, stored, m.MessageId, "stored twice")
		stored[m.MessageId] = m.Seq
	}
	require.Len(t, stored, 40+40-8)
	epoch := uint64(0)
	for _, e := range events {
		require.GreaterOrEqual(t, e.Epoch, epoch)
		epoch = e.Epoch
	}
	for _, got := range []map[string]uint64{one, two} {
		for id, seq := range got {
			require.Equal(t, seq, stored[id], "acknowledged %s", id)
		}
	}
}

// tryPublish sends one publish to a node and gives up on anything but its acknowledgement. It may be used by any goroutine.
func tryPublish(g *fakeGateway, node, roomID, member, id string) (uint64, bool) {
	ch, err := g.try(node, roomID, publishFrame(member, id))
	if err != nil {
		return 0, false
	}
	select {
	case answer := <-ch:
		if p := answer.GetPublished(); p != nil && p.Outcomes[0].Refused == nil {
			return p.Outcomes[0].Seq, true
		}
	case <-time.After(2 * time.Second):
	}
	<-time.After(5 * time.Millisecond) // a pause between attempts, which nothing depends on
	return 0, false
}

func readAll(t *testing.T, backend persistence.Backend, roomID string) []*roomv1.Message {
	t.Helper()
	b := setupReader(t, backend)
	return b.gw.ask("reader", roomID, readFrame(&roomv1.Read{})).GetPage().GetMessages()
}

// setupReader starts a further node on the same backend.
func setupReader(t *testing.T, backend persistence.Backend) *bundle {
	b := &bundle{plane: memory.NewPlane(), backend: backend}
	b.gw = startGateway(t, b.plane, "gw-reader")
	b.rooms = startRooms(t, b.plane, backend, "reader", shortFence)
	b.gw.connect(b.rooms)
	return b
}

// pair is two nodes that know each other.
type pair struct {
	plane    *memory.Plane
	backend  persistence.Backend
	one, two *Service
	gw       *fakeGateway
}

func setupPair(t testing.TB, edit ...func(*Config)) *pair {
	return setupPairOn(t, journalmemory.New(journalmemory.Options{}), edit...)
}

func setupPairOn(t testing.TB, backend persistence.Backend, edit ...func(*Config)) *pair {
	t.Helper()
	p := &pair{plane: memory.NewPlane(), backend: backend}
	p.gw = startGateway(t, p.plane, "gw-1")
	p.one = startRooms(t, p.plane, p.backend, "rooms-1", edit...)
	p.two = startRooms(t, p.plane, p.backend, "rooms-2", edit...)
	p.gw.connect(p.one, p.two)
	waitLinked(t, p.one, "rooms-2")
	waitLinked(t, p.two, "rooms-1")
	return p
}

func waitLinked(t testing.TB, s *Service, node string) {
	t.Helper()
	require.Eventually(t, func() bool {
		status, ok := s.links.Link(node)
		return ok && status.Up
	}, patience, 5*time.Millisecond)
}

func TestLiveOwnerKeepsItsRoom(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	p.gw.join("rooms-1", "lobby", "ada")
	for range 3 {
		answer := p.gw.ask("rooms-2", "lobby", publishFrame("ada", "m1"))
		require.Equal(t, "rooms-1", answer.GetMoved().GetOwner(), "answered by %v", answer)
	}
	require.Equal(t, uint64(1), p.gw.insist("rooms-2", "lobby", "ada", "m1")[0].Seq, "the gateway follows Moved")
}

// S1, S3, L3: a node dies without a word; the next one asked takes its rooms as soon as its Link is refused.
func TestDeadOwnerIsReplaced(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	p.gw.join("rooms-1", "lobby", "ada")
	p.gw.publish("rooms-1", "lobby", "ada", "m1")
	kill(t, p.one)
	began := time.Now()
	outcomes := p.gw.insist("rooms-2", "lobby", "ada", "m1", "m2")
	require.True(t, outcomes[0].Duplicate)
	require.Equal(t, uint64(2), outcomes[1].Seq)
	require.Less(t, time.Since(began), 5*time.Second)
}

// kill ends a node's reachability without any farewell: no drain, no release, and its record stays until its lease ends.
func kill(t testing.TB, s *Service) {
	t.Helper()
	s.deps.Directory.(*memory.Directory).Crash()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	require.NoError(t, s.node.Stop(ctx))
}

func TestRestartedNodeTakesItsRoomsBack(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.gw.join("rooms-1", "lobby", "ada")
	b.gw.publish("rooms-1", "lobby", "ada", "m1")
	kill(t, b.rooms)

	next := startRooms(t, b.plane, b.backend, "rooms-1")
	b.gw.connect(next)
	outcomes := b.gw.publish("rooms-1", "lobby", "ada", "m1", "m2")
	require.True(t, outcomes[0].Duplicate)
	require.Equal(t, uint64(2), outcomes[1].Seq)
}

func TestCompareHeads(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	joined := b.gw.join("rooms-1", "lobby", "ada")
	b.gw.publish("rooms-1", "lobby", "ada", "m1", "m2")
	compare := func(rooms ...*roomv1.RoomHead) []string {
		answer := b.gw.ask("rooms-1", "", &roomv1.Frame{Kind: &roomv1.Frame_CompareHeads{CompareHeads: &roomv1.CompareHeads{Rooms: rooms}}})
		return answer.GetHeadsDiffer().GetRoomIds()
	}
	require.Empty(t, compare(&roomv1.RoomHead{RoomId: "lobby", Epoch: joined.Epoch, LastMessageSeq: 2}))
	require.Equal(t, []string{"lobby"}, compare(&roomv1.RoomHead{RoomId: "lobby", Epoch: joined.Epoch, LastMessageSeq: 1}))
	require.Equal(t, []string{"lobby", "elsewhere"}, compare(
		&roomv1.RoomHead{RoomId: "lobby", Epoch: joined.Epoch + 1, LastMessageSeq: 2},
		&roomv1.RoomHead{RoomId: "elsewhere", Epoch: 1, LastMessageSeq: 1}))
}
