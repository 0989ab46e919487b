package ws

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
)

func body(code int, reason string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...)
}

// S9: whatever a peer does wrong ends its own connection with the right code, and a connection beside it works on.
func TestWhatAPeerDoesWrong(t *testing.T) {
	t.Parallel()
	small := func(cfg *Config, _ *echo) {
		cfg.MaxMessageBytes, cfg.MaxFragments, cfg.CloseTimeout = 1000, 8, 50*time.Millisecond
	}
	big := bytes.Repeat([]byte("x"), 1001)
	for name, tc := range map[string]struct {
		send []byte
		code int
	}{
		"unmasked frame":                  {[]byte{finText, 2, 'h', 'i'}, 1002},
		"reserved bit 1":                  {frame(finText|0x40, []byte("x")), 1002},
		"reserved bit 2":                  {frame(finText|0x20, []byte("x")), 1002},
		"reserved bit 3":                  {frame(finText|0x10, []byte("x")), 1002},
		"reserved data opcode":            {frame(0x83, nil), 1002},
		"reserved control opcode":         {frame(0x8b, nil), 1002},
		"fragmented ping":                 {frame(0x09, nil), 1002},
		"ping over 125 bytes":             {frame(finPing, big[:126]), 1002},
		"close over 125 bytes":            {frame(finClose, append(body(1000, ""), big[:124]...)), 1002},
		"continuation of nothing":         {frame(0x80, []byte("x")), 1002},
		"text within a message":           {append(frame(0x01, []byte("x")), frame(finText, []byte("y"))...), 1002},
		"length with the top bit":         {[]byte{finText, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, 1002},
		"close of one byte":               {frame(finClose, []byte{3}), 1002},
		"close with code 0":               {frame(finClose, body(0, "")), 1002},
		"close with code 999":             {frame(finClose, body(999, "")), 1002},
		"close with code 1005":            {frame(finClose, body(1005, "")), 1002},
		"close with code 1006":            {frame(finClose, body(1006, "")), 1002},
		"close with a reason not UTF-8":   {frame(finClose, body(1000, "\xff")), 1002},
		"binary where text belongs":       {frame(finBinary, []byte("x")), 1003},
		"text that is not UTF-8":          {frame(finText, []byte("a\xc3")), 1007},
		"UTF-8 surrogate":                 {frame(finText, []byte("\xed\xa0\x80")), 1007},
		"fragments that are not UTF-8":    {append(frame(0x01, []byte("a\xc3")), frame(0x80, []byte("b"))...), 1007},
		"too big":                         {frame(finText, big), 1009},
		"too big, only announced":         {[]byte{finText, 0xff, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}, 1009},
		"fragments that add up too big":   {append(frame(0x01, big[:600]), frame(0x80, big[:600])...), 1009},
		"too many fragments":              {append(frame(0x01, nil), bytes.Repeat(frame(0x00, []byte("x")), 8)...), 1008},
		"endless empty fragments":         {append(frame(0x01, nil), bytes.Repeat(frame(0x00, nil), 100)...), 1008},
		"control frames between too many": {append(frame(0x01, nil), bytes.Repeat(append(frame(0x00, nil), frame(finPing, nil)...), 100)...), 1008},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, small)
			canary := s.connect()
			canary.echoes("before")
			c := s.connect()
			c.write(tc.send)
			reason := c.expectClose(tc.code)
			require.LessOrEqual(t, len(reason), 123)
			s.echo()
			s.echo().expect(t, fmt.Sprintf("closed %d", tc.code))
			canary.echoes("after")
		})
	}
}

func TestWrongKindOnABinaryConnection(t *testing.T) {
	t.Parallel()
	c := start(t).connect("Sec-WebSocket-Protocol: parley.v1.proto")
	c.write(frame(finBinary, []byte{0xff, 0xfe})) // no UTF-8, and need not be
	c.expect(finBinary, "\xff\xfe")
	c.text("x")
	c.expectClose(1003)
}

func TestMessagesOfEverySize(t *testing.T) {
	t.Parallel()
	c := start(t).connect()
	for _, n := range []int{0, 1, 125, 126, 400, 497, 498, 505, 506, 507, 511, 512, 513, 1024, 4095, 4096, 4097, 16384, 16385, 65535, 65536} {
		payload := strings.Repeat("abcdefg", n/7+1)[:n]
		c.echoes(payload)
	}
}

func TestManyMessagesInOneRead(t *testing.T) {
	t.Parallel()
	c := start(t).connect()
	var all []byte
	for i := range 500 {
		all = append(all, frame(finText, []byte(strings.Repeat("m", i%300)))...)
	}
	c.write(all)
	for i := range 500 {
		c.expect(finText, strings.Repeat("m", i%300))
	}
}

func TestOneByteAtATime(t *testing.T) {
	t.Parallel()
	c := start(t).connect()
	for _, b := range frame(finText, []byte(strings.Repeat("ü", 300))) {
		c.write([]byte{b})
	}
	c.expect(finText, strings.Repeat("ü", 300))
}

func TestFragmentsAndControlFrames(t *testing.T) {
	t.Parallel()
	c := start(t).connect()
	c.write(frame(0x01, []byte("gr\xc3"))) // a character cut in two
	c.write(frame(finPing, []byte("are you there")))
	c.expect(finPong, "are you there")
	c.write(frame(finPong, nil)) // nobody asked; allowed
	c.write(frame(0x00, []byte("\xbc\xc3\x9f")))
	c.write(frame(0x80, []byte("e")))
	c.expect(finText, "grüße")
	c.write(frame(finPing, nil))
	c.expect(finPong, "")
	long := strings.Repeat("p", 125)
	c.write(frame(finPing, []byte(long)))
	c.expect(finPong, long)
}

func TestCloseHandshake(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		send []byte
		want int
		told string
	}{
		"with a code":           {body(1000, "bye"), 1000, "closed 1000"},
		"with a private code":   {body(4999, ""), 4999, "closed 4999"},
		"with a library's code": {body(3000, ""), 3000, "closed 3000"},
		"without a code":        {nil, 0, "closed 1005"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			c := s.connect()
			c.write(frame(finText, []byte("last words")))
			c.write(frame(finClose, tc.send))
			c.expect(finText, "last words") // queued before, so sent before
			c.expectClose(tc.want)
			e := s.echo()
			e.expect(t, "message last words")
			e.expect(t, tc.told)
		})
	}
}

func TestServerClosesBehindWhatIsQueued(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.connect()
	e := s.echo()
	e.c.Send(Compile([]byte("one"), true))
	e.c.Send(Compile([]byte("two"), true))
	e.c.CloseWith(clientv1.CloseCode_CLOSE_CODE_DRAIN)
	require.False(t, e.c.Send(Compile([]byte("three"), true)))
	e.c.CloseWith(clientv1.CloseCode_CLOSE_CODE_SLOW) // the first counts
	c.expect(finText, "one")
	c.expect(finText, "two")
	c.text("not heard any more")
	require.Equal(t, "DRAIN", c.expectClose(4000))
	c.write(frame(finClose, body(4000, "")))
	e.expect(t, "closed 4000")
}

func TestPeerThatNeverClosesIsCut(t *testing.T) {
	t.Parallel()
	s := start(t, func(cfg *Config, _ *echo) { cfg.CloseTimeout = 50 * time.Millisecond })
	c := s.connect()
	e := s.echo()
	e.c.Close(1008, "go")
	c.expectClose(1008)
	e.expect(t, "closed 1008")
}

func TestSilenceBeforeTheFirstMessage(t *testing.T) {
	t.Parallel()
	s := start(t, func(_ *Config, e *echo) { e.wait = 30 * time.Millisecond })
	c := s.connect()
	f := frame(finText, []byte("late"))
	c.write(f[:3]) // half a frame is silence, too, and is not lost
	e := s.echo()
	e.expect(t, "silence")
	c.write(f[3:])
	c.expect(finText, "late")
	e.expect(t, "message late")
	c.echoes("and on")
}

func TestNoSilenceAfterAFirstMessage(t *testing.T) {
	t.Parallel()
	s := start(t, func(_ *Config, e *echo) { e.wait = time.Second })
	c := s.connect()
	c.echoes("quick")
	e := s.echo()
	e.expect(t, "message quick")
	s.connect()
	s.echo().expect(t, "silence") // it waited from a later time on
	c.echoes("still here")
	e.expect(t, "message still here")
}

func TestBytesBeforeTheHandshakeIsAnswered(t *testing.T) {
	t.Parallel()
	c := start(t).dial()
	c.write(append([]byte(goodHandshake+"\r\n"), frame(finText, []byte("early"))...))
	require.Equal(t, 101, c.response().StatusCode)
	c.expect(finText, "early")
}

func TestEndOfStreamWithoutClose(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.connect()
	require.NoError(t, c.nc.Close())
	s.echo().expect(t, "closed 0")
}

// A handler that blocks is back-pressure: the peer's bytes stay in the socket, and nobody else waits.
func TestBlockedHandlerStopsReading(t *testing.T) {
	t.Parallel()
	block := make(chan struct{})
	first := true
	s := start(t, func(_ *Config, e *echo) {
		if e.events != nil && first {
			first, e.block = false, block
		}
	})
	c := s.connect()
	s.echo()
	c.text("held")
	other := s.connect()
	other.echoes("not held")
	close(block)
	c.expect(finText, "held")
}

func TestShutdownCutsEverybody(t *testing.T) {
	t.Parallel()
	s := start(t)
	var clients []*raw
	for range 20 {
		clients = append(clients, s.connect())
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(t, s.acceptor.Shutdown(ctx))
	for _, c := range clients {
		c.expectCut()
	}
	require.Equal(t, 503, s.dial().handshake().StatusCode)
}

// Reading frames never panics and never reads on after an end, whatever the bytes.
func FuzzFrames(f *testing.F) {
	f.Add(frame(finText, []byte("hello")))
	f.Add(append(frame(0x01, []byte("a")), frame(0x80, []byte("b"))...))
	f.Add(frame(finClose, body(1000, "bye")))
	f.Add([]byte{0x81, 0xfe, 0xff, 0xff, 0, 0, 0, 0})
	f.Add([]byte{0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 5, 1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Fuzz(func(t *testing.T, data []byte) {
		s := testShared(t, Config{MaxMessageBytes: 4096, MaxFragments: 16})
		nc := &script{in: bytes.NewReader(data)}
		c := &Conn{outbox: outbox{nc: nc, s: s}, codec: jsonCodec, first: true}
		e := &echo{c: c, quiet: true, events: make(chan string, 1)}
		s.running.Add(1)
		s.active.Add(1)
		c.open = func() Handler { return e }
		c.serve()
		s.running.Wait()
		// What was answered is a sequence of whole frames.
		out := &raw{t: t, r: bufio.NewReader(&nc.out)}
		for {
			_, _, err := out.next()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
		}
	})
}

// S9: a fault in one connection's handler closes that one to resume, and others go on.
func TestFaultInAHandler(t *testing.T) {
	t.Parallel()
	s := start(t, func(_ *Config, e *echo) { e.faulty = true })
	canary := s.connect()
	canary.echoes("before")
	s.echo()
	bad := s.connect()
	e := s.echo()
	bad.echoes("fine")
	e.expect(t, "message fine")
	bad.text("fault")
	require.Equal(t, "INTERNAL", bad.expectClose(4004))
	require.NoError(t, bad.nc.Close())
	e.expect(t, "closed 4004")
	require.Eventually(t, func() bool { return s.acceptor.Active() == 1 }, patience, time.Millisecond)
	require.Len(t, s.wheel.All(), 1)
	canary.echoes("after")
}
