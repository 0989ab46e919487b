package ws

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
	"github.com/parley-rt/parley/libs/protocol/codes"
)

// Handler gets what a connection receives. All calls come from the connection's own reading goroutine, one at a time;
// while one runs the socket is not read, which is the back-pressure on the peer.
type Handler interface {
	// Opened comes first. It returns how long to wait for the first message before Silence; 0 waits for ever.
	Opened() time.Duration
	// Message gets one whole message of the subprotocol's kind. payload is only valid during the call.
	Message(payload []byte)
	// Silence says that the first message did not come in time. At most once.
	Silence()
	// Closed comes last and exactly once: nothing can be sent any more. code 0: cut without a close frame.
	Closed(code int)
}

// inlineBuffer holds whole frames of ordinary size, so that most messages need no other buffer.
const inlineBuffer = 512

// shared is what all connections of an Acceptor share.
type shared struct {
	cfg     Config
	backlog *Backlog
	buffers *buffers
	lists   *frameLists
	metrics *metrics
	logger  *slog.Logger
	wheel   *Wheel
	running sync.WaitGroup // readers and flushers
	active  atomic.Int64
}

// Conn is one WebSocket connection. Send, SendAll, Offer, Close, CloseWith, Closing and Kill are safe for concurrent use.
type Conn struct {
	outbox
	codec   codec.Codec
	handler Handler
	opened  time.Time

	heard  atomic.Bool // a whole frame arrived since the wheel's last visit
	misses int         // the wheel's

	wheelNext, wheelPrev *Conn
	wheelBucket          int

	buf  [inlineBuffer]byte
	r, w int // buf[r:w] is read from the socket and not consumed
	// first is set until the first message came, or did not come in time.
	first bool
	// partial is what the buffers of an unfinished message hold, in the backlog; since is when it began, in Unix nanoseconds, 0:
	// there is none.
	partial int
	since   atomic.Int64
}

var pingFrame = control(finPing, nil)

// Codec is the encoding that was negotiated.
func (c *Conn) Codec() codec.Codec { return c.codec }

// RemoteAddr is the peer's address as the socket has it.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// Kill cuts the connection at once, without a close frame.
func (c *Conn) Kill() { c.kill() }

// upgrade answers the handshake and takes the socket from net/http, whose buffers are left behind.
func upgrade(w http.ResponseWriter, r *http.Request, s *shared, proto string) (*Conn, error) {
	u := ws.HTTPUpgrader{Timeout: s.cfg.CloseTimeout}
	if proto != "" {
		u.Protocol = func(p string) bool { return p == proto }
	}
	nc, rw, _, err := u.Upgrade(r, w)
	if err != nil {
		if nc != nil {
			_ = nc.Close()
		}
		return nil, err
	}
	c := &Conn{outbox: outbox{nc: nc, s: s}, codec: codec.JSON{}, opened: time.Now(), first: true}
	if proto == codec.SubprotocolBinary {
		c.codec = codec.Binary{}
	}
	// A client that does not wait for our answer has its first bytes in net/http's buffer.
	early, err := rw.Reader.Peek(min(rw.Reader.Buffered(), inlineBuffer))
	if err != nil || rw.Reader.Buffered() > inlineBuffer {
		_ = nc.Close()
		return nil, errors.New("more than 512 bytes before the handshake was answered")
	}
	c.w = copy(c.buf[:], early)
	return c, nil
}

// serve reads until the connection ends. A fault in its handler costs this connection a reconnect and nobody else (S9).
func (c *Conn) serve(open func() Handler) {
	defer c.s.end()
	c.heard.Store(true)
	c.s.metrics.opened()
	c.s.wheel.add(c)
	var fail *failure
	if !c.guard(func() {
		c.handler = open()
		if wait := c.handler.Opened(); wait > 0 {
			_ = c.nc.SetReadDeadline(time.Now().Add(wait))
		}
		fail = c.readMessages()
	}) {
		internal := clientv1.CloseCode_CLOSE_CODE_INTERNAL
		fail = &failure{int(internal), codes.CloseName(internal)}
	}
	if fail != nil {
		c.Close(fail.code, fail.reason)
		c.discardInput()
	}
	c.kill()
	c.s.wheel.remove(c)
	c.mu.Lock()
	code := c.code
	c.mu.Unlock()
	if c.handler != nil {
		c.guard(func() { c.handler.Closed(code) })
	}
	c.s.metrics.closed(code, time.Since(c.opened))
}

// guard runs what the handler does; false: it panicked.
func (c *Conn) guard(do func()) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			c.s.failed("handle", p)
			ok = false
		}
	}()
	do()
	return true
}

// failed notes a fault that was recovered from.
func (s *shared) failed(doing string, p any) {
	s.metrics.faults.Add(context.Background(), 1)
	s.logger.Error("fault in a connection, which is closed to resume", "doing", doing, "err", fmt.Sprint(p), "stack", string(debug.Stack()))
}

// visit is the wheel's: see Wheel.
func (c *Conn) visit() {
	if c.heard.Swap(false) {
		c.misses = 0
	} else if c.misses++; c.misses >= maxMisses {
		c.kill()
		return
	}
	c.Send(pingFrame)
}

// failure is what the peer did wrong, as the close frame says it.
type failure struct {
	code   int
	reason string
}

var (
	errSocket = errors.New("socket ended") // nothing can be told to the peer

	failUTF8      = &failure{codes.CloseInvalidPayload, "text is not UTF-8"}
	failKind      = &failure{codes.CloseUnsupportedData, "wrong kind of message for this subprotocol"}
	failTooBig    = &failure{codes.CloseTooBig, "message too big"}
	failFragments = &failure{codes.ClosePolicyViolation, "too many fragments"}
	failMemory    = &failure{int(clientv1.CloseCode_CLOSE_CODE_OVERLOADED), codes.CloseName(clientv1.CloseCode_CLOSE_CODE_OVERLOADED)}
	failLength    = &failure{codes.CloseProtocolError, "bad frame length"}
)

// readMessages reads frames until the socket ends (nil) or the peer breaks a rule.
func (c *Conn) readMessages() *failure {
	var part *buffer // of the fragmented message that is being read
	defer func() {
		if part != nil {
			c.s.buffers.put(part)
		}
		c.keep(nil, nil)
	}()
	state, fragments, text := ws.StateServerSide, 0, utf8Prefix{}
	want := ws.OpBinary
	if c.codec.Text() {
		want = ws.OpText
	}
	for {
		h, fail, err := c.readHeader()
		if err != nil {
			return nil
		}
		if fail != nil {
			return fail
		}
		if err := ws.CheckHeader(h, state); err != nil {
			return &failure{codes.CloseProtocolError, err.Error()}
		}
		if h.OpCode.IsControl() {
			payload, _, err := c.payload(h, nil)
			if err != nil {
				return nil
			}
			if done, fail := c.control(h.OpCode, payload); done || fail != nil {
				return fail
			}
			continue
		}
		have := 0
		if part != nil {
			have = len(part.b)
		}
		switch {
		case h.OpCode != ws.OpContinuation && h.OpCode != want:
			return failKind
		case h.Length > int64(c.s.cfg.MaxMessageBytes-have):
			return failTooBig
		case h.Length+int64(have) > smallBuffer && c.s.backlog.over():
			return failMemory
		}
		payload, held, err := c.payload(h, part)
		if err != nil {
			return nil
		}
		c.heard.Store(true)
		if h.Fin {
			c.since.Store(0) // nobody waits for more of it
		}
		if h.Fin && part == nil {
			fail := c.message(payload)
			if held != nil {
				c.s.buffers.put(held)
				c.keep(nil, nil)
			}
			if fail != nil {
				return fail
			}
			continue
		}
		if part == nil {
			part, fragments, state = c.s.buffers.get(len(payload)), 0, state.Set(ws.StateFragmented)
			text = utf8Prefix{}
		}
		part = c.s.buffers.grow(part, len(payload))
		part.b = append(part.b, payload...)
		if held != nil {
			c.s.buffers.put(held)
		}
		c.keep(part, nil)
		if fragments++; fragments > c.s.cfg.MaxFragments {
			return failFragments
		}
		if !h.Fin && c.codec.Text() && !text.holds(part.b) {
			return failUTF8
		}
		if h.Fin {
			fail := c.message(part.b)
			c.s.buffers.put(part)
			part, state = nil, state.Clear(ws.StateFragmented)
			c.keep(nil, nil)
			if fail != nil {
				return fail
			}
		}
	}
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
		_ = c.nc.SetReadDeadline(time.Time{})
		if c.Closing() { // a close in between set a deadline that was just lifted
			_ = c.nc.SetReadDeadline(time.Now().Add(c.s.cfg.CloseTimeout))
		}
	}
	c.handler.Message(payload)
	return nil
}

// maxCloseCode is the last one that RFC 6455 leaves to somebody.
const maxCloseCode = 4999

// control handles a ping, pong or close; done says that the peer closed.
func (c *Conn) control(op ws.OpCode, payload []byte) (done bool, fail *failure) {
	c.heard.Store(true)
	switch op {
	case ws.OpPing:
		c.Send(control(finPong, payload))
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

// readHeader reads and parses one frame header.
func (c *Conn) readHeader() (h ws.Header, fail *failure, err error) {
	if err := c.need(2); err != nil {
		return h, nil, err
	}
	b := c.buf[c.r:]
	h.Fin, h.Rsv, h.OpCode = b[0]&0x80 != 0, b[0]&0x70>>4, ws.OpCode(b[0]&0x0f)
	h.Masked = b[1]&0x80 != 0
	size := 2
	switch length := b[1] & 0x7f; length {
	case 126:
		size += 2
	case 127:
		size += 8
	default:
		h.Length = int64(length)
	}
	mask := size
	if h.Masked {
		size += 4
	}
	if err := c.need(size); err != nil {
		return h, nil, err
	}
	b = c.buf[c.r:]
	switch mask {
	case 4:
		h.Length = int64(binary.BigEndian.Uint16(b[2:]))
	case 10:
		if b[2]&0x80 != 0 {
			return h, failLength, nil
		}
		h.Length = int64(binary.BigEndian.Uint64(b[2:]))
	}
	if h.Masked {
		copy(h.Mask[:], b[mask:])
	}
	c.r += size
	return h, nil, nil
}

// payload reads and unmasks a frame's payload, whose length was checked, of a message of which part is there. It is valid until the next read; held is the
// buffer it lies in, for the caller to give back, or nil when it lies in the inline one.
func (c *Conn) payload(h ws.Header, part *buffer) (payload []byte, held *buffer, err error) {
	n := int(h.Length)
	if n <= inlineBuffer {
		if err := c.need(n); err != nil {
			return nil, nil, err
		}
		payload = c.buf[c.r : c.r+n]
		c.r += n
	} else {
		// The buffer grows with what arrives: a peer that announces much and sends nothing holds little.
		held = c.s.buffers.get(min(n, smallBuffer))
		held.b = append(held.b, c.buf[c.r:c.w]...)
		c.r, c.w = 0, 0
		for len(held.b) < n {
			held = c.s.buffers.grow(held, min(n-len(held.b), 1))
			c.keep(part, held)
			room := min(cap(held.b), n)
			got, err := c.read(held.b[len(held.b):room])
			held.b = held.b[:len(held.b)+got]
			if err != nil {
				c.s.buffers.put(held)
				return nil, nil, err
			}
		}
		payload = held.b
	}
	ws.Cipher(payload, h.Mask, 0)
	return payload, held, nil
}

// keep counts the buffers of an unfinished message in the backlog; none: it is finished.
func (c *Conn) keep(part, held *buffer) {
	n := 0
	for _, b := range []*buffer{part, held} {
		if b != nil {
			n += cap(b.b)
		}
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

// relieve cuts a peer that takes nothing of what is being written, or does not finish its message, and says whether it did.
func (c *Conn) relieve(hard bool) bool {
	since := c.since.Load()
	return c.outbox.relieve(since != 0 && time.Since(time.Unix(0, since)) >= c.s.cfg.StallTimeout, hard)
}

// need reads until n bytes are buffered; n is at most inlineBuffer.
func (c *Conn) need(n int) error {
	for c.w-c.r < n {
		if c.r > 0 && c.r+n > inlineBuffer || c.r == c.w {
			c.w = copy(c.buf[:], c.buf[c.r:c.w])
			c.r = 0
		}
		got, err := c.read(c.buf[c.w:])
		c.w += got
		if err != nil {
			return err
		}
	}
	return nil
}

// read reads once. The end of the wait for the first message is not an error: reading goes on where it was.
func (c *Conn) read(b []byte) (int, error) {
	for {
		n, err := c.nc.Read(b)
		switch {
		case err == nil || n > 0:
			return n, nil
		case c.first && errors.Is(err, os.ErrDeadlineExceeded) && !c.Closing():
			c.first = false
			_ = c.nc.SetReadDeadline(time.Time{})
			c.handler.Silence()
			if c.Closing() {
				_ = c.nc.SetReadDeadline(time.Now().Add(c.s.cfg.CloseTimeout))
			}
		default:
			return 0, errSocket
		}
	}
}

// maxDiscard bounds what is read after a failure: a peer that goes on sending is cut.
const maxDiscard = 1 << 20

// discardInput reads on after a failure so that the peer gets to read our close frame; see outbox.closeWritten. The
// flusher ends it, by a deadline or by closing the socket.
func (c *Conn) discardInput() {
	defer c.waitFlushed()
	if c.peerClosed.Load() {
		return
	}
	scratch := c.s.buffers.get(smallBuffer)
	defer c.s.buffers.put(scratch)
	for total := 0; total < maxDiscard; {
		n, err := c.nc.Read(scratch.b[:cap(scratch.b)])
		if err != nil {
			return
		}
		total += n
	}
}
