package ws

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// registered is how many connections the loop has.
func (s *server) registered() int {
	l := s.acceptor.s.loop
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.slots) - len(l.free)
}

// needsLoop is for what only the loop promises.
func (s *server) needsLoop() {
	s.t.Helper()
	if runtime.GOOS != "linux" {
		require.Nil(s.t, s.acceptor.s.loop)
		return
	}
	require.NotNil(s.t, s.acceptor.s.loop)
}

// Whatever way frames are cut up on their way, the messages are the same, and nothing is kept between them.
func TestFramesByteByByte(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.connect()
	e := s.echo()
	long := bytes.Repeat([]byte("ä"), 700)
	var sent []byte
	for _, f := range [][]byte{
		frame(finText, []byte("short")), frame(0x01, []byte("in ")), frame(finPing, []byte("?")), frame(0x80, []byte("parts")), frame(finText, long),
	} {
		sent = append(sent, f...)
	}
	for i := range sent {
		c.write(sent[i : i+1])
		if i%64 == 0 {
			runtime.Gosched()
		}
	}
	c.expect(finText, "short")
	c.expect(finPong, "?")
	c.expect(finText, "in parts")
	c.expect(finText, string(long))
	for _, n := range []int{1, 2, 3, 7, 500, 513} { // again, in larger pieces
		for rest := sent; len(rest) > 0; {
			k := min(n, len(rest))
			c.write(rest[:k])
			rest = rest[k:]
		}
		c.expect(finText, "short")
		c.expect(finPong, "?")
		c.expect(finText, "in parts")
		c.expect(finText, string(long))
	}
	require.Eventually(t, func() bool { return s.idle(e.c) }, patience, time.Millisecond)
}

// The handler is told whether more comes at once, and when that has not arrived.
func TestHandlersHearWhetherMoreComes(t *testing.T) {
	t.Parallel()
	s := start(t, func(_ *Config, e *echo) { e.hints = true })
	c := s.connect()
	e := s.echo()
	three := slices.Concat(frame(finText, []byte("a")), frame(finText, []byte("b")), frame(finText, []byte("c")))
	c.write(three)
	for _, want := range []string{"message a, and more", "message b, and more", "message c"} {
		e.expect(t, want)
	}
	c.write(three[:len(three)-1])
	for _, want := range []string{"message a, and more", "message b, and more", "rest"} {
		e.expect(t, want)
	}
	c.write(three[len(three)-1:])
	e.expect(t, "message c")
	c.write(append(frame(finText, []byte("d")), frame(finPing, nil)...))
	e.expect(t, "message d, and more")
	e.expect(t, "rest")
	c.write(append(frame(finText, []byte("e")), frame(finClose, body(1000, ""))...))
	e.expect(t, "message e, and more")
	e.expect(t, "rest") // what was handed over is not held back by a close frame
	e.expect(t, "closed 1000")
}

// idle says that a connection waits in the loop and holds no buffer.
func (s *server) idle(c *Conn) bool {
	return c.turns == nil || c.turns.state.CompareAndSwap(turnIdle, turnTaken) && func() bool {
		none := c.buf == nil && c.part == nil && c.partial == 0
		c.turns.state.Store(turnIdle)
		return none
	}()
}

// Silent connections have no goroutine, whether over TLS or not.
func TestIdleConnectionsHaveNoGoroutines(t *testing.T) {
	for name, secure := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			if runtime.GOOS != "linux" {
				return // the promise is made for Linux
			}
			s := start(t)
			connect := func() *raw { return s.connect() }
			if secure {
				connect = s.secured()
			}
			const n = 200
			clients := make([]*raw, n)
			for i := range clients {
				clients[i] = connect()
				clients[i].echoes("hi")
			}
			s.needsLoop()
			require.Equal(t, n, s.registered())
			require.Eventually(t, func() bool { return runtime.NumGoroutine() < n }, patience, 10*time.Millisecond)
			for _, c := range clients { // they are there, in any order and size
				c.echoes("again")
			}
			big := string(bytes.Repeat([]byte("x"), 60_000))
			clients[0].echoes(big)
			for _, c := range clients {
				require.NoError(t, c.nc.Close())
			}
			require.Eventually(t, func() bool { return s.registered() == 0 }, patience, time.Millisecond)
		})
	}
}

// secured serves the acceptor over TLS as well and returns what connects there.
func (s *server) secured() func() *raw {
	s.t.Helper()
	server := httptest.NewUnstartedServer(s.acceptor)
	server.Listener = Listen(server.Listener)
	server.StartTLS()
	s.t.Cleanup(server.Close)
	return func() *raw {
		dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
		nc, err := dialer.DialContext(s.t.Context(), "tcp", server.Listener.Addr().String())
		require.NoError(s.t, err)
		s.t.Cleanup(func() { _ = nc.Close() })
		require.NoError(s.t, nc.SetDeadline(time.Now().Add(patience)))
		c := &raw{t: s.t, nc: nc, r: bufio.NewReader(nc)}
		require.Equal(s.t, http.StatusSwitchingProtocols, c.handshake().StatusCode)
		return c
	}
}

// 1,000 connections end at once, half of them by the peer and half by us; none stays registered, and descriptors that were theirs
// serve newcomers, who hear nothing of what came before.
func TestManyCloseAtOnce(t *testing.T) {
	s := start(t, func(cfg *Config, _ *echo) { cfg.CloseTimeout = time.Minute })
	const n = 1000
	clients, echoes := make([]*raw, n), make([]*echo, n)
	for i := range clients {
		clients[i] = s.connect()
		echoes[i] = s.echo()
	}
	s.needsLoop()
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			switch i % 4 {
			case 0:
				_ = clients[i].nc.Close()
			case 1:
				echoes[i].c.Kill()
			case 2: // a peer that goes in the middle of a frame
				_, _ = clients[i].nc.Write(frame(finText, []byte("half"))[:7])
				_ = clients[i].nc.(*net.TCPConn).SetLinger(0) //nolint:forcetypeassert // it is one
				_ = clients[i].nc.Close()
			case 3: // both
				all.Go(echoes[i].c.Kill)
				_ = clients[i].nc.Close()
			}
		})
	}
	all.Wait()
	for _, e := range echoes {
		e.expect(t, "closed 0")
	}
	require.Eventually(t, func() bool { return s.acceptor.Active() == 0 }, patience, time.Millisecond)
	for range 20 {
		c := s.connect()
		e := s.echo()
		c.echoes("new")
		e.expect(t, "message new")
		require.Empty(t, e.events)
	}
	if s.acceptor.s.loop != nil {
		require.Equal(t, 20, s.registered())
	}
}

// A peer that ends its direction and reads on gets what it is owed, and the connection ends.
func TestHalfClosedPeer(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.connect()
	e := s.echo()
	c.text("last words")
	require.NoError(t, c.nc.(*net.TCPConn).CloseWrite()) //nolint:forcetypeassert // it is one
	e.expect(t, "message last words")
	e.expect(t, "closed 0")
	_, _ = io.Copy(io.Discard, c.r)
}

// While a handler blocks, its socket is not read, nothing else waits, and a kill ends the connection once the handler is back.
func TestKillWhileTheHandlerBlocks(t *testing.T) {
	t.Parallel()
	block := make(chan struct{})
	s := start(t, func(_ *Config, e *echo) { e.block, e.quiet = block, true })
	var blocked []*echo
	for range 2 * maxIdle { // more than workers are kept
		c := s.connect()
		c.text("one")
		c.text("two")
		blocked = append(blocked, s.echo())
	}
	other := s.connect()
	e := s.echo()
	require.NoError(t, other.nc.Close())
	e.expect(t, "closed 0")
	for _, b := range blocked {
		b.c.Kill()
		b.c.Kill()
		require.Empty(t, b.events, "its handler is not called by two at once")
	}
	close(block)
	for _, b := range blocked {
		b.expect(t, "message one")
		for ev := range b.events { // the second one was read already, or not
			if ev == "closed 0" {
				break
			}
			require.Equal(t, "message two", ev)
		}
	}
}

// One that always sends does not keep others from being heard.
func TestOneThatAlwaysSends(t *testing.T) {
	t.Parallel()
	s := start(t, func(_ *Config, e *echo) { e.quiet = true })
	busy := s.connect()
	noise := s.echo()
	stop := make(chan struct{})
	var sending sync.WaitGroup
	flood := bytes.Repeat(frame(finText, []byte("noise")), 1000)
	sending.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := busy.nc.Write(flood); err != nil {
					return
				}
			}
		}
	})
	for range 20 {
		c := s.connect()
		e := s.echo()
		c.text("hello")
		e.expect(t, "message hello")
		require.NoError(t, c.nc.Close())
		e.expect(t, "closed 0")
	}
	close(stop)
	sending.Wait()
	require.NotEmpty(t, noise.events)
}

// Each first message has a deadline of its own, in one heap for all.
func TestDeadlinesOfMany(t *testing.T) {
	t.Parallel()
	waits := []time.Duration{80 * time.Millisecond, 20 * time.Millisecond, time.Hour, 50 * time.Millisecond}
	next := make(chan time.Duration, len(waits))
	s := start(t, func(_ *Config, e *echo) {
		if e.c != nil {
			e.wait = <-next
		}
	})
	var echoes []*echo
	var clients []*raw
	for _, w := range waits {
		next <- w
		clients = append(clients, s.connect())
		echoes = append(echoes, s.echo())
	}
	for _, i := range []int{1, 3, 0} {
		echoes[i].expect(t, "silence")
		clients[i].echoes("late")
	}
	require.Empty(t, echoes[2].events)
	clients[2].echoes("in time")
	echoes[2].expect(t, "message in time")
}
