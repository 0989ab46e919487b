package ws

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric/noop"
)

// patience bounds every wait of these tests.
const patience = 10 * time.Second

// echo answers every message with itself, in the same kind, and records what else it is told.
type echo struct {
	c      *Conn
	wait   time.Duration
	block  chan struct{} // unless nil, Message waits for it
	quiet  bool          // no answers
	faulty bool          // Closed panics
	hints  bool          // whether more comes is an event, too
	events chan string
}

func (e *echo) Opened() time.Duration { return e.wait }

func (e *echo) Message(p []byte, more bool) {
	if string(p) == "fault" {
		panic("as if")
	}
	if e.block != nil {
		<-e.block
	}
	if !e.quiet {
		e.c.Send(Compile(p, e.c.Codec().Text()))
	}
	if more && e.hints {
		e.event("message " + string(p) + ", and more")
		return
	}
	e.event("message " + string(p))
}

func (e *echo) Rest() {
	if e.hints {
		e.event("rest")
	}
}

func (e *echo) Silence() { e.event("silence") }

func (e *echo) Closed(code int) {
	e.event(fmt.Sprintf("closed %d", code))
	if e.faulty {
		panic("as if")
	}
}

func (e *echo) event(s string) {
	select {
	case e.events <- s:
	default: // nobody asked for so many
	}
}

// server is an Acceptor on a real socket.
type server struct {
	t        testing.TB
	acceptor *Acceptor
	wheel    *Wheel
	http     *httptest.Server
	opened   chan *echo
	busy     atomic.Int64 // how long newcomers are sent away for; 0: they are let in
}

type option func(cfg *Config, e *echo)

func start(t testing.TB, options ...option) *server {
	t.Helper()
	var cfg Config
	for _, o := range options {
		o(&cfg, &echo{})
	}
	s := &server{t: t, wheel: NewWheel(time.Hour), opened: make(chan *echo, 1000)}
	var err error
	s.acceptor, err = NewAcceptor(cfg, s.wheel, noop.NewMeterProvider(), slog.New(slog.DiscardHandler), s.admit, func(c *Conn, _ *http.Request) Handler {
		e := &echo{c: c, events: make(chan string, 1000)}
		for _, o := range options {
			o(&Config{}, e)
		}
		s.opened <- e
		return e
	})
	require.NoError(t, err)
	s.http = httptest.NewUnstartedServer(s.acceptor)
	s.http.Config.ReadHeaderTimeout = 200 * time.Millisecond
	s.http.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, s.acceptor.Shutdown(ctx))
		s.http.Close()
		require.Zero(t, s.acceptor.Active())
		require.Zero(t, s.acceptor.s.backlog.Bytes())
	})
	return s
}

func (s *server) admit(*http.Request) (time.Duration, bool) {
	after := time.Duration(s.busy.Load())
	return after, after == 0
}

func (s *server) addr() string { return s.http.Listener.Addr().String() }

// echo returns the handler of the connection opened longest ago that was not asked for yet.
func (s *server) echo() *echo {
	s.t.Helper()
	select {
	case e := <-s.opened:
		return e
	case <-time.After(patience):
		require.FailNow(s.t, "no connection was opened")
		return nil
	}
}

func (e *echo) expect(t testing.TB, want string) {
	t.Helper()
	select {
	case got := <-e.events:
		require.Equal(t, want, got)
	case <-time.After(patience):
		require.FailNow(t, "event did not come", want)
	}
}

// raw is a client made by hand, so that it can do everything wrong.
type raw struct {
	t  testing.TB
	nc net.Conn
	r  *bufio.Reader
}

func (s *server) dial() *raw {
	s.t.Helper()
	nc, err := net.Dial("tcp", s.addr())
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = nc.Close() })
	require.NoError(s.t, nc.SetDeadline(time.Now().Add(patience)))
	return &raw{t: s.t, nc: nc, r: bufio.NewReader(nc)}
}

const goodHandshake = "GET /ws HTTP/1.1\r\nHost: chat.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

func (s *server) connect(headers ...string) *raw {
	s.t.Helper()
	c := s.dial()
	res := c.handshake(headers...)
	require.Equal(s.t, http.StatusSwitchingProtocols, res.StatusCode)
	require.Equal(s.t, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", res.Header.Get("Sec-WebSocket-Accept"))
	return c
}

func (c *raw) handshake(headers ...string) *http.Response {
	c.t.Helper()
	c.write([]byte(goodHandshake + strings.Join(append(headers, ""), "\r\n") + "\r\n"))
	return c.response()
}

func (c *raw) response() *http.Response {
	c.t.Helper()
	res, err := http.ReadResponse(c.r, nil)
	require.NoError(c.t, err)
	if res.StatusCode != http.StatusSwitchingProtocols {
		_, err = io.Copy(io.Discard, res.Body)
		require.NoError(c.t, err)
		require.NoError(c.t, res.Body.Close())
	}
	return res
}

func (c *raw) write(b []byte) {
	c.t.Helper()
	_, err := c.nc.Write(b)
	require.NoError(c.t, err)
}

// frame builds a masked client frame.
func frame(first byte, payload []byte) []byte {
	b := []byte{first, 0x80}
	switch n := len(payload); {
	case n < 126:
		b[1] |= byte(n)
	case n <= 0xffff:
		b[1] |= 126
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b[1] |= 127
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	mask := [4]byte{0x12, 0x34, 0x56, 0x78}
	b = append(b, mask[:]...)
	for i, x := range payload {
		b = append(b, x^mask[i%4])
	}
	return b
}

func (c *raw) text(s string) { c.write(frame(finText, []byte(s))) }

// next reads one server frame.
func (c *raw) next() (first byte, payload []byte, err error) {
	var h [2]byte
	if _, err := io.ReadFull(c.r, h[:]); err != nil {
		return 0, nil, err
	}
	if h[1]&0x80 != 0 {
		return 0, nil, errors.New("server frame is masked")
	}
	n := uint64(h[1])
	switch n {
	case 126:
		var b [2]byte
		_, err = io.ReadFull(c.r, b[:])
		n = uint64(binary.BigEndian.Uint16(b[:]))
	case 127:
		var b [8]byte
		_, err = io.ReadFull(c.r, b[:])
		n = binary.BigEndian.Uint64(b[:])
	}
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(c.r, payload)
	return h[0], payload, err
}

func (c *raw) expect(first byte, payload string) {
	c.t.Helper()
	gotFirst, got, err := c.next()
	require.NoError(c.t, err)
	require.Equal(c.t, first, gotFirst)
	require.Equal(c.t, payload, string(got))
}

// expectClose reads until the close frame and then the end of the stream.
func (c *raw) expectClose(code int) (reason string) {
	c.t.Helper()
	for {
		first, payload, err := c.next()
		require.NoError(c.t, err, "the connection ended without a close frame")
		if first != finClose {
			continue
		}
		if code == 0 {
			require.Empty(c.t, payload)
		} else {
			require.GreaterOrEqual(c.t, len(payload), 2)
			require.Equal(c.t, code, int(binary.BigEndian.Uint16(payload)))
			reason = string(payload[2:])
		}
		break
	}
	_, err := c.r.ReadByte()
	require.ErrorIs(c.t, err, io.EOF, "after its close frame the server sends nothing and ends")
	return reason
}

// expectCut reads until the stream ends, however.
func (c *raw) expectCut() {
	c.t.Helper()
	_, err := io.Copy(io.Discard, c.r)
	var timeout net.Error
	require.False(c.t, errors.As(err, &timeout) && timeout.Timeout(), "the connection was not cut")
}

func (c *raw) echoes(s string) {
	c.t.Helper()
	c.text(s)
	c.expect(finText, s)
}
