package ws

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// While the backlog is full, who has something waiting gets no more, who has not gets one message at a time, and who takes
// nothing is cut; then all is as before (S9).
func TestFullBacklog(t *testing.T) {
	t.Parallel()
	b := NewBacklog(10_000)
	cfg := Config{Backlog: b, StallTimeout: time.Millisecond, CloseTimeout: 50 * time.Millisecond}
	s := testShared(t, cfg)
	stuck, well := newGate(), newGate()
	close(well.open)
	slow, fast := &outbox{nc: stuck, s: s}, &outbox{nc: well, s: s}
	frames := [][]byte{bytes.Repeat([]byte("a"), 500), bytes.Repeat([]byte("b"), 500), bytes.Repeat([]byte("c"), 500)}

	require.Equal(t, 3, slow.Offer(frames, 1, nil))
	<-stuck.entered
	require.Equal(t, 3, slow.Offer(frames, 3, nil))
	require.Greater(t, b.Bytes(), int64(1500+1500/3), "what is being written, and a share of what waits")
	slow.Send(make([]byte, 10_000))
	require.True(t, b.Full())
	require.Zero(t, slow.Offer(frames, 1, waiterFunc(func() { require.Fail(t, "told of room on a closed connection") })))

	// The others go on, one by one.
	told := make(chan struct{}, 1)
	w := waiterFunc(func() { told <- struct{}{} })
	for i := range frames {
		n := fast.Offer(frames[i:], 1, w)
		for n == 0 { // the last one is being written
			<-told
			n = fast.Offer(frames[i:], 1, w)
		}
		require.Equal(t, 1, n)
		if i < len(frames)-1 {
			<-told
		}
	}
	fast.waitFlushed()
	require.Equal(t, string(bytes.Join(frames, nil)), well.written())

	require.Eventually(t, slow.stalled, patience, time.Millisecond)
	require.True(t, slow.relieve(false, false))
	require.False(t, slow.relieve(false, false), "once is enough")
	require.False(t, fast.relieve(false, false))
	require.False(t, b.Full(), "what waited for it is dropped at once")
	require.Equal(t, 3, fast.Offer(frames, 1, nil), "all is as before")
	close(stuck.open)
	s.running.Wait()
}

// Room for pages is given in order, and never more than there is.
func TestRoomForPages(t *testing.T) {
	t.Parallel()
	b := NewBacklog(2 * PageBytes)
	s := testShared(t, Config{Backlog: b})
	told := make(chan int, 10)
	boxes := make([]*outbox, 5)
	for i := range boxes {
		g := newGate()
		close(g.open)
		boxes[i] = &outbox{nc: g, s: s}
	}
	ask := func(i int) bool { return boxes[i].HasRoom(waiterFunc(func() { told <- i })) }
	require.True(t, ask(0))
	require.True(t, ask(1))
	require.False(t, ask(2))
	require.False(t, ask(3))
	boxes[0].SendPaced([]byte("a small page"))
	s.running.Wait()
	require.Equal(t, 2, <-told)
	require.True(t, ask(2))
	require.False(t, ask(4), "that was all")
	boxes[1].kill()
	require.Equal(t, 3, <-told, "which may have happened before: who is told asks again")
	if !ask(3) {
		require.Equal(t, 4, <-told, "it was this one's turn")
		require.True(t, ask(4))
	}
	require.Equal(t, int64(2*PageBytes), b.Bytes())
	for _, o := range boxes {
		o.kill()
	}
	require.True(t, (&outbox{nc: newGate(), s: testShared(t, Config{Backlog: NewBacklog(1)})}).reserveAndGive(), "an empty backlog has room for one")
}

// Who is told of room and does not want it any more keeps nobody from it for longer than until the next look.
func TestRoomIsNotLost(t *testing.T) {
	t.Parallel()
	b := NewBacklog(PageBytes)
	told := make(chan int, 10)
	require.True(t, b.reserve(nil))
	for i := range 3 {
		require.False(t, b.reserve(waiterFunc(func() { told <- i })))
	}
	b.Add(-PageBytes)
	require.Equal(t, 0, <-told)
	require.Empty(t, told)
	b.wake()
	require.Equal(t, 1, <-told)
	b.wake()
	require.Equal(t, 2, <-told)
	b.wake()
	require.Empty(t, told)
	require.Zero(t, b.waiters.Load())
}

// A message that is not finished counts, and its connection is cut when others wait for memory.
func TestUnfinishedMessagesCount(t *testing.T) {
	t.Parallel()
	b := NewBacklog(200_000)
	s := start(t, func(cfg *Config, _ *echo) {
		cfg.Backlog, cfg.StallTimeout, cfg.CloseTimeout = b, time.Millisecond, 50*time.Millisecond
	})
	canary := s.connect()
	canary.echoes("before")
	half := bytes.Repeat([]byte("h"), 30_000)
	fragments, announced := s.connect(), s.connect()
	fragments.write(frame(0x01, half))
	announced.write(frame(finText, bytes.Repeat(half, 2))[:50_000])
	require.Eventually(t, func() bool { return b.Bytes() >= 32<<10+64<<10 }, patience, time.Millisecond)
	whole := s.connect()
	whole.echoes(string(half))
	require.False(t, b.Full())
	require.Zero(t, s.acceptor.Relieve(NeedNone))
	b.Add(200_000) // as if others waited
	require.Eventually(t, func() bool { return s.acceptor.Relieve(NeedNone) > 0 && s.acceptor.Relieve(NeedNone) == 0 }, patience, time.Millisecond)
	require.Equal(t, "SLOW", fragments.expectClose(4001))
	require.Equal(t, "SLOW", announced.expectClose(4001))
	b.Add(-200_000)
	require.Eventually(t, func() bool { return b.Bytes() == 0 && s.acceptor.Active() == 2 }, patience, time.Millisecond)
	hard := s.connect()
	hard.write(frame(0x01, half))
	require.Eventually(t, func() bool { return b.Bytes() > 0 }, patience, time.Millisecond)
	require.Eventually(t, func() bool { return s.acceptor.Relieve(NeedRoomNow) > 0 }, patience, time.Millisecond)
	hard.expectCut()
	whole.echoes("unharmed")
	canary.echoes("unharmed")
	require.Eventually(t, func() bool { return b.Bytes() == 0 }, patience, time.Millisecond)
}

func (o *outbox) reserveAndGive() bool {
	defer o.GiveRoom()
	return o.HasRoom(nil)
}
