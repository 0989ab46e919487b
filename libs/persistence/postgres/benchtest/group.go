package benchtest

import (
	"runtime"
	"sync"

	"github.com/parley-rt/parley/libs/persistence"
)

// groupEvents bounds a group, as the journal does.
const groupEvents = 1000

// Request is one append. It can be used again after Append has returned.
type Request struct {
	Stream int64
	Seq    uint64
	Events []persistence.Event
	done   chan error
}

// group is group commit and nothing else: it stores what has been queued while it stored what was before.
type group struct {
	mu     sync.Mutex
	filled *sync.Cond
	queue  []*Request
	closed bool
	done   chan struct{}
}

func newGroup(store func([]*Request) error) *group {
	g := &group{done: make(chan struct{})}
	g.filled = sync.NewCond(&g.mu)
	go g.run(store)
	return g
}

func (g *group) append(r *Request) error {
	if r.done == nil {
		r.done = make(chan error, 1)
	}
	g.mu.Lock()
	g.queue = append(g.queue, r)
	if len(g.queue) == 1 {
		g.filled.Signal()
	}
	g.mu.Unlock()
	return <-r.done
}

func (g *group) run(store func([]*Request) error) {
	defer close(g.done)
	var batch []*Request
	for {
		runtime.Gosched() // as the journal does: those who were just answered come back at once
		if batch = g.take(batch[:0]); len(batch) == 0 {
			return
		}
		err := store(batch)
		for _, r := range batch {
			r.done <- err
		}
	}
}

func (g *group) take(batch []*Request) []*Request {
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.queue) == 0 && !g.closed {
		g.filled.Wait()
	}
	n, events := 0, 0
	for n < len(g.queue) && (n == 0 || events+len(g.queue[n].Events) <= groupEvents) {
		events += len(g.queue[n].Events)
		n++
	}
	batch = append(batch, g.queue[:n]...)
	g.queue = append(g.queue[:0], g.queue[n:]...)
	return batch
}

func (g *group) close() {
	g.mu.Lock()
	g.closed = true
	g.filled.Signal()
	g.mu.Unlock()
	<-g.done
}
