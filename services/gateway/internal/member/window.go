package member

import (
	"sync"

	"github.com/parley-rt/parley/services/gateway/internal/ws"
)

// What one connection may have read and not yet sent on or answered. Beyond it the socket is not read, so TCP slows the
// client down.
const (
	windowFrames = 256
	windowBytes  = 256 << 10
	// frameWeight is what a frame weighs beside its payload.
	frameWeight = 64
	// copies of a frame are there while it waits: what was read, and what is sent on.
	copies = 2
)

// window counts a connection's frames between its socket and their being sent on or answered. While too much waits in this
// node, there is room for one frame.
type window struct {
	backlog *ws.Backlog // nil: nobody else counts

	mu     sync.Mutex
	room   sync.Cond
	frames int
	bytes  int
	closed bool
}

func (w *window) init(backlog *ws.Backlog) {
	w.backlog, w.room.L = backlog, &w.mu
}

// take waits for room and takes it; false: the member is gone. A frame always fits into an empty window. Before it waits it calls
// waits, which must not block.
func (w *window) take(bytes int, waits func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.closed && w.frames > 0 && (w.frames >= windowFrames || w.bytes+bytes > windowBytes || w.backlog != nil && w.backlog.Full()) {
		waits()
		w.room.Wait()
	}
	if w.closed {
		return false
	}
	w.frames++
	w.bytes += bytes
	w.count(bytes)
	return true
}

func (w *window) give(bytes int) {
	w.mu.Lock()
	w.frames--
	w.bytes -= bytes
	if !w.closed {
		w.count(-bytes)
	}
	w.mu.Unlock()
	w.room.Signal()
}

// close ends all waiting.
func (w *window) close() {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		w.count(-w.bytes)
	}
	w.mu.Unlock()
	w.room.Broadcast()
}

func (w *window) count(bytes int) {
	if w.backlog != nil {
		w.backlog.Add(int64(copies * bytes))
	}
}
