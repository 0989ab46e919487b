package ws

import (
	"errors"
	"os"
	"time"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codes"
)

// serve reads in the calling goroutine until the connection ends.
func (c *Conn) serve() {
	for !c.turn() {
	}
}

// turn opens the connection if it is new, handles what has arrived and says whether the connection is over. Without turns of its own
// the connection waits for more in it. A fault in its handler costs this connection a reconnect and nobody else (S9).
func (c *Conn) turn() (over bool) {
	var fail *failure
	if !c.failed {
		ended := false
		if !c.guard(func() { fail, ended = c.proceed() }) {
			internal := clientv1.CloseCode_CLOSE_CODE_INTERNAL
			fail = &failure{int(internal), codes.CloseName(internal)}
		}
		switch {
		case fail != nil:
			c.failed = true
			c.release()
			c.Close(fail.code, fail.reason)
		case ended:
			c.end()
			return true
		default:
			return false
		}
	}
	if !c.discard() {
		return false
	}
	c.waitFlushed()
	c.end()
	return true
}

// proceed is a turn before anything failed. ended: the socket did, or the time that the peer has to close.
func (c *Conn) proceed() (fail *failure, ended bool) {
	if c.open != nil {
		c.begin()
	}
	defer c.rested() // whatever ended it: nothing that was handed over waits for more for ever
	if c.turns.over() {
		return nil, true
	}
	if c.first && c.turns.silent() && !c.Closing() {
		c.silence()
	}
	for {
		fail, err := c.frames()
		switch {
		case fail != nil:
			return fail, false
		case !errors.Is(err, errMore):
			return nil, true
		}
		room := c.room()
		if c.turns == nil { // it waits
			c.rested()
		}
		n, err := c.read(room)
		switch {
		case n > 0:
			c.buf.b = c.buf.b[:len(c.buf.b)+n]
			c.filled = n == len(room)
		case errors.Is(err, errLater):
			c.park()
			return nil, false
		default:
			return nil, true
		}
	}
}

// begin makes the handler.
func (c *Conn) begin() {
	c.heard.Store(true)
	c.s.metrics.opened()
	c.s.wheel.add(c)
	open := c.open
	c.open = nil
	c.handler = open()
	wait := c.handler.Opened()
	switch {
	case c.turns != nil:
		c.turns.begin(wait)
	case wait > 0:
		_ = c.nc.SetReadDeadline(time.Now().Add(wait))
	}
}

// end comes last and once.
func (c *Conn) end() {
	c.release()
	c.kill()
	c.turns.end()
	c.s.wheel.remove(c)
	c.mu.Lock()
	code := c.code
	c.mu.Unlock()
	if c.handler != nil {
		c.guard(func() { c.handler.Closed(code) })
	}
	c.s.metrics.closed(code, time.Since(c.opened))
	c.s.end()
}

func (c *Conn) silence() {
	c.first = false
	c.stopWaiting()
	c.handler.Silence()
}

// stopWaiting for the first message.
func (c *Conn) stopWaiting() {
	if c.turns != nil {
		c.turns.heard()
		return
	}
	_ = c.nc.SetReadDeadline(time.Time{})
	if c.Closing() { // a close in between set a deadline that was just lifted
		_ = c.nc.SetReadDeadline(time.Now().Add(c.s.cfg.CloseTimeout))
	}
}

// readSize is the capacity of the buffer for a read: a goroutine holds it while it waits.
func (c *Conn) readSize() int {
	if c.turns == nil {
		return tinyBuffer
	}
	return smallBuffer
}

// read reads once. The end of the wait for the first message is not an error: reading goes on where it was.
func (c *Conn) read(b []byte) (int, error) {
	if c.turns != nil {
		return c.turns.read(b)
	}
	for {
		n, err := c.nc.Read(b)
		switch {
		case err == nil || n > 0:
			return n, nil
		case c.first && errors.Is(err, os.ErrDeadlineExceeded) && !c.Closing():
			c.silence()
			if c.Closing() {
				_ = c.nc.SetReadDeadline(time.Now().Add(c.s.cfg.CloseTimeout))
			}
		default:
			return 0, errSocket
		}
	}
}

// maxDiscard bounds what is read after a failure: a peer that goes on sending is cut.
const maxDiscard = 1 << 20

// discard reads on after a failure so that the peer gets to read our close frame; see outbox.closeWritten. The flusher ends it, by a
// deadline or by closing the socket. It says whether there is no more.
func (c *Conn) discard() (ended bool) {
	if c.peerClosed.Load() {
		return true
	}
	scratch := c.s.buffers.get(smallBuffer)
	defer c.s.buffers.put(scratch)
	for c.discarded < maxDiscard {
		if c.turns.over() {
			return true
		}
		c.first = false // nobody waits for it any more
		n, err := c.read(scratch.b[:cap(scratch.b)])
		switch {
		case errors.Is(err, errLater):
			return false
		case err != nil:
			return true
		}
		c.discarded += n
	}
	return true
}
