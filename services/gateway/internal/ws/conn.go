package ws

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"

	"github.com/parley-rt/parley/libs/protocol/codec"
)

// Handler gets what a connection receives. Calls come one at a time, each perhaps from another goroutine, which may block in it;
// while one runs the socket is not read, which is the back-pressure on the peer.
type Handler interface {
	// Opened comes first. It returns how long to wait for the first message before Silence; 0 waits for ever.
	Opened() time.Duration
	// Message gets one whole message of the subprotocol's kind. payload is only valid during the call. more says that what arrived with
	// it goes on: another Message follows at once, or Rest.
	Message(payload []byte, more bool)
	// Rest says that what was to follow the last Message is not there yet.
	Rest()
	// Silence says that the first message did not come in time. At most once.
	Silence()
	// Closed comes last and exactly once: nothing can be sent any more. code 0: cut without a close frame.
	Closed(code int)
}

// shared is what all connections of an Acceptor share.
type shared struct {
	cfg     Config
	backlog *Backlog
	buffers *buffers
	lists   *frameLists
	metrics *metrics
	logger  *slog.Logger
	wheel   *Wheel
	running sync.WaitGroup // connections and flushers
	active  atomic.Int64
	opened  atomic.Uint64 // ever

	start sync.Once // of the loop
	loop  *loop     // nil: each connection has a goroutine that reads
}

// reads gives a connection what it reads with: turns, if possible.
func (s *shared) reads(c *Conn) {
	raw, secure := readable(c.nc)
	if raw == nil {
		return
	}
	s.start.Do(func() {
		l, err := newLoop(s.logger, s.metrics)
		if err != nil && !errors.Is(err, errors.ErrUnsupported) {
			s.logger.Warn("connections take a goroutine each", "err", err)
		}
		s.loop = l
	})
	if s.loop == nil {
		return
	}
	if err := s.loop.register(c, raw, secure); err != nil {
		s.logger.Warn("a connection takes a goroutine", "err", err)
		return
	}
	if t, ok := c.nc.(*tls.Conn); ok {
		t.NetConn().(*socket).asks.Store(true) //nolint:forcetypeassert // readable says so
	}
}

// Conn is one WebSocket connection. Send, SendAll, Offer, Close, CloseWith, Closing and Kill are safe for concurrent use.
type Conn struct {
	outbox
	codec   codec.Codec
	handler Handler
	open    func() Handler // until it was called
	opened  time.Time

	heard  atomic.Bool // a whole frame arrived since the wheel's last visit
	misses int         // the wheel's

	wheelNext, wheelPrev *Conn
	wheelBucket          int

	input
	// first is set until the first message came, or did not come in time.
	first bool
	// filled is set when the last read filled its buffer: there may be more. announced: the handler was told so.
	filled, announced bool
	// failed is set once the peer broke a rule or said goodbye: what still comes is discarded, of which discarded bytes came.
	failed    bool
	discarded int
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
	early, err := rw.Reader.Peek(min(rw.Reader.Buffered(), tinyBuffer))
	if err != nil || rw.Reader.Buffered() > tinyBuffer {
		_ = nc.Close()
		return nil, errors.New("more than 512 bytes before the handshake was answered")
	}
	if len(early) > 0 {
		c.buf = s.buffers.get(len(early))
		c.buf.b = append(c.buf.b, early...)
	}
	return c, nil
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
