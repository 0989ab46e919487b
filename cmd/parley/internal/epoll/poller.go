//go:build linux

package epoll

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Interests of a socket.
const (
	Read  = unix.EPOLLIN | unix.EPOLLRDHUP
	Write = unix.EPOLLOUT
)

// Event says what a socket is ready for.
type Event = unix.EpollEvent

// Poller waits for sockets. Only Wake may be called while another goroutine is in Wait.
type Poller struct {
	fd, wake int
	events   [512]Event
}

// New returns a poller of no sockets. The caller closes it.
func New() (*Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create epoll: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create eventfd: %w", err), unix.Close(fd))
	}
	p := &Poller{fd: fd, wake: wake}
	if err := p.Add(wake, unix.EPOLLIN); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// Add begins to watch a socket, level-triggered.
func (p *Poller) Add(fd int, interest uint32) error {
	return p.control(unix.EPOLL_CTL_ADD, fd, interest)
}

// Change changes what is waited for. A socket that is closed is forgotten by itself.
func (p *Poller) Change(fd int, interest uint32) error {
	return p.control(unix.EPOLL_CTL_MOD, fd, interest)
}

func (p *Poller) control(op, fd int, interest uint32) error {
	err := unix.EpollCtl(p.fd, op, fd, &Event{Events: interest, Fd: int32(fd)})
	if err != nil {
		return fmt.Errorf("watch socket: %w", err)
	}
	return nil
}

// Wait returns what is ready, at the latest after d; d < 0 waits for ever. The events are valid until the next call.
func (p *Poller) Wait(d time.Duration) ([]Event, error) {
	timeout := -1
	if d >= 0 {
		timeout = int((d + time.Millisecond - 1) / time.Millisecond)
	}
	n, err := unix.EpollWait(p.fd, p.events[:], timeout)
	switch {
	case errors.Is(err, unix.EINTR):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("wait for sockets: %w", err)
	}
	ready := p.events[:n]
	for i, e := range ready {
		if int(e.Fd) != p.wake {
			continue
		}
		var count [8]byte
		_, _ = unix.Read(p.wake, count[:])
		ready[i] = ready[n-1]
		return ready[:n-1], nil
	}
	return ready, nil
}

// Wake makes the Wait under way, or the next one, return.
func (p *Poller) Wake() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(p.wake, one[:])
}

// Close gives up the poller, not the sockets.
func (p *Poller) Close() error { return errors.Join(unix.Close(p.fd), unix.Close(p.wake)) }
