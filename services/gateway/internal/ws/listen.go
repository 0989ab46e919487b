package ws

import (
	"crypto/tls"
	"net"
	"sync/atomic"
	"syscall"
)

// later says that nothing has arrived. It looks like a time-out because that is what leaves TLS intact.
type later struct{}

func (later) Error() string   { return "nothing has arrived" }
func (later) Timeout() bool   { return true }
func (later) Temporary() bool { return true }

var errLater net.Error = later{}

// Listen wraps a listener beneath TLS, so that connections over TLS need no goroutine to read either.
func Listen(l net.Listener) net.Listener { return listener{l} }

type listener struct{ net.Listener }

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok && err == nil {
		if raw, err := tcp.SyscallConn(); err == nil {
			return &socket{TCPConn: tcp, raw: raw, hello: &hello{}}, nil
		}
	}
	return c, err
}

// socket is what is beneath TLS: first like any other, for the handshakes, then one whose reads return errLater.
type socket struct {
	*net.TCPConn
	raw  syscall.RawConn
	asks atomic.Bool // whether something has arrived, and does not wait for it
	// hello is for the first reads, nil after them.
	hello *hello
}

func (s *socket) Read(b []byte) (int, error) {
	switch {
	case s.asks.Load():
		return readNow(s.raw, b)
	case s.hello != nil:
		n, done, err := s.hello.read(s.TCPConn, b)
		if done {
			s.hello = nil
		}
		return n, err
	}
	return s.TCPConn.Read(b)
}

// readable returns what tells when something has arrived on a connection, for reads that do not wait; nil: that is not known.
func readable(nc net.Conn) (raw syscall.RawConn, secure bool) {
	switch c := nc.(type) {
	case *net.TCPConn:
		if raw, err := c.SyscallConn(); err == nil {
			return raw, false
		}
	case *tls.Conn:
		if s, ok := c.NetConn().(*socket); ok {
			return s.raw, true
		}
	}
	return nil, false
}
