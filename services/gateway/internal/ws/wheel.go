package ws

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// Wheel keeps all connections alive: each is visited once per period, gets a ping, and is cut when nothing was heard of
// it for two visits. One goroutine does this for all; a connection costs it a list node.
type Wheel struct {
	every   time.Duration
	mu      sync.Mutex
	buckets []*Conn // heads of doubly linked lists
	next    int
	count   int
}

// maxMisses visits without a sign of life cut a connection.
const maxMisses = 2

// wheelBuckets spreads the pings over the period.
const wheelBuckets = 250

// NewWheel returns a wheel that visits each connection once per period. Run turns it.
func NewWheel(period time.Duration) *Wheel {
	return &Wheel{every: period / wheelBuckets, buckets: make([]*Conn, wheelBuckets)}
}

// Run turns the wheel until ctx ends.
func (w *Wheel) Run(ctx context.Context) {
	t := time.NewTicker(max(w.every, time.Millisecond))
	defer t.Stop()
	var batch []*Conn
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			batch = w.turn(batch[:0])
			for i, c := range batch {
				c.visit()
				batch[i] = nil
			}
		}
	}
}

// turn returns the connections of the next bucket.
func (w *Wheel) turn(batch []*Conn) []*Conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := w.buckets[w.next]; c != nil; c = c.wheelNext {
		batch = append(batch, c)
	}
	w.next = (w.next + 1) % len(w.buckets)
	return batch
}

// All returns every connection.
func (w *Wheel) All() []*Conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]*Conn, 0, w.count)
	for _, c := range w.buckets {
		for ; c != nil; c = c.wheelNext {
			all = append(all, c)
		}
	}
	return all
}

// add puts a connection into a random bucket, so that a herd that came together is not pinged together for ever.
func (w *Wheel) add(c *Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.wheelBucket = rand.IntN(len(w.buckets))
	head := w.buckets[c.wheelBucket]
	c.wheelNext, c.wheelPrev = head, nil
	if head != nil {
		head.wheelPrev = c
	}
	w.buckets[c.wheelBucket] = c
	w.count++
}

func (w *Wheel) remove(c *Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.wheelPrev != nil {
		c.wheelPrev.wheelNext = c.wheelNext
	} else {
		w.buckets[c.wheelBucket] = c.wheelNext
	}
	if c.wheelNext != nil {
		c.wheelNext.wheelPrev = c.wheelPrev
	}
	c.wheelNext, c.wheelPrev = nil, nil
	w.count--
}
