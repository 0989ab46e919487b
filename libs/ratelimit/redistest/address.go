package redistest

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
)

// Address is a name that servers take over from each other: it passes connections on to the one it points at.
type Address struct {
	l  net.Listener
	wg sync.WaitGroup

	mu     sync.Mutex
	to     string
	conns  map[net.Conn]struct{}
	closed bool
}

// NewAddress returns an address that points at a server.
func NewAddress(ctx context.Context, at *Server) (*Address, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	a := &Address{l: l, to: at.Addr(), conns: map[net.Conn]struct{}{}}
	a.wg.Go(a.accept)
	return a, nil
}

// URL is the address for a client.
func (a *Address) URL() string { return "redis://" + a.l.Addr().String() + "/0" }

// Point has the address point at another server. Connections there are stay where they are, as they do when a name changes.
func (a *Address) Point(at *Server) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.to = at.Addr()
}

func (a *Address) accept() {
	for {
		c, err := a.l.Accept()
		if err != nil {
			return
		}
		a.mu.Lock()
		to := a.to
		a.mu.Unlock()
		s, err := net.Dial("tcp", to) //nolint:noctx // it is this machine, and Close ends it
		if err != nil || !a.hold(c, s) {
			_ = c.Close()
			if s != nil {
				_ = s.Close()
			}
			continue
		}
		a.wg.Go(func() { a.pass(c, s) })
		a.wg.Go(func() { a.pass(s, c) })
	}
}

func (a *Address) hold(conns ...net.Conn) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return false
	}
	for _, c := range conns {
		a.conns[c] = struct{}{}
	}
	return true
}

func (a *Address) pass(from, to net.Conn) {
	_, _ = io.Copy(to, from)
	for _, c := range []net.Conn{from, to} {
		_ = c.Close()
		a.mu.Lock()
		delete(a.conns, c)
		a.mu.Unlock()
	}
}

// Close cuts everything.
func (a *Address) Close() {
	_ = a.l.Close()
	a.mu.Lock()
	a.closed = true
	for c := range a.conns {
		_ = c.Close()
	}
	a.mu.Unlock()
	a.wg.Wait()
}
