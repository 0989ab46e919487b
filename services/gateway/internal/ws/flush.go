package ws

import (
	"errors"
	"os"
	"slices"
	"time"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
)

// taken is what was taken from an outbox to be written.
type taken struct {
	list    *frameList
	held    int  // of it in the backlog
	closing bool // a close frame is the last of it
}

// take takes all that is queued and tells those who wait for room; ok is false when there was nothing, and nobody is to look again
// until start. Called with the lock held, which it gives up.
func (o *outbox) take(t *taken) (ok bool) {
	*t = taken{o.list, o.weight, o.closing}
	waiters := o.waiters
	o.list, o.queued, o.forced, o.weight, o.waiters = nil, 0, 0, 0, nil
	if t.list == nil { // if anybody waits, it is only because the backlog was full
		o.end()
	}
	o.mu.Unlock()
	for _, w := range waiters {
		w.Drained()
	}
	return t.list != nil
}

// writeOut is the outbox's turn at its writer: what is queued leaves in one write that does not wait. A flusher does what is left of
// it, and what may take longer.
func (o *outbox) writeOut(w *writer) {
	var t taken
	defer func() {
		if p := recover(); p != nil {
			o.fault(p)
			o.s.backlog.Add(-int64(t.held))
		}
	}()
	o.mu.Lock()
	if !o.dead && (o.closing || o.queued > largeBuffer) {
		o.flushFrom(t)
		o.mu.Unlock()
		return
	}
	if !o.take(&t) {
		return
	}
	all := t.skip(w.write(o.turns.raw, t.list))
	if all {
		o.written(&t)
	}
	again := false
	o.mu.Lock()
	switch {
	case !all && !o.dead:
		o.flushFrom(t)
		t = taken{}
	case o.list != nil || len(o.waiters) > 0:
		again = true
	default:
		o.end()
	}
	o.mu.Unlock()
	if t.list != nil { // it was cut meanwhile
		o.written(&t)
	}
	if again {
		w.push(o)
	}
}

// skip takes the first n bytes, which were written, off what was taken, and says whether that is all.
func (t *taken) skip(n int) bool {
	for i, f := range t.list.frames {
		if n < len(f) {
			t.list.frames[i] = f[n:]
			t.list.frames, t.list.count = slices.Delete(t.list.frames, 0, i), 0 // they were counted
			return false
		}
		n -= len(f)
	}
	return true
}

// written gives back what was taken.
func (o *outbox) written(t *taken) {
	o.s.lists.put(t.list)
	o.s.backlog.Add(-int64(t.held))
	*t = taken{}
}

// flushFrom has a goroutine write what was taken, if anything, and then what is queued until there is nothing. Called with the lock
// held, and not for a dead outbox: whose connection may have been the last to be waited for.
func (o *outbox) flushFrom(t taken) {
	o.s.running.Add(1)
	go o.flush(t)
}

func (o *outbox) flush(t taken) {
	defer o.s.running.Done()
	defer func() { o.s.backlog.Add(-int64(t.held)) }()
	defer func() {
		if p := recover(); p != nil {
			o.fault(p)
		}
	}()
	for {
		if t.list == nil {
			o.mu.Lock()
			if !o.take(&t) {
				return
			}
		}
		o.s.metrics.flushers.frames.Add(int64(t.list.count))
		err, closing := o.write(t.list.frames), t.closing
		o.writing.Store(0)
		o.written(&t)
		switch {
		case err != nil:
			if errors.Is(err, os.ErrDeadlineExceeded) && !o.slow.Load() {
				o.s.metrics.dropped(dropDeadline)
				o.mu.Lock()
				o.code = int(clientv1.CloseCode_CLOSE_CODE_SLOW)
				o.mu.Unlock()
			}
			o.kill()
		case closing:
			o.closeWritten()
		}
	}
}

// fault is a waiter's. The stream is not known to be whole any more, so the connection is cut to resume.
func (o *outbox) fault(p any) {
	o.s.failed("write", p)
	o.kill()
	o.mu.Lock()
	o.end()
	o.mu.Unlock()
}

// end notes that nobody has the outbox to do. Called with the lock held.
func (o *outbox) end() {
	o.busy = false
	if o.idle != nil {
		close(o.idle)
		o.idle = nil
	}
}

// waitFlushed waits until nothing is queued or being written. The write deadline bounds it. At most one caller waits.
func (o *outbox) waitFlushed() {
	o.mu.Lock()
	if !o.busy {
		o.mu.Unlock()
		return
	}
	idle := make(chan struct{})
	o.idle = idle
	o.mu.Unlock()
	<-idle
}

// closeWritten ends our direction. The peer may still be sending: closing the socket now would answer that with a reset,
// which can destroy our close frame in the peer's buffer. So the reader discards until the peer closes or CloseTimeout.
func (o *outbox) closeWritten() {
	half, ok := o.nc.(interface{ CloseWrite() error })
	if o.peerClosed.Load() || !ok || half.CloseWrite() != nil {
		o.kill()
		return
	}
	if o.turns != nil {
		o.turns.closeIn(o.s.cfg.CloseTimeout)
		return
	}
	_ = o.nc.SetReadDeadline(time.Now().Add(o.s.cfg.CloseTimeout))
}
