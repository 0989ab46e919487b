package actorkit_test

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/actorkit/actorkittest"
)

// neighbours makes nodes of this test neighbours.
func neighbours() func(*actorkit.NodeConfig) {
	shared := new(actorkit.Neighbours)
	return func(c *actorkit.NodeConfig) { c.Neighbours = shared }
}

func address(f actorkit.Frame) *byte { return unsafe.SliceData(f.Body) }

// Frames between neighbours keep their order and arrive once, in the memory that they were sent from: over a socket they would be
// copies.
func TestNeighboursHandFramesOver(t *testing.T) {
	t.Parallel()
	a, b, ra, rb := pair(t, neighbours())
	const frames = 10_000
	var sent []actorkit.Frame
	for i := range frames {
		f := numbered(i)
		f.Traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		if i%3 > 0 { // also in a batch with others that have none
			f.Decoded = &i
		}
		sent = append(sent, f)
		require.NoError(t, a.Send("b", f))
		require.NoError(t, b.Send("a", numbered(i)))
	}
	for i, got := range rb.WaitFrames(t, frames) {
		require.Equal(t, sent[i], got.Frame)
		require.Same(t, address(sent[i]), address(got.Frame))
		require.True(t, sent[i].Decoded == got.Frame.Decoded, "the same, not an equal one")
		require.Equal(t, a.Self(), got.From)
	}
	for i, got := range ra.WaitFrames(t, frames) {
		require.Equal(t, i, number(got.Frame))
	}
	require.Len(t, ra.Frames(), frames)
	require.Len(t, rb.Frames(), frames)
}

// Nodes that were not given the same Neighbours send each other copies.
func TestOtherNodesOfTheProcessAreNoNeighbours(t *testing.T) {
	t.Parallel()
	rb := new(actorkittest.Recorder)
	a := actorkittest.StartNode(t, "a", new(actorkittest.Recorder), neighbours())
	b := actorkittest.StartNode(t, "b", rb, neighbours())
	actorkittest.Mesh(t, a, b)
	f := numbered(1)
	f.Decoded = new(int)
	require.NoError(t, a.Send("b", f))
	got := rb.WaitFrames(t, 1)[0].Frame
	require.Equal(t, f.Body, got.Body)
	require.NotSame(t, address(f), address(got))
	require.Nil(t, got.Decoded)
}

// A neighbour that stops refuses, and the Link to it goes down as to any other node.
func TestNeighbourStops(t *testing.T) {
	t.Parallel()
	a, b, ra, rb := pair(t, neighbours(), brisk)
	require.NoError(t, a.Send("b", numbered(1)))
	rb.WaitFrames(t, 1)
	actorkittest.StopNode(t, b)
	ra.WaitEvent(t, "b", actorkit.LinkDown, 0)
	require.ErrorIs(t, a.Send("b", numbered(2)), actorkit.ErrLinkDown)
	require.Len(t, rb.Frames(), 1)
}

// A handler that hangs takes the Link to it down, and the frames that it has taken arrive once for all that.
func TestNeighbourHangs(t *testing.T) {
	t.Parallel()
	a, _, ra, rb := pair(t, neighbours(), brisk)
	met, release := rb.Block()
	require.NoError(t, a.Send("b", numbered(1)))
	<-met
	defer release()
	ra.WaitEvent(t, "b", actorkit.LinkDown, 0)
	release()
	actorkittest.WaitUp(t, a, "b")
	require.NoError(t, a.Send("b", numbered(2)))
	for i, got := range rb.WaitFrames(t, 2) {
		require.Equal(t, i+1, number(got.Frame))
	}
}
