//go:build linux

package barehub

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parley-rt/parley/cmd/parley/internal/epoll"
)

// loop serves the connections that it accepted, on a thread of its own.
type loop struct {
	hub      *hub
	index    int
	listener int
	poll     *epoll.Poller
	stopped  atomic.Bool

	conns   map[int]*conn
	buf     []byte  // what is read in a turn, one connection after the other
	touched []*room // those with fresh publishes
	acked   []*conn // those with acknowledgements
	leaving []*room // those with frames for members here
	joins   []join
	turn    []batch
	clock   []byte

	mu    sync.Mutex
	inbox []batch
}

type join struct {
	c      *conn
	room   *room
	after  uint64
	replay bool
}

const (
	readSize = 64 << 10
	// turnBytes bounds what is read in a turn, so that what waits for the end of it does not wait long.
	turnBytes = 4 << 20
	// maxUnread is what may wait for a connection that does not read; then it is cut.
	maxUnread = 64 << 20
)

func newLoop(h *hub, index, listener int) (*loop, error) {
	poll, err := epoll.New()
	if err != nil {
		return nil, err
	}
	if err := poll.Add(listener, epoll.Read); err != nil {
		return nil, errors.Join(err, poll.Close())
	}
	return &loop{hub: h, index: index, listener: listener, poll: poll, conns: make(map[int]*conn), buf: make([]byte, turnBytes+4*readSize)}, nil
}

func (l *loop) close() error {
	err := errors.Join(l.poll.Close(), unix.Close(l.listener))
	for fd := range l.conns {
		err = errors.Join(err, unix.Close(fd))
	}
	return err
}

// give queues a batch for the loop's next turn. The room's lock keeps the order.
func (l *loop) give(b batch) {
	l.mu.Lock()
	first := len(l.inbox) == 0
	l.inbox = append(l.inbox, b)
	l.mu.Unlock()
	if first {
		l.poll.Wake()
	}
}

func (l *loop) run() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for !l.stopped.Load() {
		events, err := l.poll.Wait(-1)
		if err != nil {
			return fmt.Errorf("loop %d: %w", l.index, err)
		}
		l.read(events)
		l.number()
		l.deliver()
		l.join()
	}
	return nil
}

// read takes what is ready, up to turnBytes; the rest is ready in the next turn, too.
func (l *loop) read(events []epoll.Event) {
	used := 0
	for _, e := range events {
		fd := int(e.Fd)
		if fd == l.listener {
			l.accept()
			continue
		}
		c := l.conns[fd]
		if c == nil {
			continue
		}
		if e.Events&epoll.Write != 0 {
			l.flush(c)
		}
		if e.Events&^uint32(epoll.Write) == 0 || used >= turnBytes {
			continue
		}
		n := copy(l.buf[used:], c.rest)
		got, err := unix.Read(fd, l.buf[used+n:used+max(readSize, 2*n)])
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || got <= 0 || !l.take(c, l.buf[used:used+n+got]) {
			l.cut(c)
			continue
		}
		used += n + got
	}
}

func (l *loop) accept() {
	for {
		fd, _, err := unix.Accept4(l.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		if l.poll.Add(fd, epoll.Read) != nil {
			_ = unix.Close(fd)
			continue
		}
		l.conns[fd] = newConn(fd)
	}
}

// number numbers what came in.
func (l *loop) number() {
	if len(l.touched) == 0 {
		return
	}
	l.clock = time.Now().UTC().AppendFormat(l.clock[:0], time.RFC3339Nano)
	for _, r := range l.touched {
		p := &r.parts[l.index]
		r.number(p.fresh, l.clock, l.hub.tail, l.hub.loops)
		clear(p.fresh)
		p.fresh = p.fresh[:0]
	}
	l.touched = l.touched[:0]
}

// deliver writes to each member what its room has for it, and acknowledgements with it.
func (l *loop) deliver() {
	l.mu.Lock()
	l.turn, l.inbox = l.inbox, l.turn[:0]
	l.mu.Unlock()
	for _, b := range l.turn {
		p := &b.room.parts[l.index]
		if len(p.marks) == 0 {
			l.leaving = append(l.leaving, b.room)
			p.out = b.frames
		} else {
			p.out = append(p.out[:len(p.out):len(p.out)], b.frames...)
		}
		p.marks = append(p.marks, mark{b.last, len(p.out)})
	}
	clear(l.turn)
	for _, r := range l.leaving {
		p := &r.parts[l.index]
		for i := 0; i < len(p.members); {
			c := p.members[i]
			out := p.out
			if c.from >= p.marks[0].seq {
				out = p.since(c.from)
			}
			l.write(c, out)
			if !c.gone { // else another one has taken its place
				i++
			}
		}
		p.out, p.marks = nil, p.marks[:0]
	}
	l.leaving = l.leaving[:0]
	for _, c := range l.acked {
		l.write(c, nil)
	}
	l.acked = l.acked[:0]
}

func (l *loop) join() {
	for _, j := range l.joins {
		if j.c.gone || j.c.room != nil {
			continue
		}
		head, missed := j.room.join(l, j.c, j.after, j.replay)
		out := appendJoined(nil, j.room.name, head)
		for _, frame := range missed {
			out = append(out, frame...)
		}
		l.write(j.c, out)
	}
	clear(l.joins)
	l.joins = l.joins[:0]
}

// write sends acknowledgements that wait and frames, in one write; what the socket does not take waits.
func (l *loop) write(c *conn, frames []byte) {
	if c.gone || len(c.acks)+len(frames) == 0 {
		return
	}
	if len(c.unsent) > 0 {
		c.unsent = append(append(c.unsent, c.acks...), frames...)
		c.acks = c.acks[:0]
		if len(c.unsent) > maxUnread {
			l.cut(c)
		}
		return
	}
	var n int
	var err error
	switch {
	case len(c.acks) == 0:
		n, err = unix.Write(c.fd, frames)
	case len(frames) == 0:
		n, err = unix.Write(c.fd, c.acks)
	default:
		n, err = unix.Writev(c.fd, [][]byte{c.acks, frames})
	}
	if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
		l.cut(c)
		return
	}
	n = max(n, 0)
	if n < len(c.acks) {
		c.unsent = append(append(c.unsent, c.acks[n:]...), frames...)
	} else if rest := frames[n-len(c.acks):]; len(rest) > 0 {
		c.unsent = append(c.unsent, rest...)
	}
	c.acks = c.acks[:0]
	if len(c.unsent) > 0 && l.poll.Change(c.fd, epoll.Read|epoll.Write) != nil {
		l.cut(c)
	}
}

// flush sends what waited for the socket.
func (l *loop) flush(c *conn) {
	n, err := unix.Write(c.fd, c.unsent)
	if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
		l.cut(c)
		return
	}
	if c.unsent = c.unsent[max(n, 0):]; len(c.unsent) == 0 {
		c.unsent = nil
		if l.poll.Change(c.fd, epoll.Read) != nil {
			l.cut(c)
		}
	}
}

func (l *loop) cut(c *conn) {
	if c.gone {
		return
	}
	c.gone = true
	if c.room != nil {
		c.room.leave(l, c)
	}
	delete(l.conns, c.fd)
	_ = unix.Close(c.fd)
}
