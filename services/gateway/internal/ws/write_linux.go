package ws

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// writing is one write, kept so that it costs no allocation.
type writing struct {
	b  []byte
	n  int
	do func(fd uintptr)
}

func (w *writing) init() {
	w.do = func(fd uintptr) {
		for {
			n, err := unix.Write(int(fd), w.b)
			if !errors.Is(err, unix.EINTR) {
				w.n = max(n, 0)
				return
			}
		}
	}
}

// now writes what the socket takes at once. It asks for no more than that the descriptor stays what it is: unlike a write of the
// runtime's it needs no lock, because nobody else writes, and no deadline.
func (w *writing) now(raw syscall.RawConn, b []byte) int {
	w.b, w.n = b, 0
	_ = raw.Control(w.do)
	w.b = nil
	return w.n
}
