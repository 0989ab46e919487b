package actorkit

import (
	"fmt"
	"runtime"
	"sync"
	"time"
)

// Neighbours are nodes of different services in one process: they hand each other their batches directly, by a call, and not
// over a socket to their own machine. Everything else is as between nodes of different processes: one batch at a time, numbered,
// and judged by the door. The zero value is empty. Safe for concurrent use.
type Neighbours struct {
	nodes sync.Map // incarnation → *Node
}

func (n *Neighbours) add(node *Node) {
	if n != nil {
		n.nodes.Store(node.self.Incarnation, node)
	}
}

func (n *Neighbours) remove(node *Node) {
	if n != nil {
		n.nodes.Delete(node.self.Incarnation)
	}
}

// find returns the node of that life; nil: it is not here.
func (n *Neighbours) find(incarnation string) *Node {
	if n == nil {
		return nil
	}
	node, _ := n.nodes.Load(incarnation)
	found, _ := node.(*Node)
	return found
}

// hand gives the batch that next has formed to a neighbour. What arrives keeps the frames' bodies and what they encode, which nobody
// changes, and nothing else of the batch.
func (l *link) hand(to *Node, out *batch, bodies int) (m any) {
	defer recoverTask(func(err error) { m = &answered{err: err} })
	start, frames := time.Now(), int64(out.len())
	l.handed.Store(start.UnixNano())
	refused := to.hands.take(out.seal(), out.decoded)
	l.handed.CompareAndSwap(start.UnixNano(), 0)
	out.release()
	if refused != "" {
		return &answered{err: fmt.Errorf("%w: %s", ErrRefused, refused)}
	}
	l.node.metrics.sentBatch(l.node.ctx, time.Since(start), frames, int64(bodies))
	return &answered{}
}

// handing is for how long a neighbour has not taken the batch that is given to it; 0: none is. A call has no time limit.
func (l *link) handing(now time.Time) time.Duration {
	if began := l.handed.Load(); began != 0 {
		return now.Sub(time.Unix(0, began))
	}
	return 0
}

// gather lets what is runnable run before a batch to a neighbour is formed. On a socket the next batch forms while one is on its
// way; a call takes no time, so that every frame would make a batch of its own.
func (l *link) gather() {
	if l.node.cfg.Neighbours.find(l.peer.Incarnation) != nil {
		runtime.Gosched()
	}
}
