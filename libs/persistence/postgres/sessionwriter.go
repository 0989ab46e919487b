package postgres

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
)

// sessionKind is what a change does.
type sessionKind int

const (
	createSessions sessionKind = iota
	resumeSessions
	saveSessions
)

// Bounds of the queue of sessions, and of one transaction.
const (
	maxSessionQueue = 8192
	maxSessionBytes = 32 << 20
	maxSessionBatch = 500
)

// sessionSpacing is the least time between the beginnings of two transactions. A session that comes alone does not wait; when
// thousands come back, each that had a transaction of its own would take the disk from those who publish meanwhile.
const sessionSpacing = 10 * time.Millisecond

// sessionChange is one conditional update of one session.
type sessionChange struct {
	kind        sessionKind
	id          persistence.SessionID
	token, next persistence.TokenHash
	member      string
	attempt     uint64
	generation  uint64
	rooms       []string
	save        int64 // numbers the saves of this process
	ttl         time.Duration

	session persistence.Session // the result

	mu    sync.Mutex
	state sessionState
	err   error
	done  chan struct{}
}

type sessionState int

const (
	sessionQueued sessionState = iota
	sessionTaken
	sessionLeft
)

// sessionWriter commits the changes of sessions: all that are queued in one transaction, one statement of each kind.
// While it is under way, and for sessionSpacing from its beginning, the next ones gather. One goroutine, one connection.
type sessionWriter struct {
	b      *Backend
	mu     sync.Mutex
	filled sync.Cond
	queue  []*sessionChange
	bytes  int
	closed bool
	// saver is this process among all that save sessions; saves counts what it was asked to save.
	saver, saves int64
	slot         slot
	done         chan struct{}
}

func newSessionWriter(b *Backend) *sessionWriter {
	w := &sessionWriter{b: b, saver: newIncarnation(), done: make(chan struct{})}
	w.filled.L = &w.mu
	return w
}

// do queues the change and waits for it, no longer than ctx.
func (w *sessionWriter) do(ctx context.Context, c *sessionChange) error {
	if err := w.b.refuses(ctx); err != nil {
		return err
	}
	c.done = make(chan struct{})
	w.mu.Lock()
	switch {
	case w.closed:
		w.mu.Unlock()
		return persistence.ErrClosed
	case len(w.queue) >= maxSessionQueue || len(w.queue) > 0 && w.bytes+c.bytes() > maxSessionBytes:
		w.mu.Unlock()
		return fmt.Errorf("%d changes of sessions are queued: %w", len(w.queue), persistence.ErrOverloaded)
	}
	w.bytes += c.bytes()
	if c.kind == saveSessions {
		w.saves++
		c.save = w.saves
	}
	w.queue = append(w.queue, c)
	w.filled.Signal()
	w.mu.Unlock()
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
	}
	c.mu.Lock()
	was := c.state
	c.state = sessionLeft
	c.mu.Unlock()
	if was == sessionQueued {
		return fmt.Errorf("withdrawn from the queue: %w: %w", persistence.ErrUnavailable, ctx.Err())
	}
	select {
	case <-c.done:
		return c.err
	default:
		return fmt.Errorf("in a commit: %w: %w", persistence.ErrUnknown, ctx.Err())
	}
}

// close refuses new changes; those queued are made.
func (w *sessionWriter) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.filled.Signal()
}

// bytes is about what the change weighs.
func (c *sessionChange) bytes() int {
	n := 256 + len(c.member)
	for _, room := range c.rooms {
		n += 16 + len(room)
	}
	return n
}

// left tells whether nobody waits for the change any more.
func (c *sessionChange) left() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == sessionLeft
}

func (c *sessionChange) answer(err error) {
	c.err = err
	close(c.done)
}

func (w *sessionWriter) run() {
	defer close(w.done)
	var last time.Time
	for {
		time.Sleep(time.Until(last.Add(sessionSpacing)))
		batch, ok := w.take()
		if !ok {
			break
		}
		if len(batch) > 0 {
			last = time.Now()
			w.store(batch)
		}
	}
	if w.slot.conn != nil {
		w.b.farewell(w.slot.conn)
	}
}

// take takes the oldest changes, at most one of each session.
func (w *sessionWriter) take() (batch []*sessionChange, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) == 0 && !w.closed {
		w.filled.Wait()
	}
	if len(w.queue) == 0 {
		return nil, false
	}
	seen := map[persistence.SessionID]struct{}{}
	kept, next := w.queue[:0], 0
	for ; next < len(w.queue) && len(batch) < maxSessionBatch; next++ {
		c := w.queue[next]
		if _, again := seen[c.id]; again {
			kept = append(kept, c)
			continue
		}
		w.bytes -= c.bytes()
		c.mu.Lock()
		if c.state == sessionQueued {
			c.state = sessionTaken
			seen[c.id] = struct{}{}
			batch = append(batch, c)
		}
		c.mu.Unlock()
	}
	kept = append(kept, w.queue[next:]...)
	clear(w.queue[len(kept):])
	w.queue = kept
	return batch, true
}

// store commits the batch and answers it. A batch whose answer was lost is sent again; its statements (sessionsql.go) write
// again what they have written, so that the answer waits for a commit.
func (w *sessionWriter) store(batch []*sessionChange) {
	// In one order everywhere, so that batches of two nodes do not deadlock.
	slices.SortFunc(batch, func(a, b *sessionChange) int { return slices.Compare(a.id[:], b.id[:]) })
	r := w.b.newRetry(nil)
	for r.next() {
		batch = slices.DeleteFunc(batch, (*sessionChange).left)
		if len(batch) == 0 {
			return
		}
		results := make([]error, len(batch))
		err := w.b.trySingle(w.b.lifetime, &w.slot, r.timeout(), func(ctx context.Context, c *conn) error {
			return changeSessions(ctx, c, batch, results, w.saver, r.doubt)
		})
		if err == nil {
			for i, c := range batch {
				c.answer(results[i])
			}
			return
		}
		if r.failed(err) {
			w.slot.drop()
		}
	}
	err := failure(r.err, r.doubt)
	for _, c := range batch {
		c.answer(err)
	}
}
