package pgtest

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

const (
	chunkSize = 32 << 10
	// maxHeld bounds an answer that is held until it is complete.
	maxHeld = 1 << 20
)

// link is a client's connection through the proxy.
type link struct {
	proxy  *Proxy
	client *net.TCPConn
	dead   chan struct{} // closed when both connections are

	mu     sync.Mutex
	server *net.TCPConn // nil while the proxy dials
	ended  bool
}

// connect gives the link its server, unless it was cut meanwhile.
func (l *link) connect(server *net.TCPConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.server = server
	return !l.ended
}

// abort resets both connections.
func (l *link) abort() { l.end(true) }

// close ends both connections after everything was passed on.
func (l *link) close() { l.end(false) }

func (l *link) end(reset bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.ended = true
	close(l.dead)
	for _, conn := range []*net.TCPConn{l.client, l.server} {
		if conn == nil {
			continue
		}
		if reset {
			_ = conn.SetLinger(0) // what is not sent yet is not sent, and the peer gets a reset
		}
		_ = conn.Close()
	}
}

// passRequests forwards from the client to the server until one of them has ended.
func (l *link) passRequests() {
	buf := make([]byte, chunkSize)
	for {
		n, err := l.client.Read(buf)
		if !l.forward(ToServer, l.server, buf[:n]) {
			return
		}
		if err != nil {
			l.passEnd(err, l.server)
			return
		}
	}
}

// passAnswers forwards from the server to the client until one of them has ended, or an answer is to be lost.
func (l *link) passAnswers() {
	buf := make([]byte, chunkSize)
	held := heldAnswer{link: l}
	for {
		n, err := l.server.Read(buf)
		if !held.take(buf[:n]) {
			return
		}
		if err != nil {
			if held.flush() {
				l.passEnd(err, l.client)
			}
			return
		}
	}
}

// forward writes as soon as the direction is not stalled; it says whether the link goes on.
func (l *link) forward(direction Direction, to *net.TCPConn, bytes []byte) bool {
	if len(bytes) == 0 {
		return true
	}
	if !l.awaitPassage(direction) {
		return false
	}
	if _, err := to.Write(bytes); err != nil {
		l.abort()
		return false
	}
	return true
}

func (l *link) awaitPassage(direction Direction) bool {
	for waited := false; ; waited = true {
		left, changed := l.proxy.stall(direction)
		if left <= 0 {
			return true
		}
		if !waited {
			l.proxy.count(func(c *Counts) { c.Stalls++ })
		}
		if !l.wait(left, changed) {
			return false
		}
	}
}

// wait returns after d, or before it when changed is closed; it says whether the link goes on.
func (l *link) wait(d time.Duration, changed <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-changed:
		return true
	case <-l.dead:
		return false
	}
}

// passEnd tells one side that the other's stream has ended, in the way it has.
func (l *link) passEnd(err error, to *net.TCPConn) {
	if !errors.Is(err, io.EOF) {
		l.abort()
		return
	}
	_ = to.CloseWrite() // an error means that it is closed already
}

// heldAnswer passes answers on, and holds one while it is open whether it is to be lost.
type heldAnswer struct {
	link    *link
	answer  answer
	started bool // the connection's first answer is through
	holding bool
	held    []byte
}

// take handles what the server sent; it says whether the link goes on in this direction.
func (h *heldAnswer) take(chunk []byte) bool {
	delayed := false
	for len(chunk) > 0 {
		if !h.answer.begun {
			h.holding = h.started && h.link.proxy.losing()
			if d := h.link.proxy.delay(); d > 0 && !delayed {
				delayed = true // those that came together wait together
				if !h.link.wait(d, nil) {
					return false
				}
			}
		}
		used, done := h.answer.next(chunk)
		if !h.pass(chunk[:used]) || done && !h.complete() {
			return false
		}
		chunk = chunk[used:]
	}
	return true
}

func (h *heldAnswer) pass(part []byte) bool {
	if !h.holding {
		return h.link.forward(ToClient, h.link.client, part)
	}
	h.held = append(h.held, part...)
	// A server that waits for the client's data must not be kept from saying so.
	if h.answer.copying || len(h.held) > maxHeld {
		h.holding = false
		return h.flush()
	}
	return true
}

func (h *heldAnswer) flush() bool {
	bytes := h.held
	h.held = nil
	return h.link.forward(ToClient, h.link.client, bytes)
}

// complete ends an answer.
func (h *heldAnswer) complete() bool {
	h.started = true
	if !h.holding {
		return true
	}
	switch h.link.proxy.decide(h.answer.tags) {
	case lost:
		h.link.abort()
		return false
	case halfClosed:
		if !h.link.awaitPassage(ToClient) {
			return false
		}
		_ = h.link.client.CloseWrite()
		_, _ = io.Copy(io.Discard, h.link.server) // ends with the client's end, or the server's
		return false
	default:
		return h.flush()
	}
}
