//go:build linux

package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"

	"github.com/parley-rt/parley/cmd/parley/internal/epoll"
)

// readSize is how much is read from a socket at once.
const readSize = 256 << 10

// generator drives all connections from one thread, so that the server has the rest of the machine. Every method is that thread's.
type generator struct {
	ctx       context.Context //nolint:containedctx // of one run
	poll      *epoll.Poller
	address   unix.Sockaddr
	handshake string
	payload   int
	started   time.Time
	// shrink gives buffers up after each use: with very many connections.
	shrink bool

	byFD  []*conn
	buf   []byte
	dirty []*conn
	// busy is how long the thread was not waiting for sockets.
	busy time.Duration

	// measuring: what arrives is recorded. expected is the time between two publishes of a closed loop while nothing stalls.
	measuring bool
	expected  int64

	acked, delivered, refused, gaps, retries uint64
	acks, deliveries, lags, opens            *hdrhistogram.Histogram
	ackSum                                   int64

	onOpen  func(*conn)
	onAck   func(*conn)
	onTurn  func(now int64)
	onMsg   func(*conn)
	nextDue func() (int64, bool)
	away    []returning
}

// returning is a connection that was told when to come back.
type returning struct {
	c    *conn
	when time.Time
}

func newGenerator(ctx context.Context, endpoint string, payload int) (*generator, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, fmt.Errorf("server's address: %w", err)
	}
	tcp, err := net.ResolveTCPAddr("tcp4", u.Host)
	if err != nil {
		return nil, fmt.Errorf("server's address: %w", err)
	}
	poll, err := epoll.New()
	if err != nil {
		return nil, err
	}
	g := &generator{
		ctx: ctx, poll: poll, payload: payload, started: time.Now(), buf: make([]byte, readSize),
		address: &unix.SockaddrInet4{Port: tcp.Port, Addr: [4]byte(tcp.IP.To4())},
		handshake: "GET " + u.RequestURI() + " HTTP/1.1\r\nHost: " + u.Host + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: parley.v1.json\r\n\r\n",
		acks: newHistogram(), deliveries: newHistogram(), lags: newHistogram(), opens: newHistogram(),
	}
	runtime.LockOSThread()
	return g, nil
}

func (g *generator) close() {
	for _, c := range g.byFD {
		if c != nil {
			g.drop(c)
		}
	}
	_ = g.poll.Close()
	runtime.UnlockOSThread()
}

func (g *generator) now() int64 { return time.Since(g.started).Nanoseconds() }

// run turns until a time, or until done says so.
func (g *generator) run(until time.Time, done func() bool) error {
	for !done() {
		left := time.Until(until)
		if left <= 0 {
			return nil
		}
		if err := g.step(min(left, 50*time.Millisecond)); err != nil {
			return err
		}
	}
	return nil
}

func never() bool { return false }

// step waits at most d for sockets, and handles what is ready and due.
func (g *generator) step(d time.Duration) error {
	if g.nextDue != nil {
		if due, ok := g.nextDue(); ok {
			d = max(0, min(d, time.Duration(due-g.now())))
		}
	}
	events, err := g.poll.Wait(d)
	if err != nil {
		return err
	}
	begin := time.Now()
	defer func() { g.busy += time.Since(begin) }()
	if err := g.ctx.Err(); err != nil {
		return context.Cause(g.ctx)
	}
	for _, e := range events {
		c := g.byFD[e.Fd]
		if c == nil {
			continue
		}
		if err := g.ready(c, e.Events); err != nil {
			if err := g.fail(c, err); err != nil {
				return err
			}
		}
	}
	if g.onTurn != nil {
		g.onTurn(g.now())
	}
	return g.flush()
}

func (g *generator) ready(c *conn, events uint32) error {
	if c.stage == connecting {
		return g.connected(c)
	}
	if events&epoll.Write != 0 {
		if err := g.poll.Change(c.fd, epoll.Read); err != nil {
			return err
		}
		g.queue(c)
	}
	if events&^uint32(epoll.Write) == 0 {
		return nil
	}
	kept := copy(g.buf, c.rest)
	if len(g.buf) < 2*kept {
		g.buf = append(g.buf, make([]byte, len(g.buf))...)
	}
	n, err := unix.Read(c.fd, g.buf[kept:])
	switch {
	case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
		return nil
	case err != nil:
		return fmt.Errorf("read: %w", err)
	case n == 0:
		return fmt.Errorf("read: %w", io.ErrUnexpectedEOF)
	}
	in := g.buf[:kept+n]
	if c.stage == upgrading {
		rest, err := g.upgraded(c, in)
		if err != nil {
			return err
		}
		if rest == nil && c.stage == upgrading {
			c.rest = append(c.rest[:0], in...)
			return nil
		}
		in = rest
	}
	var now int64
	if c.probe {
		now = g.now()
	}
	used, err := frames(in, func(opcode byte, payload []byte) error { return g.frame(c, opcode, payload, now) })
	if err != nil {
		return err
	}
	if used == len(in) {
		if c.rest = c.rest[:0]; g.shrink {
			c.rest = nil
		}
		return nil
	}
	c.rest = append(c.rest[:0], in[used:]...)
	return nil
}

// frame handles one frame of an upgraded connection.
func (g *generator) frame(c *conn, opcode byte, payload []byte, now int64) error {
	switch {
	case opcode == opPing:
		c.out = appendFrame(c.out, opPong, payload)
		g.queue(c)
	case opcode != opText || len(payload) < 3:
	case payload[2] == 'm':
		return g.message(c, payload, now)
	case payload[2] == 'a':
		return g.ack(c, payload)
	case bytes.HasPrefix(payload, []byte(`{"room_joined"`)):
		c.stage = open
		record(g.opens, time.Since(c.began).Nanoseconds())
		if g.onOpen != nil {
			g.onOpen(c)
		}
	case bytes.HasPrefix(payload, []byte(`{"reconnect"`)):
		_, digits, _ := bytes.Cut(payload, []byte(`"after_ms":`))
		end := bytes.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' })
		if after, err := strconv.Atoi(string(digits[:max(end, 0)])); err == nil {
			c.tell = time.Duration(after) * time.Millisecond
		}
	case bytes.HasPrefix(payload, []byte(`{"error"`)):
		if c.stage != open {
			return fmt.Errorf("join refused: %s", payload)
		}
		g.refused++
		g.answered(c)
	case bytes.HasPrefix(payload, []byte(`{"reset"`)):
		g.gaps++
	}
	return nil
}

func (g *generator) message(c *conn, payload []byte, now int64) error {
	seq, previous, err := chainOf(payload)
	if err != nil {
		return err
	}
	if c.chained && previous != c.cursor || seq <= c.cursor {
		g.gaps++
	}
	c.cursor, c.chained = seq, true
	c.received++
	g.delivered++
	if c.probe && g.measuring {
		if due, ok := stampOf(payload); ok {
			record(g.deliveries, now-due)
		}
	}
	if g.onMsg != nil {
		g.onMsg(c)
	}
	return nil
}

func (g *generator) ack(c *conn, payload []byte) error {
	number, err := uintField(payload, `"message_id"`)
	if err != nil {
		return err
	}
	if c.number-number >= uint64(len(c.due)) { // its time was overwritten by a later one's, which would flatter the server
		return fmt.Errorf("%d publishes of one connection are unacknowledged, and the times of %d are kept: lower the rate", c.outstanding, len(c.due))
	}
	took := g.now() - c.due[number%uint64(len(c.due))]
	g.acked++
	g.ackSum += took
	if g.measuring {
		_ = g.acks.RecordCorrectedValue(micros(took), g.expected)
	}
	g.answered(c)
	return nil
}

func (g *generator) answered(c *conn) {
	c.outstanding--
	if g.onAck != nil {
		g.onAck(c)
	}
}

// publish queues one message that was due at a time.
func (g *generator) publish(c *conn, due int64) {
	c.number++
	c.outstanding++
	c.due[c.number%uint64(len(c.due))] = due
	var body [64 << 10]byte
	b := append(body[:0], `{"message":{"target":"`...)
	b = append(b, c.room...)
	b = append(b, `","message_id":"`...)
	b = strconv.AppendUint(b, c.number, 10)
	b = append(b, `","content":"`...)
	at := len(b)
	b = fmt.Appendf(b, "%0*d", stampBytes, due)
	for len(b) < at+g.payload {
		b = append(b, 'x')
	}
	c.out = appendFrame(c.out, opText, append(b, `"}}`...))
	g.queue(c)
}

// fail takes a connection off. One that was sent away comes back when it was told to; the end of another ends the run.
func (g *generator) fail(c *conn, err error) error {
	var refused *refusedError
	after := c.tell
	if errors.As(err, &refused) {
		after = refused.after
	}
	was := c.stage
	g.drop(c)
	if after == 0 || was == open {
		return err
	}
	g.retries++
	after += rand.N(after/2 + time.Millisecond)
	g.away = append(g.away, returning{c, time.Now().Add(after)})
	return nil
}

// open connects and joins all, at most so many at a time.
func (g *generator) open(conns []*conn, atOnce int) error {
	const patience = 2 * time.Minute
	opened, next := 0, 0
	before := g.onOpen
	defer func() { g.onOpen = before }()
	g.onOpen = func(c *conn) {
		opened++
		if before != nil {
			before(c)
		}
	}
	limit := time.Now().Add(patience)
	for opened < len(conns) {
		if time.Now().After(limit) {
			return fmt.Errorf("%d of %d connections are open after %s", opened, len(conns), patience)
		}
		for next < len(conns) && next-opened-len(g.away) < atOnce {
			if err := g.connect(conns[next]); err != nil {
				return err
			}
			next++
		}
		now := time.Now()
		var failed error
		g.away = slices.DeleteFunc(g.away, func(r returning) bool {
			if now.Before(r.when) || failed != nil {
				return false
			}
			failed = g.connect(r.c)
			return true
		})
		if failed != nil {
			return failed
		}
		if err := g.step(20 * time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

func micros(nanoseconds int64) int64 {
	return min(max(nanoseconds/1000, 1), time.Minute.Microseconds())
}

func record(h *hdrhistogram.Histogram, nanoseconds int64) { _ = h.RecordValue(micros(nanoseconds)) }
