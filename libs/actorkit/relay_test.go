package actorkit_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/actorkit/actorkittest"
)

// triangle returns three linked nodes on wires with their recorders.
func triangle(t *testing.T, edit ...func(*actorkit.NodeConfig)) (w *wires, nodes [3]*actorkit.Node, recorders [3]*actorkittest.Recorder) {
	t.Helper()
	w = newWires(t)
	for i, name := range []string{"a", "b", "c"} {
		recorders[i] = new(actorkittest.Recorder)
		nodes[i] = w.start(name, recorders[i], edit...)
	}
	actorkittest.Mesh(t, nodes[:]...)
	return w, nodes, recorders
}

// waitWay waits until the Link from n is up and goes over that node; empty: directly.
func waitWay(t *testing.T, n *actorkit.Node, to, over string) {
	t.Helper()
	require.Eventually(t, func() bool {
		s, _ := n.Link(to)
		return s.Up && s.Relayed == over
	}, actorkittest.Patience, time.Millisecond, "link from %s to %s over %q", n.Self().Node, to, over)
}

func numbers(frames []actorkittest.Received) []int {
	var all []int
	for _, f := range frames {
		all = append(all, number(f.Frame))
	}
	return all
}

func upTo(n int) []int {
	var all []int
	for i := range n {
		all = append(all, i)
	}
	return all
}

// Two nodes that do not reach each other talk over a third one, and directly again when they can; each Link goes down once, and
// what is sent afterwards arrives once and in order.
func TestLinkGoesAroundACut(t *testing.T) {
	t.Parallel()
	w, nodes, recorders := triangle(t, patient)
	a, b, ra, rb := nodes[0], nodes[1], recorders[0], recorders[1]
	w.cut("a", "b")
	ra.WaitEvent(t, "b", actorkit.LinkDown, 0)
	rb.WaitEvent(t, "a", actorkit.LinkDown, 0)
	waitWay(t, a, "b", "c")
	waitWay(t, b, "a", "c")
	require.Len(t, a.KeepLiving(nil), 2, "who is reached around lives")
	const frames = 3000
	for i := range frames {
		require.NoError(t, a.Send("b", numbered(i)))
		require.NoError(t, b.Send("a", numbered(i)))
	}
	require.Equal(t, upTo(frames), numbers(rb.WaitFrames(t, frames)))
	require.Equal(t, upTo(frames), numbers(ra.WaitFrames(t, frames)))
	require.Equal(t, a.Self(), rb.Frames()[0].From)
	require.Empty(t, recorders[2].Frames(), "the third node's handler sees nothing of it")

	w.heal("a", "b")
	stop := make(chan struct{})
	sent := make(chan int, 1)
	go func() { // the change of the way falls between two batches
		for i := frames; ; i++ {
			for a.Send("b", numbered(i)) != nil {
				<-time.After(time.Millisecond) // the queue is full
			}
			select {
			case <-stop:
				sent <- i + 1
				return
			default:
			}
		}
	}()
	waitWay(t, a, "b", "")
	waitWay(t, b, "a", "")
	close(stop)
	all := <-sent
	require.Equal(t, upTo(all), numbers(rb.WaitFrames(t, all)))
	require.Equal(t, 1, countEvents(ra, actorkit.LinkDown))
	require.Equal(t, 1, countEvents(rb, actorkit.LinkDown))
}

// A batch that arrived directly and whose answer was lost is not sent again: the next one, around, has a higher number, and the
// receiver hears that something may be missing.
func TestLostAnswerBeforeTheWayAround(t *testing.T) {
	t.Parallel()
	w, nodes, recorders := triangle(t, patient)
	a, ra, rb := nodes[0], recorders[0], recorders[1]
	blocked, release := rb.Block()
	defer release()
	require.NoError(t, a.Send("b", numbered(0)))
	<-blocked
	w.cut("a", "b")
	ra.WaitEvent(t, "b", actorkit.LinkDown, 0)
	lost := make(chan int, 1)
	rb.OnFrame(func(r actorkittest.Received) {
		if number(r.Frame) == 1 {
			lost <- countEvents(rb, actorkit.LinkLost)
		}
	})
	release()
	waitWay(t, a, "b", "c")
	require.NoError(t, a.Send("b", numbered(1)))
	require.Positive(t, <-lost)
	require.Equal(t, []int{0, 1}, numbers(rb.WaitFrames(t, 2)))
}

// A third node that dies with batches on it costs nothing while there is another one.
func TestThirdNodeDies(t *testing.T) {
	t.Parallel()
	w, nodes, recorders := triangle(t, patient)
	a, b, c, ra, rb := nodes[0], nodes[1], nodes[2], recorders[0], recorders[1]
	d := w.start("d", new(actorkittest.Recorder), patient)
	w.cut("a", "b")
	waitWay(t, a, "b", "c")
	waitWay(t, b, "a", "c")
	actorkittest.Mesh(t, a, b, c, d)
	for i := range 100 {
		require.NoError(t, a.Send("b", numbered(i)))
	}
	actorkittest.StopNode(t, c)
	waitWay(t, a, "b", "d")
	for i := range 100 {
		require.NoError(t, a.Send("b", numbered(100+i)))
	}
	require.Equal(t, upTo(200), numbers(rb.WaitFrames(t, 200)))
	down := 0
	for _, e := range ra.Events() {
		if e.Peer.Node == "b" && e.Kind == actorkit.LinkDown {
			down++
		}
	}
	require.Equal(t, 1, down, "of the cut itself")
	require.Zero(t, countEvents(rb, actorkit.LinkLost)-1, "of the cut itself")
}

// A third node that hangs is left for another one before the Link is given up; what it brings when it goes on is known already.
func TestThirdNodeHangs(t *testing.T) {
	t.Parallel()
	w, nodes, recorders := triangle(t, patient)
	a, b, c, ra, rb, rc := nodes[0], nodes[1], nodes[2], recorders[0], recorders[1], recorders[2]
	w.cut("a", "b")
	waitWay(t, a, "b", "c")
	d := w.start("d", new(actorkittest.Recorder), patient)
	peers := []actorkit.Peer{a.Self(), b.Self(), c.Self(), d.Self()}
	for _, n := range []*actorkit.Node{a, b, c, d} {
		n.SetPeers(peers)
	}
	waitWay(t, a, "d", "")
	waitWay(t, d, "b", "")
	waitWay(t, b, "d", "")
	blocked, release := rc.Block()
	defer release()
	require.NoError(t, b.Send("c", numbered(0)))
	<-blocked
	for i := range 10 {
		require.NoError(t, a.Send("b", numbered(i)))
	}
	require.Equal(t, upTo(10), numbers(rb.WaitFrames(t, 10)))
	waitWay(t, a, "b", "d")
	release()
	rc.WaitFrames(t, 1)
	for i := range 10 {
		require.NoError(t, a.Send("b", numbered(10+i)))
	}
	require.Equal(t, upTo(20), numbers(rb.WaitFrames(t, 20)))
	require.Equal(t, 1, countEvents(ra, actorkit.LinkDown), "of the cut itself")
}

// Who hangs does not answer around either.
func TestHangingPeerIsNotReachedAround(t *testing.T) {
	t.Parallel()
	_, nodes, recorders := triangle(t, brisk)
	a, ra, rb, rc := nodes[0], recorders[0], recorders[1], recorders[2]
	blocked, release := rb.Block()
	defer release()
	require.NoError(t, a.Send("b", numbered(0)))
	<-blocked
	ra.WaitEvent(t, "b", actorkit.LinkDown, 0)
	rc.WaitEvent(t, "b", actorkit.LinkDown, 0)
	hung := time.Now()
	require.Never(t, func() bool {
		s, _ := a.Link("b")
		return s.Up
	}, 2*time.Second, 5*time.Millisecond)
	require.GreaterOrEqual(t, time.Since(hung), 2*time.Second)
	release()
	waitWay(t, a, "b", "")
}

// Another life of the peer is not the peer, around as well as directly.
func TestAnotherLifeIsNotReachedAround(t *testing.T) {
	t.Parallel()
	w, nodes, recorders := triangle(t, patient)
	a, b, c := nodes[0], nodes[1], nodes[2]
	w.cut("a", "b")
	waitWay(t, a, "b", "c")
	actorkittest.StopNode(t, b)
	recorders[0].WaitEvent(t, "b", actorkit.LinkDown, 1)
	again := new(actorkittest.Recorder)
	b2 := w.start("b", again, patient)
	b2.SetPeers([]actorkit.Peer{c.Self()})
	c.SetPeers([]actorkit.Peer{a.Self(), b2.Self()})
	actorkittest.WaitUp(t, c, "b")
	require.Never(t, func() bool {
		s, _ := a.Link("b")
		return s.Up
	}, time.Second, 5*time.Millisecond)
	a.SetPeers([]actorkit.Peer{b2.Self(), c.Self()})
	waitWay(t, a, "b", "c")
	require.NoError(t, a.Send("b", numbered(1)))
	require.Equal(t, []int{1}, numbers(again.WaitFrames(t, 1)))
}

// Whatever a Link takes it brings around, too, also what fills a third node's queue by itself.
func TestLargeFramesGoAround(t *testing.T) {
	t.Parallel()
	for name, queue := range map[string]int{"small queue": 2 << 20, "largest frame": actorkit.MaxFrameBytes} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, nodes, recorders := triangle(t, patient, func(c *actorkit.NodeConfig) { c.QueueBytes = queue })
			a, rb := nodes[0], recorders[1]
			w.cut("a", "b")
			waitWay(t, a, "b", "c")
			send := func(f actorkit.Frame) {
				require.Eventually(t, func() bool { return a.Send("b", f) == nil }, actorkittest.Patience, time.Millisecond)
			}
			big := bytes.Repeat([]byte{7}, queue-64)
			const rounds = 3
			for i := range rounds {
				send(numbered(i))
				send(actorkit.Frame{Body: big})
			}
			for i, got := range rb.WaitFrames(t, 2*rounds) {
				if i%2 == 0 {
					require.Equal(t, i/2, number(got.Frame))
				} else {
					require.True(t, bytes.Equal(big, got.Frame.Body))
				}
			}
			require.Equal(t, 1, countEvents(recorders[0], actorkit.LinkDown))
		})
	}
}

// A node that stops while its Link goes around still sends what is queued.
func TestStopWhileGoingAround(t *testing.T) {
	t.Parallel()
	w, nodes, recorders := triangle(t, patient)
	a, rb := nodes[0], recorders[1]
	w.cut("a", "b")
	waitWay(t, a, "b", "c")
	for i := range 100 {
		require.NoError(t, a.Send("b", numbered(i)))
	}
	start := time.Now()
	actorkittest.StopNode(t, a)
	require.Less(t, time.Since(start), actorkittest.Patience)
	frames := rb.Frames()
	require.Equal(t, upTo(len(frames)), numbers(frames))
}
