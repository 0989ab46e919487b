package ws

import (
	"container/heap"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// loop gives connections a turn when something has arrived, so that a silent one costs no goroutine, buffer or timer.
//
//	epoll ──► poller (one goroutine) ──ready──► worker: one turn of one connection, until nothing more has arrived
//	deadline ────┘                                │ its handler may block: there is a worker for each ready connection
//	kill ─────────────────────────────────────────┘
//
// A connection has at most one worker at a time; what comes meanwhile gives it another turn. One that always has something to read
// keeps its own worker busy and nobody else's, and Go's scheduler shares the processors out among them.
type loop struct {
	poller  *poller
	writers []*writer
	logger  *slog.Logger
	all     sync.WaitGroup // poller and workers

	mu     sync.Mutex
	slots  []slot // by the lower half of a key
	free   []uint32
	idle   []chan *turns // of workers that wait for work, the last one since the shortest time
	closed bool

	waits     sync.Mutex
	deadlines deadlines
}

// maxIdle workers wait for work; more end. Their stacks have the size already that a turn takes.
const maxIdle = 64

// slot is a place for a registered connection. Its life tells events of an earlier one, which had the same file descriptor, apart.
type slot struct {
	turns *turns
	life  uint32
}

func newLoop(logger *slog.Logger, m *metrics) (*loop, error) {
	p, err := newPoller()
	if err != nil {
		return nil, fmt.Errorf("make readiness loop: %w", err)
	}
	l := &loop{poller: p, logger: logger}
	l.all.Go(func() { p.run(l) })
	for i := range m.writers {
		w := newWriter(&m.writers[i])
		l.writers = append(l.writers, w)
		l.all.Go(w.run)
	}
	return l, nil
}

// close ends the loop. All its connections are over.
func (l *loop) close() {
	l.mu.Lock()
	l.closed = true
	for _, w := range l.idle {
		close(w)
	}
	l.idle = nil
	l.mu.Unlock()
	l.poller.close()
	for _, w := range l.writers {
		w.close()
	}
	l.all.Wait()
}

// State of turns.
const (
	turnIdle  int32 = iota
	turnTaken       // by a worker
	turnAgain       // and there is more to do
	turnOver
)

// turns are when a connection reads. Methods but begin, heard, read, silent, over and end, which are for the turn itself, are safe for
// concurrent use. All may be called on nil, which are the turns of a connection with a goroutine of its own.
type turns struct {
	loop  *loop
	conn  *Conn
	raw   syscall.RawConn
	key   uint64
	state atomic.Int32
	// ended: the peer's direction is, or the socket. Then a read that fills less than its buffer is not the last one.
	ended atomic.Bool
	// firstBy and closeBy are when the first message and the peer's end are waited for no longer, in Unix nanoseconds; 0: not waited for.
	firstBy, closeBy atomic.Int64
	// secure: reads go through TLS.
	secure  bool
	drained bool // by the last read
}

// register gives a connection turns, from first on.
func (l *loop) register(c *Conn, raw syscall.RawConn, secure bool) error {
	t := &turns{loop: l, conn: c, raw: raw, secure: secure}
	t.state.Store(turnTaken) // what happens meanwhile waits
	l.mu.Lock()
	var i uint32
	if n := len(l.free); n > 0 {
		i = l.free[n-1]
		l.free = l.free[:n-1]
	} else {
		i = uint32(len(l.slots))
		l.slots = append(l.slots, slot{})
	}
	l.slots[i].turns = t
	t.key = uint64(l.slots[i].life)<<32 | uint64(i)
	l.mu.Unlock()
	c.turns = t
	if err := l.poller.add(raw, t.key); err != nil {
		t.end()
		c.turns = nil
		return err
	}
	if !secure { // TLS would not know what to do with half a record
		c.writer = l.writers[int(i)%len(l.writers)]
	}
	return nil
}

// find returns who has a key; nil: nobody any more. Called with the lock held.
func (l *loop) find(key uint64) *turns {
	i := uint32(key)
	if int(i) >= len(l.slots) || l.slots[i].life != uint32(key>>32) {
		return nil
	}
	return l.slots[i].turns
}

// first gives the connection its first turn.
func (t *turns) first() { t.loop.dispatch(t) }

// due asks for a turn.
func (t *turns) due() {
	if t == nil {
		return
	}
	for {
		switch t.state.Load() {
		case turnIdle:
			if t.state.CompareAndSwap(turnIdle, turnTaken) {
				t.loop.dispatch(t)
				return
			}
		case turnTaken:
			if t.state.CompareAndSwap(turnTaken, turnAgain) {
				return
			}
		default:
			return
		}
	}
}

// dispatch finds a worker.
func (l *loop) dispatch(t *turns) {
	l.mu.Lock()
	if n := len(l.idle); n > 0 {
		w := l.idle[n-1]
		l.idle = l.idle[:n-1]
		l.mu.Unlock()
		w <- t // it is empty
		return
	}
	l.mu.Unlock()
	l.all.Go(func() { l.work(t) })
}

func (l *loop) work(t *turns) {
	more := make(chan *turns, 1)
	for t != nil {
		t.run()
		l.mu.Lock()
		if l.closed || len(l.idle) >= maxIdle {
			l.mu.Unlock()
			return
		}
		l.idle = append(l.idle, more)
		l.mu.Unlock()
		t = <-more
	}
}

func (t *turns) run() {
	for {
		if t.conn.turn() {
			t.state.Store(turnOver)
			return
		}
		if t.state.CompareAndSwap(turnTaken, turnIdle) {
			return
		}
		t.state.Store(turnTaken)
	}
}

// begin waits for the first message, 0: for ever.
func (t *turns) begin(wait time.Duration) {
	if wait > 0 {
		t.firstBy.Store(t.loop.wake(t, wait))
	}
}

// heard says that the first message is waited for no longer.
func (t *turns) heard() { t.firstBy.Store(0) }

// silent says that the first message did not come in time.
func (t *turns) silent() bool { return t != nil && passed(t.firstBy.Load(), time.Now().UnixNano()) }

// closeIn bounds the wait for the end of the peer's direction.
func (t *turns) closeIn(wait time.Duration) { t.closeBy.Store(t.loop.wake(t, wait)) }

// over says that this wait is.
func (t *turns) over() bool { return t != nil && passed(t.closeBy.Load(), time.Now().UnixNano()) }

func passed(by, now int64) bool { return by != 0 && now >= by }

// end gives the place up.
func (t *turns) end() {
	if t == nil {
		return
	}
	l, i := t.loop, uint32(t.key)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slots[i].turns = nil
	l.slots[i].life++
	l.free = append(l.free, i)
}

// read reads what has arrived; errLater: nothing.
func (t *turns) read(b []byte) (int, error) {
	if t.secure {
		return t.conn.nc.Read(b)
	}
	if t.drained {
		t.drained = false
		return 0, errLater
	}
	n, err := readNow(t.raw, b)
	t.drained = n > 0 && n < len(b) && !t.ended.Load()
	return n, err
}

// event is that something has arrived for whoever has a key.
type event struct {
	key   uint64
	ended bool
}

func (l *loop) ready(events []event, found []*turns) {
	found = found[:0]
	l.mu.Lock()
	for _, e := range events {
		t := l.find(e.key)
		if t == nil {
			continue
		}
		if e.ended {
			t.ended.Store(true)
		}
		found = append(found, t)
	}
	l.mu.Unlock()
	for i, t := range found {
		t.due()
		found[i] = nil
	}
}

// wake gives a connection a turn after a time, and returns when.
func (l *loop) wake(t *turns, after time.Duration) (at int64) {
	due := time.Now().Add(after)
	at = due.UnixNano()
	l.waits.Lock()
	defer l.waits.Unlock()
	if len(l.deadlines) == 0 || at < l.deadlines[0].at {
		l.poller.until(due)
	}
	heap.Push(&l.deadlines, deadline{at, t.key})
	return at
}

// expire gives a turn to those whose time has come, and has the poller call it again for the next.
func (l *loop) expire(now time.Time) {
	var keys []uint64
	l.waits.Lock()
	for len(l.deadlines) > 0 && l.deadlines[0].at <= now.UnixNano() {
		keys = append(keys, l.deadlines[0].key)
		heap.Pop(&l.deadlines)
	}
	var next time.Time
	if len(l.deadlines) > 0 {
		next = time.Unix(0, l.deadlines[0].at)
	}
	l.poller.until(next)
	l.waits.Unlock()
	for _, key := range keys {
		l.mu.Lock()
		t := l.find(key)
		l.mu.Unlock()
		// Most were heard meanwhile: their deadlines stay in the heap until then.
		if t != nil && (passed(t.firstBy.Load(), now.UnixNano()) || passed(t.closeBy.Load(), now.UnixNano())) {
			t.due()
		}
	}
}

// deadline is when whoever has key is to be given a turn.
type deadline struct {
	at  int64 // in Unix nanoseconds
	key uint64
}

// deadlines are a heap.
type deadlines []deadline

func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, j int) bool { return d[i].at < d[j].at }
func (d deadlines) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *deadlines) Push(x any)        { *d = append(*d, x.(deadline)) } //nolint:forcetypeassert // nothing else is in it
func (d *deadlines) Pop() any {
	old := *d
	last := old[len(old)-1]
	*d = old[:len(old)-1]
	return last
}
