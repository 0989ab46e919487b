package member

import "sync"

// What one connection may have read and not yet sent on or answered. Beyond it the socket is not read, so TCP slows the
// client down.
const (
	windowFrames = 256
	windowBytes  = 256 << 10
	// frameWeight is what a frame weighs beside its payload.
	frameWeight = 64
)

// window counts a connection's frames between its socket and their being sent on or answered.
type window struct {
	mu     sync.Mutex
	room   sync.Cond
	frames int
	bytes  int
	closed bool
}

func newWindow() *window {
	w := &window{}
	w.room.L = &w.mu
	return w
}

// take waits for room and takes it; false: the member is gone. A frame always fits into an empty window.
func (w *window) take(bytes int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.closed && (w.frames >= windowFrames || w.frames > 0 && w.bytes+bytes > windowBytes) {
		w.room.Wait()
	}
	if w.closed {
		return false
	}
	w.frames++
	w.bytes += bytes
	return true
}

func (w *window) give(bytes int) {
	w.mu.Lock()
	w.frames--
	w.bytes -= bytes
	w.mu.Unlock()
	w.room.Signal()
}

// close ends all waiting.
func (w *window) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.room.Broadcast()
}
