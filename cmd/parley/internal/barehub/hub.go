//go:build linux

package barehub

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Options of a hub.
type Options struct {
	// Listen is a TCP address; port 0 takes a free one.
	Listen string
	// Tail is how many of the last messages of a room those who come later may have. 0: none.
	Tail int
	// Loops is how many threads serve; 0: one per processor.
	Loops int
}

// hub is what the loops share.
type hub struct {
	loops []*loop
	tail  int

	mu    sync.Mutex
	rooms map[string]*room
}

// Run serves until ctx ends. ready gets the address once connections are taken.
func Run(ctx context.Context, opts Options, ready func(addr string)) (err error) {
	if opts.Loops <= 0 {
		opts.Loops = runtime.GOMAXPROCS(0)
	}
	h := &hub{tail: opts.Tail, rooms: make(map[string]*room)}
	defer func() {
		for _, l := range h.loops {
			err = errors.Join(err, l.close())
		}
	}()
	addr := opts.Listen
	for i := range opts.Loops {
		fd, bound, err := listen(ctx, addr)
		if err != nil {
			return err
		}
		addr = bound // the others share the port that the first one got
		l, err := newLoop(h, i, fd)
		if err != nil {
			return errors.Join(err, unix.Close(fd))
		}
		h.loops = append(h.loops, l)
	}
	ready(addr)
	errs := make(chan error, len(h.loops))
	for _, l := range h.loops {
		go func() { errs <- l.run() }()
	}
	stop := context.AfterFunc(ctx, h.stop)
	defer stop()
	for range h.loops {
		err = errors.Join(err, <-errs)
		h.stop() // one that fails takes the others along
	}
	return err
}

func (h *hub) stop() {
	for _, l := range h.loops {
		l.stopped.Store(true)
		l.poll.Wake()
	}
}

// listen returns a socket of its own queue for newcomers, which the kernel spreads over all that share the port.
func listen(ctx context.Context, addr string) (fd int, bound string, err error) {
	cfg := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		})
		return errors.Join(err, failed)
	}}
	l, err := cfg.Listen(ctx, "tcp", addr)
	if err != nil {
		return 0, "", fmt.Errorf("listen: %w", err)
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	file, err := l.(*net.TCPListener).File() //nolint:forcetypeassert // that is what tcp gives
	if err != nil {
		return 0, "", fmt.Errorf("listen: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	fd, err = unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		return 0, "", fmt.Errorf("listen: %w", err)
	}
	return fd, l.Addr().String(), nil
}

// room returns the room of a name, made when it is new.
func (h *hub) room(name []byte) *room {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r := h.rooms[string(name)]; r != nil {
		return r
	}
	r := &room{name: string(name), parts: make([]part, len(h.loops))}
	h.rooms[r.name] = r
	return r
}
