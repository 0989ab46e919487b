package ws

import (
	"encoding/binary"
	"errors"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codes"
	"github.com/parley-rt/parley/libs/ratelimit"
)

// failure is what the peer did wrong, as the close frame says it.
type failure struct {
	code   int
	reason string
}

var (
	errSocket = errors.New("socket ended")   // nothing can be told to the peer
	errMore   = errors.New("more is needed") // than has arrived

	failUTF8      = &failure{codes.CloseInvalidPayload, "text is not UTF-8"}
	failKind      = &failure{codes.CloseUnsupportedData, "wrong kind of message for this subprotocol"}
	failTooBig    = &failure{codes.CloseTooBig, "message too big"}
	failFragments = &failure{codes.ClosePolicyViolation, "too many fragments"}
	failMemory    = &failure{int(clientv1.CloseCode_CLOSE_CODE_OVERLOADED), codes.CloseName(clientv1.CloseCode_CLOSE_CODE_OVERLOADED)}
	failLength    = &failure{codes.CloseProtocolError, "bad frame length"}
	failControls  = &failure{int(clientv1.CloseCode_CLOSE_CODE_ABUSE), "too many pings or pongs"}
)

// input is what arrived and is not a whole message yet. A connection between two messages has none.
type input struct {
	buf *buffer // nil: nothing is left of what was read
	at  int     // what was consumed of it

	head    ws.Header // of the frame whose payload is awaited
	payload bool      // it is

	part      *buffer // of the fragmented message that is being read
	fragments int
	text      utf8Prefix
	controls  ratelimit.Meter // pings and pongs
	// partial is what the buffers of an unfinished message hold, in the backlog; since is when it began, in Unix nanoseconds, 0:
	// there is none.
	partial int
	since   atomic.Int64
}

// rest is what was read and not consumed.
func (in *input) rest() []byte {
	if in.buf == nil {
		return nil
	}
	return in.buf.b[in.at:]
}

// frames handles all frames that have arrived. The error is errMore; errSocket: the peer closed.
func (c *Conn) frames() (*failure, error) {
	for {
		if !c.payload {
			if fail, err := c.header(); fail != nil || err != nil {
				return fail, err
			}
		}
		n := int(c.head.Length)
		if len(c.rest()) < n {
			return nil, errMore
		}
		payload := c.rest()[:n]
		c.at += n
		c.payload = false
		ws.Cipher(payload, c.head.Mask, 0)
		c.heard.Store(true)
		if c.head.OpCode.IsControl() {
			if done, fail := c.control(c.head.OpCode, payload); done || fail != nil {
				return fail, errSocket
			}
			continue
		}
		if fail := c.data(payload); fail != nil {
			return fail, nil
		}
	}
}

// header takes the header of the next frame and checks it.
func (c *Conn) header() (*failure, error) {
	h, size, fail := parseHeader(c.rest())
	switch {
	case fail != nil:
		return fail, nil
	case size == 0:
		return nil, errMore
	}
	state := ws.StateServerSide
	have := 0
	if c.part != nil {
		state = state.Set(ws.StateFragmented)
		have = len(c.part.b)
	}
	if err := ws.CheckHeader(h, state); err != nil {
		return &failure{codes.CloseProtocolError, err.Error()}, nil //nolint:nilerr // the failure says it
	}
	if !h.OpCode.IsControl() {
		want := ws.OpBinary
		if c.codec.Text() {
			want = ws.OpText
		}
		switch {
		case h.OpCode != ws.OpContinuation && h.OpCode != want:
			return failKind, nil
		case h.Length > int64(c.s.cfg.MaxMessageBytes-have):
			return failTooBig, nil
		case h.Length+int64(have) > smallBuffer && c.s.backlog.over():
			return failMemory, nil
		}
	}
	c.at += size
	c.head, c.payload = h, true
	return nil, nil
}

// parseHeader reads a frame's header from the beginning of b; size 0: b is too short.
func parseHeader(b []byte) (h ws.Header, size int, fail *failure) {
	if len(b) < 2 {
		return h, 0, nil
	}
	h.Fin, h.Rsv, h.OpCode = b[0]&0x80 != 0, b[0]&0x70>>4, ws.OpCode(b[0]&0x0f)
	h.Masked = b[1]&0x80 != 0
	size = 2
	length := b[1] & 0x7f
	switch length {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	mask := size
	if h.Masked {
		size += 4
	}
	if len(b) < size {
		return h, 0, nil
	}
	switch length {
	case 126:
		h.Length = int64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		if b[2]&0x80 != 0 {
			return h, 0, failLength
		}
		h.Length = int64(binary.BigEndian.Uint64(b[2:]))
	default:
		h.Length = int64(length)
	}
	if h.Masked {
		copy(h.Mask[:], b[mask:])
	}
	return h, size, nil
}

// data takes the payload of a frame of a message.
func (c *Conn) data(payload []byte) *failure {
	if c.head.Fin {
		c.since.Store(0) // nobody waits for more of it
		if c.part == nil {
			fail := c.message(payload)
			c.keep(false)
			return fail
		}
	}
	if c.part == nil {
		c.part, c.fragments, c.text = c.s.buffers.get(len(payload)), 0, utf8Prefix{}
	}
	c.part = c.s.buffers.grow(c.part, len(payload))
	c.part.b = append(c.part.b, payload...)
	c.keep(false)
	if c.fragments++; c.fragments > c.s.cfg.MaxFragments {
		return failFragments
	}
	if !c.head.Fin {
		if c.codec.Text() && !c.text.holds(c.part.b) {
			return failUTF8
		}
		return nil
	}
	fail := c.message(c.part.b)
	c.s.buffers.put(c.part)
	c.part = nil
	c.keep(false)
	return fail
}

// message hands a whole message over, unless we have closed: then the peer may be sending still, and nobody listens.
func (c *Conn) message(payload []byte) *failure {
	if c.codec.Text() && !utf8.Valid(payload) {
		return failUTF8
	}
	if c.Closing() {
		return nil
	}
	if c.first {
		c.first = false
		c.stopWaiting()
	}
	c.announced = len(c.rest()) > 0 || c.filled
	c.handler.Message(payload, c.announced)
	return nil
}

// rested tells the handler that what it was told to expect has not arrived.
func (c *Conn) rested() {
	if c.announced {
		c.announced = false
		c.handler.Rest()
	}
}

// maxCloseCode is the last one that RFC 6455 leaves to somebody.
const maxCloseCode = 4999

// control handles a ping, pong or close; done says that the peer closed.
func (c *Conn) control(op ws.OpCode, payload []byte) (done bool, fail *failure) {
	switch op {
	case ws.OpPing, ws.OpPong:
		if _, ok := c.controls.Take(time.Now(), ratelimit.Limit{Pieces: c.s.cfg.ControlRate}, ratelimit.One); !ok {
			return false, failControls
		}
		if op == ws.OpPing {
			c.Send(control(finPong, payload))
		}
	case ws.OpClose:
		code, reason := ws.ParseCloseFrameData(payload)
		if len(payload) > 0 {
			if len(payload) == 1 {
				return true, &failure{codes.CloseProtocolError, "close frame of one byte"}
			}
			if err := ws.CheckCloseFrameData(code, reason); err != nil {
				return true, &failure{codes.CloseProtocolError, err.Error()}
			}
			if code > maxCloseCode {
				return true, &failure{codes.CloseProtocolError, "close code out of range"}
			}
		}
		c.peerClosed.Store(true)
		return true, &failure{int(code), ""}
	}
	return false, nil
}

// keep counts the buffers of an unfinished message in the backlog; incomplete: what lies in the input buffer is the beginning of a frame.
func (c *Conn) keep(incomplete bool) {
	n := 0
	if c.part != nil {
		n += cap(c.part.b)
	}
	if incomplete && c.buf != nil && cap(c.buf.b) > tinyBuffer {
		n += cap(c.buf.b)
	}
	if n == c.partial {
		return
	}
	switch {
	case n == 0:
		c.since.Store(0)
	case c.partial == 0:
		c.since.Store(time.Now().UnixNano())
	}
	c.s.backlog.Add(int64(n - c.partial))
	c.partial = n
}

// room makes room behind what was read and not consumed. The buffer grows with what arrives: a peer that announces much and sends
// nothing holds little.
func (c *Conn) room() []byte {
	switch rest := c.rest(); {
	case c.buf == nil:
		c.buf = c.s.buffers.get(c.readSize())
	case c.at > 0:
		c.buf.b = c.buf.b[:copy(c.buf.b, rest)]
	}
	c.at = 0
	switch size := c.readSize(); {
	case cap(c.buf.b) < size:
		c.buf = c.s.buffers.grow(c.buf, size-len(c.buf.b))
	case cap(c.buf.b) > size && len(c.buf.b) == 0 && !c.payload:
		c.s.buffers.put(c.buf)
		c.buf = c.s.buffers.get(size)
	case len(c.buf.b) == cap(c.buf.b):
		c.buf = c.s.buffers.grow(c.buf, 1)
		c.keep(true)
	}
	return c.buf.b[len(c.buf.b):cap(c.buf.b)]
}

// park is called when nothing more has arrived: what is left of what was read goes into as small a buffer as holds it.
func (c *Conn) park() {
	rest := c.rest()
	switch {
	case c.buf == nil:
	case len(rest) == 0:
		c.s.buffers.put(c.buf)
		c.buf, c.at = nil, 0
	case len(rest) <= tinyBuffer && cap(c.buf.b) > tinyBuffer:
		tiny := c.s.buffers.get(len(rest))
		tiny.b = append(tiny.b, rest...)
		c.s.buffers.put(c.buf)
		c.buf, c.at = tiny, 0
	}
	c.keep(true)
}

// release gives all buffers back.
func (c *Conn) release() {
	for _, b := range []*buffer{c.buf, c.part} {
		if b != nil {
			c.s.buffers.put(b)
		}
	}
	c.buf, c.part, c.at = nil, nil, 0
	c.keep(false)
}

// relieve cuts a peer that takes nothing of what is being written, or does not finish its message, and says whether it did.
func (c *Conn) relieve(hard bool) bool {
	since := c.since.Load()
	return c.outbox.relieve(since != 0 && time.Since(time.Unix(0, since)) >= c.s.cfg.StallTimeout, hard)
}
