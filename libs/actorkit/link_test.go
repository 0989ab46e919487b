package actorkit_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/actorkit/actorkittest"
	linkv1 "github.com/parley-rt/parley/libs/protocol/link/v1"
)

// brisk makes a node notice trouble sooner than in production, so that tests of it are short.
func brisk(c *actorkit.NodeConfig) {
	c.AskTimeout, c.Heartbeat = 500*time.Millisecond, 50*time.Millisecond
}

// patient never takes a peer for dead because the machine is busy.
func patient(c *actorkit.NodeConfig) {
	c.AskTimeout, c.Heartbeat = 10*time.Second, 50*time.Millisecond
}

func numbered(i int) actorkit.Frame {
	return actorkit.Frame{Body: binary.BigEndian.AppendUint64(nil, uint64(i))}
}

func number(f actorkit.Frame) int { return int(binary.BigEndian.Uint64(f.Body)) }

// pair returns two linked nodes with their recorders.
func pair(t *testing.T, edit ...func(*actorkit.NodeConfig)) (a, b *actorkit.Node, ra, rb *actorkittest.Recorder) {
	t.Helper()
	ra, rb = new(actorkittest.Recorder), new(actorkittest.Recorder)
	a, b = actorkittest.StartNode(t, "a", ra, edit...), actorkittest.StartNode(t, "b", rb, edit...)
	actorkittest.Mesh(t, a, b)
	return a, b, ra, rb
}

func TestFramesArriveInOrderExactlyOnce(t *testing.T) {
	t.Parallel()
	a, b, ra, rb := pair(t)
	const frames = 10_000
	for i := range frames {
		require.NoError(t, a.Send("b", numbered(i)))
		require.NoError(t, b.Send("a", numbered(i)))
	}
	for _, r := range []*actorkittest.Recorder{ra, rb} {
		for i, got := range r.WaitFrames(t, frames) {
			require.Equal(t, i, number(got.Frame))
		}
	}
	require.Equal(t, a.Self(), rb.Frames()[0].From)
	require.Len(t, ra.Frames(), frames)
	require.Len(t, rb.Frames(), frames)
}

// Frames of many goroutines and of all sizes keep each goroutine's order over the merging into batches.
func TestOrderIsKeptAcrossBatches(t *testing.T) {
	t.Parallel()
	a, _, _, rb := pair(t, func(c *actorkit.NodeConfig) { c.BatchBytes = 64 << 10 })
	const senders, each = 4, 500
	done := make(chan error, senders)
	for s := range senders {
		go func() {
			for i := range each {
				body := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(s)), uint32(i))
				body = append(body, make([]byte, i*37%3000)...)
				if err := a.Send("b", actorkit.Frame{Body: body, Traceparent: fmt.Sprint(s), Tracestate: fmt.Sprint(i)}); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range senders {
		require.NoError(t, <-done)
	}
	next := [senders]int{}
	for _, got := range rb.WaitFrames(t, senders*each) {
		s, i := int(binary.BigEndian.Uint32(got.Frame.Body)), int(binary.BigEndian.Uint32(got.Frame.Body[4:]))
		require.Equal(t, next[s], i)
		require.Equal(t, fmt.Sprint(s), got.Frame.Traceparent)
		require.Equal(t, fmt.Sprint(i), got.Frame.Tracestate)
		require.Len(t, got.Frame.Body, 8+i*37%3000)
		next[s]++
	}
}

func TestLargeFrames(t *testing.T) {
	t.Parallel()
	a, _, _, rb := pair(t)
	big := bytes.Repeat([]byte{7}, 5<<20)
	require.NoError(t, a.Send("b", numbered(0)))
	require.NoError(t, a.Send("b", actorkit.Frame{Body: big}))
	require.NoError(t, a.Send("b", numbered(1)))
	got := rb.WaitFrames(t, 3)
	require.Equal(t, 0, number(got[0].Frame))
	require.Equal(t, big, got[1].Frame.Body)
	require.Equal(t, 1, number(got[2].Frame))
	require.ErrorIs(t, a.Send("b", actorkit.Frame{Body: make([]byte, 8<<20)}), actorkit.ErrFrameTooLarge)
}

func TestFullQueue(t *testing.T) {
	t.Parallel()
	a, _, _, rb := pair(t, func(c *actorkit.NodeConfig) { c.QueueBytes = 64 << 10 })
	_, release := rb.Block()
	defer release()
	frame := actorkit.Frame{Body: make([]byte, 1000)}
	sent := 0
	var err error
	for ; err == nil; sent++ {
		err = a.Send("b", frame)
	}
	require.ErrorIs(t, err, actorkit.ErrLinkFull)
	require.Less(t, sent, 2*64+2, "one batch in flight and one queue")
	release()
	require.Len(t, rb.WaitFrames(t, sent-1), sent-1)
	require.Eventually(t, func() bool { return a.Send("b", frame) == nil }, actorkittest.Patience, time.Millisecond)
}

func TestUnknownPeer(t *testing.T) {
	t.Parallel()
	a := actorkittest.StartNode(t, "a", new(actorkittest.Recorder))
	require.ErrorIs(t, a.Send("b", numbered(0)), actorkit.ErrUnknownPeer)
	_, ok := a.Link("b")
	require.False(t, ok)
	a.SetPeers([]actorkit.Peer{a.Self(), {Node: "b"}, {Node: "c", Incarnation: "1", Host: "127.0.0.1"}})
	for _, node := range []string{"a", "b", "c"} {
		_, ok := a.Link(node)
		require.False(t, ok, node)
	}
}

func TestStoppedPeer(t *testing.T) {
	t.Parallel()
	a, b, ra, _ := pair(t, brisk)
	actorkittest.StopNode(t, b)
	down := ra.WaitEvent(t, "b", actorkit.LinkDown, 0)
	require.Equal(t, b.Self(), down.Peer)
	require.Error(t, down.Err)
	require.ErrorIs(t, a.Send("b", numbered(0)), actorkit.ErrLinkDown)
	s, ok := a.Link("b")
	require.True(t, ok)
	require.True(t, s.Down)
	require.False(t, s.Up)
	require.Error(t, s.Err)
}

// A peer that comes back on the same address as another life is another peer: the old Link stays down, the new one goes
// up, and what the old life sent last may be missing.
func TestRestartedPeer(t *testing.T) {
	t.Parallel()
	a, b, ra, _ := pair(t, brisk)
	require.NoError(t, b.Send("a", numbered(0)))
	ra.WaitFrames(t, 1)
	actorkittest.StopNode(t, b)
	ra.WaitEvent(t, "b", actorkit.LinkDown, 0)

	rb2 := new(actorkittest.Recorder)
	b2 := actorkittest.StartNode(t, "b", rb2, brisk, func(c *actorkit.NodeConfig) {
		c.RemotingPort = b.Self().RemotingPort
	})
	require.NotEqual(t, b.Self().Incarnation, b2.Self().Incarnation)
	b2.SetPeers([]actorkit.Peer{a.Self()})
	lost := ra.WaitEvent(t, "b", actorkit.LinkLost, 0)
	require.Equal(t, b2.Self().Incarnation, lost.Peer.Incarnation)
	require.ErrorContains(t, lost.Err, "replaced")

	// a still means the old life, which the new one refuses.
	require.Eventually(t, func() bool {
		s, _ := a.Link("b")
		return s.Down && s.Err != nil && bytes.Contains([]byte(s.Err.Error()), []byte("meant for incarnation"))
	}, actorkittest.Patience, 5*time.Millisecond)
	s, _ := a.Link("b")
	require.ErrorIs(t, s.Err, actorkit.ErrRefused)
	require.Empty(t, rb2.Frames())

	a.SetPeers([]actorkit.Peer{b2.Self()})
	require.Equal(t, b2.Self(), ra.WaitEvent(t, "b", actorkit.LinkUp, 1).Peer)
	require.NoError(t, a.Send("b", numbered(1)))
	require.Equal(t, 1, number(rb2.WaitFrames(t, 1)[0].Frame))
	// No more losses: the first batches of the new life were heartbeats.
	require.NoError(t, b2.Send("a", numbered(2)))
	ra.WaitFrames(t, 2)
	n := 0
	for _, e := range ra.Events() {
		if e.Kind == actorkit.LinkLost {
			n++
		}
	}
	require.Equal(t, 1, n)
}

// A peer that hangs is down when AskTimeout has passed, and up again when it answers; the frames in between are missing
// and announced, and none comes twice.
func TestHangingPeer(t *testing.T) {
	t.Parallel()
	a, _, ra, rb := pair(t) // Production times.
	require.NoError(t, a.Send("b", numbered(0)))
	rb.WaitFrames(t, 1)
	blocked, release := rb.Block()
	defer release()
	start := time.Now()
	require.NoError(t, a.Send("b", numbered(1)))
	<-blocked
	down := ra.WaitEvent(t, "b", actorkit.LinkDown, 0)
	require.Less(t, time.Since(start), 4*time.Second, "AskTimeout and some slack for a busy machine")
	require.Error(t, down.Err)
	require.ErrorIs(t, a.Send("b", numbered(2)), actorkit.ErrLinkDown)
	release()
	ra.WaitEvent(t, "b", actorkit.LinkUp, 1)
	require.NoError(t, a.Send("b", numbered(3)))
	got := rb.WaitFrames(t, 3)
	require.Equal(t, []int{0, 1, 3}, []int{number(got[0].Frame), number(got[1].Frame), number(got[2].Frame)})
}

// What is refused while a Link is down is missing at the receiver, also when nothing was dropped: it hears of it before it
// gets a later frame, though its own Link may have been up all the time.
func TestRefusedFramesAreAnnounced(t *testing.T) {
	t.Parallel()
	a, _, ra, rb := pair(t, brisk)
	blocked, release := rb.Block()
	defer release()
	require.NoError(t, a.Send("b", numbered(0)))
	<-blocked
	ra.WaitEvent(t, "b", actorkit.LinkDown, 0)
	require.ErrorIs(t, a.Send("b", numbered(1)), actorkit.ErrLinkDown)
	before := make(chan int, 1)
	rb.OnFrame(func(r actorkittest.Received) {
		if number(r.Frame) == 1000 {
			before <- countEvents(rb, actorkit.LinkLost)
		}
	})
	release()
	ra.WaitEvent(t, "b", actorkit.LinkUp, 1)
	require.NoError(t, a.Send("b", numbered(1000)))
	require.Positive(t, <-before, "lost before the frame behind the gap")
	got := rb.WaitFrames(t, 2)
	require.Len(t, got, 2)
	require.Equal(t, 0, number(got[0].Frame), "it was in flight and arrived after all: nothing was dropped")
}

// What is queued behind a batch in flight when the Link goes down is dropped, and the receiver hears of it before it gets
// a later frame.
func TestDroppedQueueIsAnnounced(t *testing.T) {
	t.Parallel()
	a, _, ra, rb := pair(t, brisk)
	blocked, release := rb.Block()
	defer release()
	require.NoError(t, a.Send("b", numbered(0)))
	<-blocked
	for i := range 100 {
		require.NoError(t, a.Send("b", numbered(1+i)))
	}
	ra.WaitEvent(t, "b", actorkit.LinkDown, 0)
	before := make(chan int, 1)
	rb.OnFrame(func(r actorkittest.Received) {
		if number(r.Frame) == 1000 {
			before <- countEvents(rb, actorkit.LinkLost)
		}
	})
	release()
	ra.WaitEvent(t, "b", actorkit.LinkUp, 1)
	require.NoError(t, a.Send("b", numbered(1000)))
	require.Positive(t, <-before, "lost before the frame behind the gap")
	got := rb.WaitFrames(t, 2)
	require.Len(t, got, 2)
	require.Equal(t, 0, number(got[0].Frame), "it was in flight and arrived after all")
}

func countEvents(r *actorkittest.Recorder, kind actorkit.LinkEventKind) int {
	n := 0
	for _, e := range r.Events() {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

func TestUnreachablePeers(t *testing.T) {
	t.Parallel()
	ra := new(actorkittest.Recorder)
	a := actorkittest.StartNode(t, "a", ra) // Production times: between at once and 2 s a busy machine has room.
	gone := actorkit.Peer{Node: "gone", Incarnation: "1"}
	mute := actorkit.Peer{Node: "mute", Incarnation: "1"}
	start := time.Now()
	a.SetPeers([]actorkit.Peer{actorkittest.Refusing(t, gone), actorkittest.Silent(t, mute)})
	s, ok := a.Link("mute")
	require.True(t, ok)
	require.False(t, s.Up || s.Down, "connecting")
	require.ErrorIs(t, a.Send("mute", numbered(0)), actorkit.ErrLinkDown)
	ra.WaitEvent(t, "gone", actorkit.LinkDown, 0)
	require.Less(t, time.Since(start), 1500*time.Millisecond, "a refused connection is noticed at once")
	ra.WaitEvent(t, "mute", actorkit.LinkDown, 0)
	require.GreaterOrEqual(t, time.Since(start), 1900*time.Millisecond, "silence needs its time")
}

// The handler's panic costs its frame only.
func TestPanickingHandler(t *testing.T) {
	t.Parallel()
	a, _, _, rb := pair(t)
	rb.OnFrame(func(r actorkittest.Received) {
		if number(r.Frame)%2 == 0 {
			panic("even")
		}
	})
	for i := range 10 {
		require.NoError(t, a.Send("b", numbered(i)))
	}
	for i, r := range rb.WaitFrames(t, 5) {
		require.Equal(t, 2*i+1, number(r.Frame))
	}
	s, _ := a.Link("b")
	require.True(t, s.Up)
}

func TestHeartbeatsAndBlindness(t *testing.T) {
	t.Parallel()
	a, b, _, _ := pair(t, brisk)
	s, _ := b.Link("a")
	require.False(t, s.Blind)
	heard := s.LastHeard
	require.NotZero(t, heard)
	blind := func(want bool) func() bool {
		return func() bool {
			s, _ := b.Link("a")
			return s.Blind == want && s.LastHeard.After(heard)
		}
	}
	a.SetBlind(true)
	require.Eventually(t, blind(true), actorkittest.Patience, time.Millisecond)
	a.SetBlind(false)
	require.Eventually(t, blind(false), actorkittest.Patience, time.Millisecond)
	// Idle Links live on heartbeats alone for several silences.
	last := time.Now()
	require.Eventually(t, func() bool {
		s, _ = b.Link("a")
		return s.LastHeard.After(last.Add(1200 * time.Millisecond))
	}, actorkittest.Patience, 50*time.Millisecond)
	require.True(t, s.Up)
}

// A batch that comes after a newer one was stuck on its way. What it says of its sender is old.
func TestOvertakenBatchSaysNothing(t *testing.T) {
	t.Parallel()
	a := actorkittest.StartNode(t, "a", new(actorkittest.Recorder), patient)
	a.SetPeers([]actorkit.Peer{actorkittest.Silent(t, actorkit.Peer{Node: "b", Incarnation: "1"})})
	far, _, _ := startRemote(t, "far")
	door, err := far.NoSender().RemoteLookup(t.Context(), a.Self().Host, a.Self().RemotingPort, "GoAktUserGuardian/door-a")
	require.NoError(t, err)
	arrive := func(number uint64, blind bool) actorkit.LinkStatus {
		reply, err := far.NoSender().Ask(t.Context(), door, &linkv1.Batch{
			FromNode: "b", FromIncarnation: "1", ToIncarnation: a.Self().Incarnation, Number: number, Blind: blind,
		}, actorkittest.Patience)
		require.NoError(t, err)
		require.Empty(t, reply.(*linkv1.BatchReply).GetRefused())
		s, ok := a.Link("b")
		require.True(t, ok)
		return s
	}
	require.True(t, arrive(1, true).Blind)
	newest := arrive(2, false)
	require.False(t, newest.Blind)
	require.Equal(t, newest, arrive(1, true))
	require.True(t, arrive(3, true).Blind)
}

// Only b has a Link; a hears b's batches all the same, and b hears a's answers.
func TestOneWayLink(t *testing.T) {
	t.Parallel()
	ra, rb := new(actorkittest.Recorder), new(actorkittest.Recorder)
	a, b := actorkittest.StartNode(t, "a", ra, brisk), actorkittest.StartNode(t, "b", rb, brisk)
	b.SetPeers([]actorkit.Peer{a.Self()})
	actorkittest.WaitUp(t, b, "a")
	require.NoError(t, b.Send("a", numbered(1)))
	got := ra.WaitFrames(t, 1)[0]
	require.Equal(t, actorkit.Peer{Node: "b", Incarnation: b.Self().Incarnation}, got.From)
	require.Empty(t, ra.Events())
}

func TestSetPeers(t *testing.T) {
	t.Parallel()
	a, b, ra, rb := pair(t, patient)
	rc := new(actorkittest.Recorder)
	c := actorkittest.StartNode(t, "c", rc, patient)

	a.SetPeers([]actorkit.Peer{a.Self(), b.Self(), c.Self()})
	actorkittest.WaitUp(t, a, "c")
	require.Equal(t, 0, countEvents(ra, actorkit.LinkDown), "the Link to b was left alone")
	require.NoError(t, a.Send("c", numbered(1)))
	require.NoError(t, a.Send("b", numbered(1)))
	rc.WaitFrames(t, 1)
	rb.WaitFrames(t, 1)

	a.SetPeers([]actorkit.Peer{c.Self()})
	down := ra.WaitEvent(t, "b", actorkit.LinkDown, 0)
	require.ErrorIs(t, down.Err, actorkit.ErrUnknownPeer)
	require.ErrorIs(t, a.Send("b", numbered(2)), actorkit.ErrUnknownPeer)

	// Back again: the numbers go on, nothing is taken for a repetition.
	a.SetPeers([]actorkit.Peer{b.Self(), c.Self()})
	actorkittest.WaitUp(t, a, "b")
	require.NoError(t, a.Send("b", numbered(3)))
	require.Equal(t, 3, number(rb.WaitFrames(t, 2)[1].Frame))

	// Another address replaces the Link, and the right one heals it.
	a.SetPeers([]actorkit.Peer{actorkittest.Refusing(t, b.Self()), c.Self()})
	ra.WaitEvent(t, "b", actorkit.LinkDown, 1)
	require.ErrorIs(t, a.Send("b", numbered(4)), actorkit.ErrLinkDown)
	a.SetPeers([]actorkit.Peer{b.Self(), c.Self()})
	actorkittest.WaitUp(t, a, "b")
	require.NoError(t, a.Send("b", numbered(5)))
	require.Equal(t, 5, number(rb.WaitFrames(t, 3)[2].Frame))
	s, _ := a.Link("c")
	require.True(t, s.Up)
}

// A peer that is not listed any more is kept for as long as it answers, and no longer.
func TestKeepLiving(t *testing.T) {
	t.Parallel()
	a, b, ra, _ := pair(t, patient)
	require.Equal(t, []actorkit.Peer{b.Self()}, a.KeepLiving(nil))
	a.SetPeers(a.KeepLiving(nil))
	require.NoError(t, a.Send("b", numbered(1)))

	// Its next life is another peer, which counts once it is listed.
	again := b.Self()
	again.Incarnation = "next"
	require.Equal(t, []actorkit.Peer{again}, a.KeepLiving([]actorkit.Peer{again}))

	actorkittest.StopNode(t, b)
	ra.WaitEvent(t, "b", actorkit.LinkDown, 0)
	require.Empty(t, a.KeepLiving(nil))
}

// Stop sends what is queued, refuses what comes and calls no handler afterwards.
func TestStopWithTraffic(t *testing.T) {
	t.Parallel()
	a, b, ra, rb := pair(t)
	stopSending := make(chan struct{})
	sent := make(chan int, 1)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stopSending:
				sent <- i
				return
			default:
				_ = b.Send("a", numbered(i))
			}
		}
	}()
	ra.WaitFrames(t, 100)
	const last = 2000
	for i := range last {
		require.NoError(t, a.Send("b", numbered(i)))
	}
	actorkittest.StopNode(t, a)
	frames, events := len(ra.Frames()), len(ra.Events())
	require.Len(t, rb.WaitFrames(t, last), last)
	require.ErrorIs(t, a.Send("b", numbered(0)), actorkit.ErrStopped)
	rb.WaitEvent(t, "a", actorkit.LinkDown, 0)
	close(stopSending)
	<-sent
	require.Len(t, ra.Frames(), frames)
	require.Len(t, ra.Events(), events)
	a.SetPeers([]actorkit.Peer{b.Self()})
	_, ok := a.Link("b")
	require.False(t, ok)
}
