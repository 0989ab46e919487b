package ws

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/parley-rt/parley/libs/protocol/codec"
)

var jsonCodec = codec.JSON{}

func testShared(t testing.TB, cfg Config) *shared {
	t.Helper()
	m, err := newMetrics(noop.NewMeterProvider())
	require.NoError(t, err)
	cfg = cfg.withDefaults()
	s := &shared{cfg: cfg, backlog: cfg.Backlog, buffers: newBuffers(), lists: newFrameLists(), metrics: m, logger: slog.New(slog.DiscardHandler), wheel: NewWheel(time.Hour)}
	t.Cleanup(func() {
		s.running.Wait()
		require.Zero(t, s.backlog.Bytes(), "the backlog counts what is not there")
	})
	return s
}

// script is a peer that sends prepared bytes and takes everything.
type script struct {
	in  *bytes.Reader
	mu  sync.Mutex
	out bytes.Buffer
}

func (s *script) Read(b []byte) (int, error) { return s.in.Read(b) }
func (s *script) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(b)
}
func (s *script) Close() error                     { return nil }
func (s *script) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *script) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// gate is a peer that takes a write only when it is told to, and counts writes.
type gate struct {
	script
	open     chan struct{} // one value or the close lets writes through
	entered  chan int      // sizes of writes that began
	closed   chan struct{}
	once     sync.Once
	deadline atomic.Pointer[time.Time]
}

func newGate() *gate {
	return &gate{script: script{in: bytes.NewReader(nil)}, open: make(chan struct{}), entered: make(chan int, 1000), closed: make(chan struct{})}
}

func (g *gate) Write(b []byte) (int, error) {
	g.entered <- len(b)
	var timeout <-chan time.Time
	if d := g.deadline.Load(); d != nil && !d.IsZero() {
		timeout = time.After(time.Until(*d))
	}
	select {
	case <-g.open:
		return g.script.Write(b)
	case <-g.closed:
		return 0, net.ErrClosed
	case <-timeout:
		return 0, os.ErrDeadlineExceeded
	}
}

func (g *gate) SetWriteDeadline(t time.Time) error {
	g.deadline.Store(&t)
	return nil
}

func (g *gate) Close() error {
	g.once.Do(func() { close(g.closed) })
	return nil
}

func (g *gate) written() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.out.String()
}

type waiterFunc func()

func (f waiterFunc) Drained() { f() }

func TestEverythingQueuedLeavesInOneWrite(t *testing.T) {
	t.Parallel()
	g := newGate()
	o := &outbox{nc: g, s: testShared(t, Config{})}
	require.True(t, o.Send([]byte("first ")))
	require.Equal(t, 6, <-g.entered)
	want := "first "
	for i := range 100 {
		f := strconv.Itoa(i) + " "
		want += f
		require.True(t, o.Send([]byte(f)))
	}
	require.True(t, o.SendAll([][]byte{[]byte("a "), []byte("b")}))
	want += "a b"
	close(g.open)
	o.s.running.Wait()
	require.Equal(t, want, g.written())
	require.Len(t, g.entered, 1, "101 queued frames are one write")
	require.False(t, o.busy, "no goroutine is left")
	require.Nil(t, o.list, "no queue is left")
}

func TestLargeFramesAndOrder(t *testing.T) {
	t.Parallel()
	g := newGate()
	o := &outbox{nc: g, s: testShared(t, Config{OutboxBytes: 10 << 20})}
	var want bytes.Buffer
	o.Send([]byte("go"))
	want.WriteString("go")
	<-g.entered
	for i, n := range []int{10, 70_000, 20_000, 1, 65_536, 64_000, 3_000, 200_000, 16_384, 5} {
		f := bytes.Repeat([]byte{byte('a' + i)}, n)
		want.Write(f)
		require.True(t, o.Send(f))
	}
	close(g.open)
	o.s.running.Wait()
	require.Equal(t, want.String(), g.written())
}

// S9: a connection that does not take what is written is closed with 4001 once more than its share waits, with what it
// was owed dropped.
func TestOverflowClosesSlow(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		stall time.Duration
		sent  int
	}{
		"stalled":     {time.Nanosecond, 11},
		"not stalled": {time.Hour, 41},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGate()
			o := &outbox{nc: g, s: testShared(t, Config{OutboxBytes: 1000, StallTimeout: c.stall})}
			frame := bytes.Repeat([]byte("x"), 100)
			require.True(t, o.Send(frame))
			<-g.entered // being written does not count
			sent := 0
			for o.Send(frame) {
				sent++
			}
			require.Equal(t, c.sent, sent, "up to the limit and one frame over it")
			require.False(t, o.Send(frame))
			require.True(t, o.Closing())
			close(g.open)
			o.s.running.Wait()
			require.Equal(t, string(frame)+string(closeFrame(4001, "SLOW")), g.written())
			require.Equal(t, 4001, o.code)
		})
	}
}

// tcpPair returns both ends of a real connection.
func tcpPair(t *testing.T) (server, client net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	client, err = net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	server, err = l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = server.Close()
		_ = client.Close()
	})
	return server, client
}

// Bursts larger than the outbox say nothing about a peer that reads as fast as it can: whether the flusher ran between
// two of them is the scheduler's affair.
func TestBurstsDoNotCloseAFastReader(t *testing.T) {
	t.Parallel()
	server, client := tcpPair(t)
	o := &outbox{nc: server, s: testShared(t, Config{})}
	got := make(chan int64)
	go func() {
		n, _ := io.Copy(io.Discard, client)
		got <- n
	}()
	burst := [][]byte{bytes.Repeat([]byte("x"), 135_000), bytes.Repeat([]byte("y"), 135_000)}
	const rounds = 20
	sent := int64(0)
	for range rounds {
		for range 2 {
			require.True(t, o.SendAll(burst), "a fast reader was taken for a slow one")
			require.True(t, o.Send(pingFrame))
			sent += 270_000 + int64(len(pingFrame))
		}
		o.waitFlushed()
	}
	room := make(chan struct{}, 1)
	w := waiterFunc(func() { room <- struct{}{} })
	for rest := slices.Repeat(burst, 20); len(rest) > 0; {
		n := o.Offer(rest, 1, w)
		for _, f := range rest[:n] {
			sent += int64(len(f))
		}
		if rest = rest[n:]; len(rest) > 0 {
			<-room
		}
	}
	require.False(t, o.Closing())
	o.waitFlushed()
	o.kill()
	require.Equal(t, sent, <-got)
	o.s.running.Wait()
}

// A peer that reads nothing is closed by the deadline although nothing is forced on it, and still reads why when it
// comes back in time.
func TestDeadlineTellsASlowPeer(t *testing.T) {
	t.Parallel()
	server, client := tcpPair(t)
	o := &outbox{nc: server, s: testShared(t, Config{WriteTimeout: 50 * time.Millisecond, CloseTimeout: patience})}
	offered := 0
	room := make(chan struct{}, 1)
	frame := bytes.Repeat([]byte("x"), 60_000)
	for !o.Closing() {
		if o.Offer([][]byte{frame}, 3, waiterFunc(func() { room <- struct{}{} })) == 1 {
			offered++
			continue
		}
		select {
		case <-room:
		case <-time.After(200 * time.Millisecond): // then it may be closing, which nobody is told
		}
	}
	got, err := io.ReadAll(client)
	require.NoError(t, err)
	want := closeFrame(4001, "SLOW")
	require.Equal(t, want, got[len(got)-len(want):])
	require.Zero(t, (len(got)-len(want))%len(frame), "the frame that was under way is finished")
	require.Less(t, (len(got)-len(want))/len(frame), offered, "what waited is dropped")
	o.kill()
	o.s.running.Wait()
}

// A peer that takes nothing at all is cut after CloseTimeout, not after the whole WriteTimeout.
func TestOverflowOfADeadPeer(t *testing.T) {
	t.Parallel()
	server, client := net.Pipe()
	defer func() { _ = client.Close() }()
	o := &outbox{nc: server, s: testShared(t, Config{OutboxBytes: 10, CloseTimeout: 20 * time.Millisecond, WriteTimeout: time.Hour})}
	for o.Send([]byte("0123456789")) {
	}
	o.s.running.Wait()
	require.True(t, o.dead)
	require.Equal(t, 4001, o.code)
}

func TestWriteDeadlineCuts(t *testing.T) {
	t.Parallel()
	server, client := net.Pipe()
	defer func() { _ = client.Close() }()
	o := &outbox{nc: server, s: testShared(t, Config{WriteTimeout: 20 * time.Millisecond, CloseTimeout: 20 * time.Millisecond})}
	require.True(t, o.Send([]byte("never read")))
	o.s.running.Wait()
	require.False(t, o.Send([]byte("more")))
	require.Equal(t, 4001, o.code)
	_, err := client.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
}

// A replay is paced by what the client reads and never overflows; live frames beside it have their own share.
func TestOfferIsPaced(t *testing.T) {
	t.Parallel()
	g := newGate()
	o := &outbox{nc: g, s: testShared(t, Config{OutboxBytes: 1000})}
	o.Send([]byte("busy"))
	<-g.entered
	frames := make([][]byte, 30)
	var want bytes.Buffer
	want.WriteString("busy")
	for i := range frames {
		frames[i] = bytes.Repeat([]byte{byte('a' + i)}, 100)
		want.Write(frames[i])
	}
	drained := make(chan struct{}, 1)
	w := waiterFunc(func() { drained <- struct{}{} })
	pos := o.Offer(frames, 2, w)
	require.Equal(t, 5, pos, "half of the outbox")
	require.True(t, o.Send(nil), "what was offered does not count against what is sent")
	require.False(t, o.HasRoom(waiterFunc(func() {})))
	close(g.open)
	for pos < len(frames) {
		<-drained
		pos += o.Offer(frames[pos:], 2, w)
	}
	o.s.running.Wait()
	require.Equal(t, want.String(), g.written())
	require.True(t, o.HasRoom(nil))
	require.True(t, o.HasRoom(nil), "and keeps it")
	require.Equal(t, int64(PageBytes), o.s.backlog.Bytes())
	o.GiveRoom()
	o.GiveRoom()
}

func TestOfferOnAClosedConnection(t *testing.T) {
	t.Parallel()
	g := newGate()
	close(g.open)
	o := &outbox{nc: g, s: testShared(t, Config{})}
	o.Close(4000, "DRAIN")
	require.Zero(t, o.Offer([][]byte{[]byte("x")}, 1, waiterFunc(func() { require.Fail(t, "told of room on a closed connection") })))
	require.False(t, o.SendPaced([]byte("x")))
	require.True(t, o.HasRoom(nil), "nobody needs to wait for a closed connection")
	o.s.running.Wait()
}

// S9: a fault in whoever waits for room cuts that connection; nothing is left behind.
func TestFaultInAWaiter(t *testing.T) {
	t.Parallel()
	g := newGate()
	o := &outbox{nc: g, s: testShared(t, Config{OutboxBytes: 10})}
	o.Send([]byte("busy"))
	<-g.entered
	require.Equal(t, 1, o.Offer([][]byte{[]byte("0123456789"), nil}, 1, waiterFunc(func() { panic("as if") })))
	close(g.open)
	o.waitFlushed()
	o.s.running.Wait()
	require.True(t, o.Closing())
	require.Equal(t, "busy", g.written())
	<-g.closed
}

func TestSendDuringKill(t *testing.T) {
	t.Parallel()
	for range 50 {
		server, client := net.Pipe()
		o := &outbox{nc: server, s: testShared(t, Config{})}
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for range 50 {
					o.Send([]byte("x"))
				}
			})
		}
		all.Go(o.kill)
		all.Go(func() { _, _ = io.Copy(io.Discard, client) })
		all.Wait()
		o.s.running.Wait()
		require.False(t, o.Send([]byte("x")))
		_ = client.Close()
	}
}

func TestCompile(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 125, 126, 0xffff, 0x10000} {
		payload := bytes.Repeat([]byte("p"), n)
		for _, text := range []bool{true, false} {
			r := &raw{t: t, r: newReader(Compile(payload, text))}
			first := byte(finBinary)
			if text {
				first = finText
			}
			r.expect(first, string(payload))
			_, err := r.r.ReadByte()
			require.ErrorIs(t, err, io.EOF)
		}
	}
}

func BenchmarkSend(b *testing.B) {
	g := newGate()
	close(g.open)
	go func() {
		for range g.entered {
		}
	}()
	o := &outbox{nc: g, s: testShared(b, Config{OutboxBytes: 1 << 30})}
	frame := Compile(bytes.Repeat([]byte("x"), 300), true)
	b.ReportAllocs()
	for b.Loop() {
		o.Send(frame)
	}
	o.s.running.Wait()
	close(g.entered)
}

func newReader(b []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(b)) }
