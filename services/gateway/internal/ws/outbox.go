package ws

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codes"
)

// noStatus is what RFC 6455 calls a close frame without a code.
const noStatus = 1005

// Waiter is told that an outbox has room again. The call comes from a writing goroutine: it must not block.
type Waiter interface{ Drained() }

// outbox is a connection's queue of frames to write. Whoever writes takes all there is at once, so the busier a connection, the fewer its
// writes. That is a writer, which many connections share and which never waits; a flusher, a goroutine of this connection, writes what
// the socket does not take at once, and everything where nothing tells what it would take: over TLS, and on other systems than Linux.
//
//	Offer (messages: what fits) ─┬─► queue ──► writer or flusher (takes everything) ──► one write
//	Send (answers, signals) ─────┘     │ the peer does not take it
//	                                   ▼
//	              queue dropped, close frame 4001 SLOW, connection ends
//
// Messages are offered: what does not fit waits at whoever offers it, so a burst larger than the outbox costs nobody a
// connection. Everything else is sent and has a reserve of its own. Slow is only who does not take bytes: a flusher's write that
// does not end within WriteTimeout, or one without progress for StallTimeout while more than OutboxBytes of what was
// sent waits. That nobody wrote yet says nothing about the peer. So that memory stays bounded whatever
// happens, hardFactor × OutboxBytes of what was sent is too much in any case; together at most that, half of
// OutboxBytes and one frame of each kind wait. What waits for all connections together is bounded by the Backlog.
type outbox struct {
	nc net.Conn
	s  *shared
	// turns are those of the connection's reading; nil: a goroutine reads.
	turns *turns
	// writer writes what the socket takes at once; nil: a flusher writes everything.
	writer *writer
	next   *outbox // in the writer's queue

	mu       sync.Mutex
	list     *frameList // nil: nothing queued
	queued   int        // bytes in list
	forced   int        // those of them given by Send
	weight   int        // of list in the backlog
	reserved bool       // room for a page in the backlog
	waiters  []Waiter
	busy     bool // its writer or a flusher has it to do
	closing  bool // a close frame is queued or written; nothing more is taken
	dead     bool
	code     int // that the connection was closed with; 0: cut
	// idle is closed when nothing is left to do, for the one who waits for that.
	idle chan struct{}

	peerClosed atomic.Bool // the peer's close frame was read: nothing more will come
	slow       atomic.Bool // the close frame must leave within CloseTimeout
	armed      time.Time   // when the write deadline was last set; the flusher's
	// writing is when the write began that the flusher is in, in Unix nanoseconds; 0: it is in none.
	writing atomic.Int64
}

// hardFactor times OutboxBytes of answers and signals end a connection even if nobody had a chance to write them.
const hardFactor = 4

// Send queues a frame whatever waits: an answer, or a signal. It never blocks. False: the connection is closing, also because of this very call.
func (o *outbox) Send(frame []byte) bool {
	o.mu.Lock()
	if !o.admit() {
		o.mu.Unlock()
		return false
	}
	l := o.queue()
	l.add(frame)
	o.queued += len(frame)
	o.forced += len(frame)
	o.weigh(len(frame) + frameCost)
	o.start()
	o.mu.Unlock()
	return true
}

// SendAll is Send of all frames or none. The slice itself is not kept.
func (o *outbox) SendAll(frames [][]byte) bool {
	o.mu.Lock()
	if !o.admit() {
		o.mu.Unlock()
		return false
	}
	l := o.queue()
	total := 0
	for _, f := range frames {
		l.add(f)
		total += len(f)
	}
	o.queued += total
	o.forced += total
	o.weigh(total + len(frames)*frameCost)
	o.start()
	o.mu.Unlock()
	return true
}

// Offer queues the first frames as long as less than half of OutboxBytes waits, and says how many it took. When it did
// not take all, w is told once there is room again; on a closing connection it takes none and w hears nothing. share is by how
// many connections the frames are shared, for the backlog. While that is full, one frame is taken, and only if none waits.
func (o *outbox) Offer(frames [][]byte, share int, w Waiter) int {
	full := o.s.backlog.Full()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closing || o.dead {
		return 0
	}
	most, before, n := len(frames), o.queued, 0
	if full {
		if most = min(1, most); o.busy {
			most = 0
		}
	}
	for ; n < most && o.queued < o.s.cfg.OutboxBytes/2; n++ {
		o.queue().add(frames[n])
		o.queued += len(frames[n])
	}
	if n < len(frames) {
		o.waiters = append(o.waiters, w)
	}
	if n > 0 {
		o.weigh((o.queued-before)/max(1, share) + n*frameCost)
		o.start()
	}
	return n
}

// SendPaced is Send of a frame that does not count towards the overflow: its sender asked HasRoom before it had the frame
// made, and has few of them.
func (o *outbox) SendPaced(frame []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closing || o.dead {
		return false
	}
	l := o.queue()
	l.add(frame)
	o.queued += len(frame)
	o.weigh(len(frame) + frameCost)
	o.unreserve()
	o.start()
	return true
}

// HasRoom says whether less than half of OutboxBytes waits here, nothing is stuck, and the backlog has room for a page, which it
// then keeps until SendPaced or GiveRoom; if not, w is told once that may be so. On a closing connection there is room: what is sent
// then goes nowhere.
func (o *outbox) HasRoom(w Waiter) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closing || o.dead || o.reserved:
		return true
	case o.queued >= o.s.cfg.OutboxBytes/2, o.busy && o.s.backlog.Full():
		o.waiters = append(o.waiters, w)
		return false
	}
	o.reserved = o.s.backlog.reserve(w)
	return o.reserved
}

// GiveRoom gives back what HasRoom kept, for a page that will not come. Otherwise it does nothing.
func (o *outbox) GiveRoom() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.unreserve()
}

func (o *outbox) unreserve() {
	if o.reserved {
		o.reserved = false
		o.unweigh(PageBytes)
	}
}

// weigh counts what is queued in the backlog.
func (o *outbox) weigh(n int) {
	o.weight += n
	o.s.backlog.Add(int64(n))
}

// unweigh takes from the backlog. Those who waited for it are told by another goroutine: locks are held here, and they may
// take ours.
func (o *outbox) unweigh(n int) {
	if n == 0 {
		return
	}
	o.s.backlog.bytes.Add(-int64(n))
	if o.s.backlog.waiters.Load() > 0 {
		go o.s.backlog.wake()
	}
}

// Close queues a close frame behind everything queued. code is a close code of RFC 6455 or Parley, reason its bare name.
// Only the first call counts.
func (o *outbox) Close(code int, reason string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.close(code, reason)
}

// CloseWith closes with one of Parley's codes and its name. A client that is to come back gets CloseTimeout to take what is
// queued, and is cut then: it reconnects either way, and nobody waits for one that does not read.
func (o *outbox) CloseWith(code clientv1.CloseCode) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if codes.Reconnect(int(code)) && !o.closing && !o.dead {
		o.slow.Store(true)
		_ = o.nc.SetWriteDeadline(time.Now().Add(o.s.cfg.CloseTimeout))
	}
	o.close(int(code), codes.CloseName(code))
}

// Closing says that the connection takes no more frames.
func (o *outbox) Closing() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closing || o.dead
}

// admit says whether a frame may be queued, and ends the connection when too much waits. Called with the lock held.
func (o *outbox) admit() bool {
	if o.closing || o.dead {
		return false
	}
	if o.forced <= o.s.cfg.OutboxBytes || o.forced <= hardFactor*o.s.cfg.OutboxBytes && !o.stalled() {
		return true
	}
	o.cut(dropOverflow)
	return false
}

// relieve cuts a peer that takes nothing of what is being written, or in any case, and says whether it did. hard leaves it no time
// to read why.
func (o *outbox) relieve(must, hard bool) bool {
	if !must && !o.stalled() {
		return false
	}
	if hard {
		o.slow.Store(true)
		o.s.metrics.dropped(dropBacklog)
		o.kill()
		return true
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closing || o.dead {
		return false
	}
	o.cut(dropBacklog)
	return true
}

// waits is about how many bytes wait for the peer, beside what is being written.
func (o *outbox) waits() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.queued
}

// stalled says that the peer has not taken what is being written for a while.
func (o *outbox) stalled() bool {
	began := o.writing.Load()
	return began != 0 && time.Since(time.Unix(0, began)) >= o.s.cfg.StallTimeout
}

// cut ends the connection of a slow peer. Called with the lock held.
func (o *outbox) cut(why string) {
	o.s.metrics.dropped(why)
	o.discard()
	o.slow.Store(true)
	o.close(int(clientv1.CloseCode_CLOSE_CODE_SLOW), codes.CloseName(clientv1.CloseCode_CLOSE_CODE_SLOW))
	// A flusher sits in a write that the peer does not take. It gets a last chance to finish it: a client that is
	// merely slow then still reads why it was closed.
	_ = o.nc.SetWriteDeadline(time.Now().Add(o.s.cfg.CloseTimeout))
}

// late says whether a write that ran into its deadline is tried once more, with the connection closing: see cut.
func (o *outbox) late(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closing || o.dead {
		return false
	}
	o.cut(dropDeadline)
	return true
}

func (o *outbox) close(code int, reason string) {
	if o.closing || o.dead {
		return
	}
	o.closing, o.code, o.waiters = true, code, nil
	if code == 0 {
		o.code = noStatus
	}
	frame := closeFrame(code, reason)
	l := o.queue()
	l.add(frame)
	o.queued += len(frame)
	o.weigh(len(frame) + frameCost)
	o.unreserve()
	o.start()
}

func (o *outbox) queue() *frameList {
	if o.list == nil {
		o.list = o.s.lists.get()
	}
	return o.list
}

func (o *outbox) start() {
	switch {
	case o.busy:
	case o.writer != nil:
		o.busy = true
		o.writer.push(o)
	default:
		o.busy = true
		o.flushFrom(taken{})
	}
}

func (o *outbox) discard() {
	if o.list != nil {
		o.s.lists.put(o.list)
		o.list = nil
	}
	o.unweigh(o.weight)
	o.queued, o.forced, o.weight = 0, 0, 0
}

// kill cuts the connection without a close frame. Its reader finds out.
func (o *outbox) kill() {
	o.mu.Lock()
	if !o.dead {
		o.dead = true
		o.waiters = nil
		o.discard()
		o.unreserve()
	}
	o.mu.Unlock()
	nc := rawConn(o.nc)
	if o.slow.Load() { // what the kernel has for it would wait there for minutes
		if tcp, ok := nc.(interface{ SetLinger(sec int) error }); ok {
			_ = tcp.SetLinger(0)
		}
	}
	_ = nc.Close()
	o.turns.due()
}

// rawConn is what is beneath TLS, which says farewell when it is closed, and waits up to 5 s for a peer that does not read to
// take that.
func rawConn(nc net.Conn) net.Conn {
	if t, ok := nc.(*tls.Conn); ok {
		return t.NetConn()
	}
	return nc
}
