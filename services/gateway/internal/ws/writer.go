package ws

import (
	"runtime"
	"sync/atomic"
	"syscall"
)

// writer writes for the connections that were given to it, whatever their sockets take at once. It takes those that have something
// queued one after the other, and of each all there is: while it is busy with others more gathers, so the busier the node, the fewer
// its writes. There is one per processor. No write of it waits, so no connection holds up others (S9).
//
//	outbox, first frame ──push──► head (newest first) ──all at once, turned over──► turn of each: one write
//	                                                                                 │ the socket is full, too much, a close frame
//	                                                                                 ▼
//	                                                                     a flusher, until nothing is queued
//
// Each outbox is in at most one place of one writer: outbox.busy says so.
type writer struct {
	head   atomic.Pointer[outbox]
	wake   chan struct{} // a value: head was empty
	closed atomic.Bool

	// merged holds what consists of several frames.
	merged []byte
	writing
	tally *tally
}

// yieldEvery turns the writer lets others run that are ready to.
const yieldEvery = 16

func newWriter(t *tally) *writer {
	w := &writer{wake: make(chan struct{}, 1), merged: make([]byte, 0, largeBuffer), tally: t}
	w.writing.init()
	return w
}

// push gives an outbox a turn.
func (w *writer) push(o *outbox) {
	for {
		head := w.head.Load()
		o.next = head
		if w.head.CompareAndSwap(head, o) {
			if head == nil {
				w.signal()
			}
			return
		}
	}
}

func (w *writer) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// close ends the writer once all pushed have had their turns. Nothing may be pushed after it.
func (w *writer) close() {
	w.closed.Store(true)
	w.signal()
}

func (w *writer) run() {
	turns := 0
	for {
		var first *outbox
		for o := w.head.Swap(nil); o != nil; { // they came in the other order
			next := o.next
			o.next = first
			first, o = o, next
		}
		if first == nil {
			if w.closed.Load() {
				return
			}
			<-w.wake
			continue
		}
		for o := first; o != nil; {
			next := o.next
			o.next = nil
			o.writeOut(w)
			o = next
			if turns++; turns%yieldEvery == 0 {
				runtime.Gosched()
			}
		}
	}
}

// write writes as much of the list as the socket takes at once, and says how much. Why it took no more, the next write tells.
func (w *writer) write(raw syscall.RawConn, l *frameList) (n int) {
	w.tally.add(1, l.count)
	if len(l.frames) == 1 {
		return w.now(raw, l.frames[0])
	}
	b := w.merged[:0]
	for _, f := range l.frames {
		b = append(b, f...)
	}
	return w.now(raw, b)
}
