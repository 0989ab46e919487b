package hostile

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience bounds every wait for something that must come.
const patience = 20 * time.Second

// First bytes of frames.
const (
	cont      = 0x00
	text      = 0x01
	binaryOp  = 0x02
	fin       = 0x80
	finText   = 0x81
	finBinary = 0x82
	finClose  = 0x88
	finPing   = 0x89
	finPong   = 0x8a
)

// raw is a client made by hand, so that it can do everything wrong.
type raw struct {
	tb testing.TB
	nc net.Conn
	r  *bufio.Reader
}

// dial opens a socket to host:port and says nothing.
func dial(tb testing.TB, addr string) *raw {
	tb.Helper()
	nc, err := (&net.Dialer{Timeout: patience}).DialContext(tb.Context(), "tcp", addr)
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = nc.Close() })
	require.NoError(tb, nc.SetDeadline(time.Now().Add(patience)))
	return &raw{tb: tb, nc: nc, r: bufio.NewReader(nc)}
}

// goodHandshake lacks the empty line at its end.
const goodHandshake = "GET /ws HTTP/1.1\r\nHost: chat.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// connect opens a WebSocket.
func connect(tb testing.TB, addr string, headers ...string) *raw {
	tb.Helper()
	c := dial(tb, addr)
	c.write([]byte(goodHandshake + strings.Join(append(headers, ""), "\r\n") + "\r\n"))
	res := c.response()
	require.Equal(tb, http.StatusSwitchingProtocols, res.StatusCode)
	require.Equal(tb, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", res.Header.Get("Sec-WebSocket-Accept"))
	return c
}

func (c *raw) response() *http.Response {
	c.tb.Helper()
	res, err := http.ReadResponse(c.r, nil)
	require.NoError(c.tb, err)
	if res.StatusCode != http.StatusSwitchingProtocols {
		_, err = io.Copy(io.Discard, res.Body)
		require.NoError(c.tb, err)
		require.NoError(c.tb, res.Body.Close())
	}
	return res
}

// write sends bytes. The server may have ended the connection already, because of what came before.
func (c *raw) write(b []byte) { _, _ = c.nc.Write(b) }

// frame builds a masked client frame.
func frame(first byte, payload string) []byte {
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
	return masked(b, payload)
}

// masked appends a mask and the masked payload to a frame's header.
func masked(header []byte, payload string) []byte {
	mask := [4]byte{0x12, 0x34, 0x56, 0x78}
	b := append(header, mask[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i%4])
	}
	return b
}

// join concatenates frames.
func join(frames ...[]byte) []byte {
	var all []byte
	for _, f := range frames {
		all = append(all, f...)
	}
	return all
}

// closeFrame is a client's.
func closeFrame(code uint16, reason string) []byte {
	return frame(finClose, string(binary.BigEndian.AppendUint16(nil, code))+reason)
}

// next reads one server frame, which must be unmasked, whole, without reserved bits and of minimal length.
func (c *raw) next() (first byte, payload []byte, err error) {
	var h [2]byte
	if _, err := io.ReadFull(c.r, h[:]); err != nil {
		return 0, nil, err
	}
	n, least := uint64(h[1]), uint64(0)
	switch n {
	case 126:
		var b [2]byte
		_, err = io.ReadFull(c.r, b[:])
		n, least = uint64(binary.BigEndian.Uint16(b[:])), 126
	case 127:
		var b [8]byte
		_, err = io.ReadFull(c.r, b[:])
		n, least = binary.BigEndian.Uint64(b[:]), 1<<16
	}
	switch {
	case err != nil:
		return 0, nil, err
	case h[1]&0x80 != 0, h[0]&0xf0 != fin, n < least, n > 8<<20:
		return 0, nil, fmt.Errorf("the server sent a frame that begins with %x, of %d bytes", h, n)
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(c.r, payload)
	return h[0], payload, err
}

// envelope is a received text frame: its kind and its body.
type envelope struct {
	id   uint32
	kind string
	body map[string]any
}

func (e envelope) string(field string) string { s, _ := e.body[field].(string); return s }

func (e envelope) uint(field string) (n uint64) {
	_, _ = fmt.Sscan(e.string(field), &n)
	return n
}

func parse(payload []byte) (e envelope, err error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(payload, &members); err != nil {
		return e, fmt.Errorf("frame %q: %w", payload, err)
	}
	for name, value := range members {
		if name == "id" {
			err = json.Unmarshal(value, &e.id)
		} else {
			e.kind = name
			err = json.Unmarshal(value, &e.body)
		}
		if err != nil {
			return e, fmt.Errorf("frame %q: %w", payload, err)
		}
	}
	return e, nil
}

// receive returns the next text frame, over pings, pongs and session.
func (c *raw) receive() (envelope, error) {
	for {
		first, payload, err := c.next()
		switch {
		case err != nil:
			return envelope{}, err
		case first == finClose:
			return envelope{}, closedError(payload)
		case first != finText:
			continue
		}
		e, err := parse(payload)
		if err != nil || e.kind != "session" {
			return e, err
		}
	}
}

// closedError is what a close frame says.
type closedError []byte

func (e closedError) Error() string { return fmt.Sprintf("closed with %d %s", e.code(), e.reason()) }

// code is 0 when there is none.
func (e closedError) code() int {
	if len(e) < 2 {
		return 0
	}
	return int(binary.BigEndian.Uint16(e))
}

func (e closedError) reason() string { return string(e[min(2, len(e)):]) }

// send writes one text message.
func (c *raw) send(format string, args ...any) { c.write(frame(finText, fmt.Sprintf(format, args...))) }

// expect returns the next text frame, which must be of that kind.
func (c *raw) expect(kind string) envelope {
	c.tb.Helper()
	e, err := c.receive()
	require.NoError(c.tb, err, "while waiting for %s", kind)
	require.Equal(c.tb, kind, e.kind, "%v", e.body)
	return e
}

// works requires that the connection still answers.
func (c *raw) works() {
	c.tb.Helper()
	c.send(`{"id":77,"ping":{}}`)
	require.Equal(c.tb, uint32(77), c.expect("pong").id)
}

// expectPong requires the answer to a ping frame.
func (c *raw) expectPong(payload string) {
	c.tb.Helper()
	for {
		first, got, err := c.next()
		require.NoError(c.tb, err)
		if first == finText || first == finPing { // session, and the server's own liveness check
			continue
		}
		require.Equal(c.tb, byte(finPong), first)
		require.Equal(c.tb, payload, string(got))
		return
	}
}

// expectClose reads until the close frame and then the end of the stream, and returns the reason.
func (c *raw) expectClose(code int) string {
	c.tb.Helper()
	for {
		e, err := c.receive()
		if err == nil {
			require.Contains(c.tb, []string{"error", "pong"}, e.kind, "nothing else than answers comes before the close frame: %v", e.body)
			continue
		}
		var closed closedError
		require.ErrorAs(c.tb, err, &closed, "the connection ended without a close frame")
		require.Equal(c.tb, code, closed.code(), closed.reason())
		require.LessOrEqual(c.tb, len(closed), 125)
		_, err = c.r.ReadByte()
		require.ErrorIs(c.tb, err, io.EOF, "after its close frame the server sends nothing and ends")
		return closed.reason()
	}
}

// expectCut reads until the stream ends, however, and says what came.
func (c *raw) expectCut() []byte {
	c.tb.Helper()
	all, err := io.ReadAll(c.r)
	var timeout net.Error
	require.False(c.tb, errors.As(err, &timeout) && timeout.Timeout(), "the connection was not cut")
	return all
}
