package actorkit_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tochemey/goakt/v4/actor"
	"google.golang.org/protobuf/proto"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/actorkit/actorkittest"
	linkv1 "github.com/parley-rt/parley/libs/protocol/link/v1"
)

// courier puts batches of its own making into a node's door.
type courier struct {
	t    *testing.T
	sys  actor.ActorSystem
	door *actor.PID
	to   actorkit.Peer
	// number of the last batch of the third node.
	number uint64
}

func newCourier(t *testing.T, to *actorkit.Node) *courier {
	t.Helper()
	far, _, _ := startRemote(t, "far")
	door, err := far.NoSender().RemoteLookup(t.Context(), to.Self().Host, to.Self().RemotingPort, "GoAktUserGuardian/door-"+to.Self().Node)
	require.NoError(t, err)
	return &courier{t: t, sys: far, door: door, to: to.Self()}
}

func (c *courier) put(b *linkv1.Batch) string {
	c.t.Helper()
	reply, err := c.sys.NoSender().Ask(c.t.Context(), c.door, b, actorkittest.Patience)
	require.NoError(c.t, err)
	return reply.(*linkv1.BatchReply).GetRefused()
}

// batch is one of the node "s" with one frame.
func (c *courier) batch(number, frame int) *linkv1.Batch {
	return &linkv1.Batch{
		FromNode: "s", FromIncarnation: "1", ToIncarnation: c.to.Incarnation, Number: uint64(number),
		Frames: []*linkv1.Frame{{Body: numbered(frame).Body}},
	}
}

// relayed is the frame in which the batch goes over a third node.
func (c *courier) relayed(b *linkv1.Batch) *linkv1.Relay {
	encoded, err := proto.Marshal(b)
	require.NoError(c.t, err)
	return &linkv1.Relay{
		FromNode: b.GetFromNode(), FromIncarnation: b.GetFromIncarnation(), ToNode: c.to.Node, ToIncarnation: c.to.Incarnation,
		Number: b.GetNumber(), Content: &linkv1.Relay_Batch{Batch: encoded},
	}
}

// carry brings frames as the third node "r".
func (c *courier) carry(frames ...*linkv1.Relay) {
	c.t.Helper()
	c.number++
	b := &linkv1.Batch{FromNode: "r", FromIncarnation: "1", ToIncarnation: c.to.Incarnation, Number: c.number}
	for _, f := range frames {
		b.Frames = append(b.Frames, &linkv1.Frame{Relay: f})
	}
	require.Empty(c.t, c.put(b))
}

// A batch is taken once and in its turn, whichever way it comes and how often.
func TestBatchesOfBothWaysAreTakenOnceAndInOrder(t *testing.T) {
	t.Parallel()
	r := new(actorkittest.Recorder)
	c := newCourier(t, actorkittest.StartNode(t, "t", r, patient))
	require.Empty(t, c.put(c.batch(1, 1)))
	c.carry(c.relayed(c.batch(1, 1)))                               // its answer was lost
	c.carry(c.relayed(c.batch(2, 2)), c.relayed(c.batch(2, 2)))     // over a third node that repeats itself
	require.Empty(t, c.put(c.batch(2, 2)))                          // directly, late
	c.carry(c.relayed(c.batch(4, 4)))                               // the Link went down between
	require.Empty(t, c.put(c.batch(3, 3)), "answered as any other") // what was in flight then, too late
	require.Empty(t, c.put(c.batch(5, 5)))                          // directly again
	c.carry(c.relayed(c.batch(4, 4)))
	require.Equal(t, []int{1, 2, 4, 5}, numbers(r.Frames()))
	require.Equal(t, 1, countEvents(r, actorkit.LinkLost))
	require.Equal(t, actorkit.Peer{Node: "s", Incarnation: "1"}, r.Frames()[1].From)
}

// A third node that was frozen brings a batch of a life that has ended before this node heard of it. The life that goes on is
// heard still.
func TestThirdNodeBringsABatchOfALifeThatIsOver(t *testing.T) {
	t.Parallel()
	r := new(actorkittest.Recorder)
	node := actorkittest.StartNode(t, "t", r, patient)
	c := newCourier(t, node)
	node.SetPeers([]actorkit.Peer{{Node: "s", Incarnation: "1", Host: "127.0.0.1", RemotingPort: 1}})
	require.Empty(t, c.put(c.batch(1, 1)))
	past := c.batch(7, 7)
	past.FromIncarnation = "0"
	c.carry(c.relayed(past))
	require.Empty(t, c.put(c.batch(2, 2)))
	require.Equal(t, []int{1, 2}, numbers(r.Frames()))

	// The next life is, once the directory knows it.
	next := c.batch(1, 3)
	next.FromIncarnation = "2"
	node.SetPeers([]actorkit.Peer{{Node: "s", Incarnation: "2", Host: "127.0.0.1", RemotingPort: 1}})
	c.carry(c.relayed(next))
	require.Equal(t, []int{1, 2, 3}, numbers(r.Frames()))
}

// What nobody may relay is not taken.
func TestFramesForDoorsThatAreNotTaken(t *testing.T) {
	t.Parallel()
	r := new(actorkittest.Recorder)
	node := actorkittest.StartNode(t, "t", r, patient)
	c := newCourier(t, node)
	twice := c.batch(1, 1)
	twice.Frames = []*linkv1.Frame{{Relay: c.relayed(&linkv1.Batch{
		FromNode: "u", FromIncarnation: "1", ToIncarnation: c.to.Incarnation, Number: 1, Frames: c.batch(1, 1).Frames,
	})}}
	c.carry(c.relayed(twice)) // relayed already
	other := c.relayed(c.batch(2, 2))
	other.FromNode = "u"
	c.carry(other) // says another sender than the batch
	broken := c.relayed(c.batch(2, 2))
	broken.Content = &linkv1.Relay_Batch{Batch: []byte{0xff}}
	c.carry(broken)
	c.carry(&linkv1.Relay{})
	own := c.batch(2, 2)
	own.FromNode = "t"
	c.carry(c.relayed(own))
	stale := c.batch(2, 2)
	stale.ToIncarnation = "past"
	c.carry(c.relayed(stale))
	c.carry(&linkv1.Relay{FromNode: "t", FromIncarnation: c.to.Incarnation, ToNode: "r", Content: &linkv1.Relay_Reply{}}) // nobody waits
	require.Empty(t, r.Frames())
	c.carry(c.relayed(c.batch(3, 3)))
	require.Equal(t, []int{3}, numbers(r.Frames()))
}

// A third node says at once when it cannot bring a batch to that life of that peer; so the Link that asks it is free for
// its other way.
func TestThirdNodeWithoutAWaySaysSo(t *testing.T) {
	t.Parallel()
	w, nodes, recorders := triangle(t, patient)
	a, b, c := nodes[0], nodes[1], nodes[2]
	c.SetPeers([]actorkit.Peer{a.Self()})
	w.cut("a", "b")
	recorders[0].WaitEvent(t, "b", actorkit.LinkDown, 0)
	// An attempt that waits for silence lasts half of AskTimeout.
	require.Never(t, func() bool {
		s, _ := a.Link("b")
		return s.Up
	}, 300*time.Millisecond, time.Millisecond)
	start := time.Now()
	c.SetPeers([]actorkit.Peer{a.Self(), b.Self()})
	waitWay(t, a, "b", "c")
	require.Less(t, time.Since(start), 4*time.Second)
}
