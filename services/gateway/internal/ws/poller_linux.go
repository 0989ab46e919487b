package ws

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// poller waits for sockets with epoll. Its descriptor is itself watched by Go's runtime, so that the wait takes no thread.
type poller struct {
	file *os.File
	raw  syscall.RawConn
	fd   int
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // else os takes it for a file that nobody can wait for
		return nil, errors.Join(fmt.Errorf("make epoll descriptor non-blocking: %w", err), unix.Close(fd))
	}
	file := os.NewFile(uintptr(fd), "epoll")
	raw, err := file.SyscallConn()
	if err == nil {
		err = file.SetReadDeadline(time.Time{}) // it says so when it cannot be waited for
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("watch epoll descriptor: %w", err), file.Close())
	}
	return &poller{file, raw, fd}, nil
}

// add has events of a socket reported with key, each once, until it is closed.
func (p *poller) add(raw syscall.RawConn, key uint64) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff, Fd: int32(uint32(key)), Pad: int32(uint32(key >> 32))}
	var failed error
	err := raw.Control(func(fd uintptr) { failed = unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, int(fd), &event) })
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("watch socket: %w", err)
	}
	return nil
}

// run reports events until close.
func (p *poller) run(l *loop) {
	raw, events, found := make([]unix.EpollEvent, 256), make([]event, 256), make([]*turns, 0, 256)
	wait := func(fd uintptr) bool {
		for {
			n, err := unix.EpollWait(int(fd), raw, 0)
			if err != nil && !errors.Is(err, unix.EINTR) {
				l.logger.Error("sockets cannot be waited for", "err", err)
				return true
			}
			for i, e := range raw[:max(n, 0)] {
				events[i] = event{
					key:   uint64(uint32(e.Pad))<<32 | uint64(uint32(e.Fd)),
					ended: e.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0,
				}
			}
			l.ready(events[:max(n, 0)], found)
			if err == nil && n < len(raw) {
				return false // the runtime waits for more
			}
		}
	}
	for {
		err := p.raw.Read(wait)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		l.expire(time.Now())
	}
}

// until has run call expire at that time; zero: never.
func (p *poller) until(at time.Time) { _ = p.file.SetReadDeadline(at) }

func (p *poller) close() { _ = p.file.Close() }

// reading is one read, kept so that it costs no allocation.
type reading struct {
	b   []byte
	n   int
	err error
	do  func(fd uintptr) bool
}

var readings = sync.Pool{New: func() any {
	r := &reading{}
	r.do = func(fd uintptr) bool {
		for {
			r.n, r.err = unix.Read(int(fd), r.b)
			if !errors.Is(r.err, unix.EINTR) {
				return true
			}
		}
	}
	return r
}}

// readNow reads what has arrived; errLater: nothing.
func readNow(raw syscall.RawConn, b []byte) (int, error) {
	r := readings.Get().(*reading) //nolint:forcetypeassert // nothing else is in it
	r.b = b
	err := raw.Read(r.do)
	n, failed := r.n, r.err
	r.b, r.err = nil, nil
	readings.Put(r)
	switch {
	case err != nil:
		return 0, err
	case errors.Is(failed, unix.EAGAIN):
		return 0, errLater
	case failed != nil:
		return 0, failed
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}
