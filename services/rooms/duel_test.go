package rooms

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/dcplane/memory"
	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/persistencetest"
	"github.com/parley-rt/parley/libs/protocol/names"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// A live owner is not robbed because it is not in the directory: its Link says that it lives.
func TestOwnerWithoutARecordKeepsItsRooms(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	p.gw.occupy("rooms-1", []string{"lobby"})
	before := headsOf(t, p.backend, []string{"lobby"})
	require.NoError(t, p.one.reg.Deregister(t.Context()))
	require.Eventually(t, func() bool {
		_, ok := p.two.deps.Directory.Lookup("dc-a", ServiceName, "rooms-1")
		return !ok
	}, patience, 5*time.Millisecond)
	// Long enough for every loop of the node to have seen it, and for its claim to be older than any doubt.
	deadline := time.Now().Add(3 * time.Second)
	for time.Now().Before(deadline) {
		answer := p.gw.ask("rooms-2", "lobby", publishFrame("ada", "m1"))
		require.Equal(t, "rooms-1", answer.GetMoved().GetOwner(), "answered by %v", answer)
		<-time.After(100 * time.Millisecond)
	}
	require.Equal(t, before, headsOf(t, p.backend, []string{"lobby"}))

	// Once it does not answer any more either, it is replaced (L3).
	kill(t, p.one)
	require.Equal(t, uint64(1), p.gw.insist("rooms-2", "lobby", "ada", "m1")[0].Seq)
}

// L6: two nodes that take each other for dead, and keep being asked, do not take a room from one another in turns. Whoever
// can ask both is sent to the one that has it.
func TestContradictoryViews(t *testing.T) {
	t.Parallel()
	eachBackend(t, func(t *testing.T, backend persistence.Backend) {
		d := setupStrangers(t, backend)
		d.gwOne.register(d.planeTwo)
		d.gwTwo.register(d.planeOne)
		d.gwOne.connect(d.first, d.second)
		d.gwTwo.connect(d.first, d.second)
		d.gwOne.join("rooms-1", "lobby", "ada")
		one := startTraffic(t, d.gwOne, "ada", []string{"lobby"}, "rooms-1", bothNodes, 5*time.Millisecond)
		d.gwTwo.insistJoin("rooms-2", "lobby", "bob")
		two := startTraffic(t, d.gwTwo, "bob", []string{"lobby"}, "rooms-2", bothNodes, 5*time.Millisecond)
		settled(t, backend, "lobby")
		verify(t, backend, append(one.stop(), two.stop()...))
	})
}

// L6, L3: the same when either gateway reaches one of the nodes only. The one that has the room keeps it while it writes; when
// it does not any more, the other one gets it.
func TestContradictoryViewsOfACutNetwork(t *testing.T) {
	t.Parallel()
	eachBackend(t, func(t *testing.T, backend persistence.Backend) {
		d := setupStrangers(t, backend)
		d.gwOne.join("rooms-1", "lobby", "ada")
		running := map[string]*traffic{
			"rooms-1": startTraffic(t, d.gwOne, "ada", []string{"lobby"}, "rooms-1", []string{"rooms-1"}, 5*time.Millisecond),
			"rooms-2": startTraffic(t, d.gwTwo, "ada", []string{"lobby"}, "rooms-2", []string{"rooms-2"}, 5*time.Millisecond),
		}
		winner := settled(t, backend, "lobby").Owner
		running[winner].stop()
		require.Eventually(t, func() bool {
			owner := headsOf(t, backend, []string{"lobby"})["lobby"].Owner
			return owner != winner && running[owner] != nil
		}, 2*patience, 20*time.Millisecond)
	})
}

// setupStrangers starts two nodes on one journal that do not know each other, each with a gateway.
func setupStrangers(t *testing.T, backend persistence.Backend) *duel {
	t.Helper()
	d := &duel{backend: backend, planeOne: memory.NewPlane(), planeTwo: memory.NewPlane()}
	d.gwOne, d.gwTwo = startGateway(t, d.planeOne, "gw-1"), startGateway(t, d.planeTwo, "gw-2")
	atOnce := func(c *Config) { c.knownAfter = -time.Hour }
	d.first = startRooms(t, d.planeOne, backend, "rooms-1", atOnce)
	d.second = startRooms(t, d.planeTwo, backend, "rooms-2", atOnce)
	d.gwOne.connect(d.first)
	d.gwTwo.connect(d.second)
	return d
}

// settled waits for 5 s, for which a duel may last (L6), and then expects that a room is claimed by nobody for as long as the
// longest wait of a node that lost one, and a bit. These times are what the promise is about: nothing happens that could be
// waited for.
func settled(t *testing.T, backend persistence.Backend, roomID string) persistence.Head {
	t.Helper()
	<-time.After(5 * time.Second)
	before, err := backend.Head(context.Background(), roomKey(roomID))
	require.NoError(t, err)
	<-time.After(7 * time.Second)
	after, err := backend.Head(context.Background(), roomKey(roomID))
	require.NoError(t, err)
	require.Equal(t, before.Epoch, after.Epoch, "claimed by %q, then by %q", before.Owner, after.Owner)
	require.Greater(t, after.LastSeq, before.LastSeq, "and it is written")
	require.Less(t, after.Epoch, uint64(6))
	return after
}

// L2: a room is lost while it starts; its readers are told all the same.
func TestReadersOfARoomLostWhileItStartedAreTold(t *testing.T) {
	t.Parallel()
	eachBackend(t, func(t *testing.T, backend persistence.Backend) {
		reached, release := make(chan struct{}), make(chan struct{})
		plan := persistencetest.NewPlan(persistencetest.Fault{
			Op: persistencetest.OpRecover, Key: persistence.StreamKey(names.MembersStream("lobby")),
			Reached: func() { close(reached) }, Block: release,
		})
		edit := func(c *Config) { c.TakeoverEvery = 50 * time.Millisecond }
		d := &duel{planeOne: memory.NewPlane(), planeTwo: memory.NewPlane()}
		d.gwOne, d.gwTwo = startGateway(t, d.planeOne, "gw-1"), startGateway(t, d.planeTwo, "gw-2")
		d.first = startRooms(t, d.planeOne, persistencetest.Faulty(backend, plan), "rooms-1", shortFence, edit)
		d.second = startRooms(t, d.planeTwo, backend, "rooms-2", shortFence, edit)
		d.gwOne.connect(d.first)
		d.gwTwo.connect(d.second)

		subscribed := d.gwOne.start("rooms-1", "lobby", &roomv1.Frame{Kind: &roomv1.Frame_Subscribe{Subscribe: &roomv1.Subscribe{}}})
		<-reached
		d.gwTwo.subscribe("rooms-2", "lobby")
		// The journal tells within the next two questions, and the host has heard it when the third is asked.
		polls := make(chan struct{}, 3)
		plan.Add(persistencetest.Fault{Op: persistencetest.OpTakeovers, Times: 3, Reached: func() { polls <- struct{}{} }})
		for range cap(polls) {
			<-polls
		}
		close(release)
		answer := d.gwOne.await(subscribed)
		if answer.GetMoved() != nil {
			return
		}
		require.NotNil(t, answer.GetSubscribed(), "answered by %v", answer)
		require.Equal(t, "rooms-2", d.gwOne.closed("lobby", 1).Owner)
	})
}
