package ws

import (
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"

	"github.com/parley-rt/parley/libs/protocol/codec"
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
	buffers *buffers
	lists   *frameLists
	metrics *metrics
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

// serve reads until the connection ends.
func (c *Conn) serve(h Handler) {
	c.handler = h
	c.heard.Store(true)
	c.s.metrics.opened()
	c.s.wheel.add(c)
	if wait := h.Opened(); wait > 0 {
		_ = c.nc.SetReadDeadline(time.Now().Add(wait))
	}
	if fail := c.readMessages(); fail != nil {
		c.Close(fail.code, fail.reason)
		c.discardInput()
	}
	c.kill()
	c.s.wheel.remove(c)
	c.mu.Lock()
	code := c.code
	c.mu.Unlock()
	h.Closed(code)
	c.s.metrics.closed(code, time.Since(c.opened))
	c.s.end()
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
