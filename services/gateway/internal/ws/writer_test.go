package ws

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// shareAWriter connects n clients whose connections have the same writer.
func (s *server) shareAWriter(n int) (clients []*raw, conns []*Conn) {
	s.t.Helper()
	for len(clients) < n {
		client, conn := s.connect(), s.echo().c
		require.NotNil(s.t, conn.writer)
		if len(conns) == 0 || conn.writer == conns[0].writer {
			clients, conns = append(clients, client), append(conns, conn)
		}
	}
	return clients, conns
}

// settled reports whether a connection has nothing left to write.
func (o *outbox) settled() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.busy
}

// clog fills a connection's socket: a flusher waits in a write that goes on for a while already.
func clog(t *testing.T, c *Conn) {
	t.Helper()
	full := bytes.Repeat([]byte("x"), 60_000)
	require.Eventually(t, func() bool {
		c.Offer([][]byte{full}, 1, waiterFunc(func() {}))
		began := c.writing.Load()
		return began != 0 && time.Since(time.Unix(0, began)) > 100*time.Millisecond
	}, patience, 100*time.Microsecond)
}

// S9: who does not read holds up nobody who has the same writer.
func TestOneFullSocketHoldsUpNobody(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		return // elsewhere each has a goroutine that writes
	}
	s := start(t)
	clients, conns := s.shareAWriter(3)
	clog(t, conns[1])
	for range 100 {
		clients[0].echoes("one")
		clients[2].echoes("three")
	}
	require.NotZero(t, conns[1].writing.Load(), "it reads nothing")
	require.False(t, conns[1].Closing())
	for !conns[1].settled() { // it reads again, and goes back to the writer
		_, err := clients[1].nc.Read(make([]byte, 1<<20))
		require.NoError(t, err)
	}
}

// S9: a fault in who waits for room costs that connection; those with the same writer go on.
func TestFaultInAWaiterOfAWriter(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		return
	}
	s := start(t, func(cfg *Config, _ *echo) { cfg.OutboxBytes = 100 })
	clients, conns := s.shareAWriter(2)
	frames := [][]byte{bytes.Repeat([]byte("x"), 60), []byte("y")}
	require.Equal(t, 1, conns[0].Offer(frames, 1, waiterFunc(func() { panic("as if") })))
	clients[0].expectCut()
	clients[1].echoes("unharmed")
	require.Eventually(t, func() bool { return s.acceptor.s.backlog.Bytes() == 0 }, patience, time.Millisecond)
}

// What is cut while it waits for its writer is forgotten, and whoever comes behind it is not.
func TestKillWhileQueued(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		return
	}
	for name, end := range map[string]func(c *Conn){
		"kill":  func(c *Conn) { c.Kill() },
		"close": func(c *Conn) { c.Close(4000, "DRAIN") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, func(cfg *Config, _ *echo) { cfg.OutboxBytes = 100 })
			clients, conns := s.shareAWriter(3)
			entered, leave := make(chan struct{}), make(chan struct{})
			frames := [][]byte{bytes.Repeat([]byte("x"), 60), []byte("y")}
			require.Equal(t, 1, conns[0].Offer(frames, 1, waiterFunc(func() { // no waiter may do this; it keeps the writer where it is
				close(entered)
				<-leave
			})))
			<-entered
			require.True(t, conns[1].Send([]byte("first")))
			require.True(t, conns[2].Send(Compile([]byte("behind"), true)))
			end(conns[1])
			require.False(t, conns[1].Send([]byte("late")))
			close(leave)
			if name == "kill" {
				clients[1].expectCut()
			} else {
				got := make([]byte, 5)
				_, err := io.ReadFull(clients[1].r, got)
				require.NoError(t, err)
				require.Equal(t, "first", string(got))
				require.Equal(t, "DRAIN", clients[1].expectClose(4000))
			}
			clients[2].expect(finText, "behind")
			require.Eventually(t, func() bool { return s.acceptor.s.backlog.Bytes() == 0 }, patience, time.Millisecond)
		})
	}
}

// Whatever a socket takes at a time and however slowly its peer reads, frames arrive whole and in order (S4, S5).
func TestFramesStayWholeAndInOrder(t *testing.T) {
	t.Parallel()
	s := start(t, func(cfg *Config, _ *echo) { cfg.OutboxBytes = 32 << 10 })
	var all sync.WaitGroup
	for seed := range uint64(8) {
		client, conn := s.connect(), s.echo().c
		all.Go(func() { stream(t, rand.New(rand.NewPCG(seed, 1)), client.nc.(*net.TCPConn), conn) })
	}
	all.Wait()
	require.Eventually(t, func() bool { return s.acceptor.s.backlog.Bytes() == 0 }, patience, time.Millisecond)
}

// stream sends frames of random sizes to a peer that reads at random.
func stream(t *testing.T, r *rand.Rand, client *net.TCPConn, conn *Conn) {
	const total = 1 << 19
	bytesOf := rand.NewChaCha8([32]byte{byte(r.Uint64())})
	sent := make([]byte, total)
	_, _ = bytesOf.Read(sent)
	if !assertNoError(t, conn.nc.(*net.TCPConn).SetWriteBuffer(1<<(13+r.IntN(5)))) || !assertNoError(t, client.SetReadBuffer(1<<(16+r.IntN(3)))) {
		return
	}
	var reader sync.WaitGroup
	defer reader.Wait()
	pauses := rand.New(rand.NewPCG(r.Uint64(), 2))
	reader.Go(func() {
		b := make([]byte, 20_000)
		for at := 0; at < total; {
			n, err := client.Read(b[:1+pauses.IntN(len(b))])
			if !assertNoError(t, err) {
				return
			}
			if !bytes.Equal(b[:n], sent[at:at+n]) {
				t.Errorf("other bytes after %d", at)
				return
			}
			at += n
			for range pauses.IntN(50) {
				runtime.Gosched()
			}
		}
	})
	room := make(chan struct{}, 1)
	w := waiterFunc(func() { room <- struct{}{} })
	for at := 0; at < total; {
		var frames [][]byte
		for range 1 + r.IntN(8) {
			n := r.IntN(700)
			if r.IntN(20) == 0 {
				n = r.IntN(100_000)
			}
			n = min(n, total-at)
			frames = append(frames, sent[at:at+n])
			at += n
		}
		for len(frames) > 0 {
			n := conn.Offer(frames, 1, w)
			if frames = frames[n:]; len(frames) > 0 {
				<-room
			}
		}
	}
}

func assertNoError(t *testing.T, err error) bool {
	if err != nil {
		t.Error(err)
	}
	return err == nil
}

// A message to a connection that reads costs no allocation, no goroutine and no timer.
func TestWritesDoNotAllocate(t *testing.T) {
	if runtime.GOOS != "linux" {
		return
	}
	s := start(t)
	client, conn := s.connect(), s.echo().c
	frame := Compile(bytes.Repeat([]byte("m"), 300), true)
	one, several := [][]byte{frame}, [][]byte{frame, frame, frame}
	got := make([]byte, 4*len(frame))
	for name, frames := range map[string][][]byte{"one frame": one, "several": several} {
		allocations := testing.AllocsPerRun(2000, func() {
			if conn.Offer(frames, 1, nil) != len(frames) {
				t.Error("there is room")
			}
			if _, err := io.ReadFull(client.nc, got[:len(frames)*len(frame)]); err != nil {
				t.Error(err)
			}
		})
		require.Zero(t, allocations, name)
	}
	require.True(t, conn.armed.IsZero(), "no deadline was set")
}

func TestSkip(t *testing.T) {
	t.Parallel()
	frames := func() [][]byte { return [][]byte{[]byte("abc"), nil, []byte("de"), []byte("f")} }
	for n := range 7 {
		taken := taken{list: &frameList{frames: frames()}}
		require.Equal(t, n == 6, taken.skip(n), n)
		if n < 6 {
			require.Equal(t, "abcdef"[n:], string(bytes.Join(taken.list.frames, nil)))
		}
	}
}

// Frames that lie behind one another are queued as one, and no others are.
func TestAdjoiningFramesAreOne(t *testing.T) {
	t.Parallel()
	frames := [][]byte{Compile([]byte("a"), true), Compile([]byte("bb"), true), Compile([]byte("ccc"), true)}
	want, total := bytes.Join(frames, nil), 0
	for _, f := range frames {
		total += len(f)
	}
	Adjoin(frames, total)
	alone := Compile([]byte("alone"), true)
	queued := func(frames ...[]byte) [][]byte {
		l := &frameList{}
		for _, f := range frames {
			l.add(f)
		}
		require.Equal(t, len(frames), l.count)
		require.Equal(t, string(bytes.Join(frames, nil)), string(bytes.Join(l.frames, nil)))
		return l.frames
	}
	require.Equal(t, [][]byte{want}, queued(frames...))
	require.Len(t, queued(alone, frames[0], frames[1], alone, frames[2]), 4)
	require.Len(t, queued(frames[0], frames[2]), 2, "one is missing between them")
	require.Len(t, queued(frames[1], frames[0]), 2)
	require.Len(t, queued(frames[0], nil, alone, alone), 4)
	require.Equal(t, "bb", string(frames[1][2:]), "nothing was written over")
}
