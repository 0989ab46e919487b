package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
)

// Proxy stands between clients and a Postgres server and breaks what is between them, on request. Without a fault it passes
// everything on as it comes. Faults apply to connections there are and to new ones. It takes no TLS.
//
// It knows where the server's answers end, so that a fault hits a whole answer and the request has certainly been executed.
// The answer to a connection's start-up is never lost: refuse or cut connections for that. It buffers 64 KiB per connection,
// and one answer up to 1 MiB while answers are being lost; longer ones pass.
//
// Its methods may be called by several goroutines.
type Proxy struct {
	listener net.Listener
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	group    sync.WaitGroup

	mu     sync.Mutex
	target string
	links  map[*link]struct{}
	faults faults
	counts Counts
	// changed is closed and replaced when faults change: who waits looks again.
	changed chan struct{}
}

// Counts are what happened so far. Connections are those that reached the target; Unreachable those that did not, because
// nobody listened there. The others count the faults that really hit something.
type Counts struct {
	Connections, Unreachable                        int
	LostAnswers, HalfCloses, DelayedAnswers, Stalls int
	Cuts, Refusals                                  int
}

// NewProxy listens on a free port of 127.0.0.1 and passes connections on to target, a host:port.
func NewProxy(target string) (*Proxy, error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the proxy: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Proxy{
		listener: listener, ctx: ctx, cancel: cancel, target: target, links: map[*link]struct{}{}, changed: make(chan struct{}),
	}
	p.group.Go(p.accept)
	return p, nil
}

// Addr is where the proxy listens, as host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// SetTarget is where connections go from now on; those there are stay where they are.
func (p *Proxy) SetTarget(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = addr
}

// Counts returns what happened so far.
func (p *Proxy) Counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts
}

// Close cuts all connections and returns when nothing of the proxy runs any more.
func (p *Proxy) Close() error {
	p.cancel()
	err := p.listener.Close()
	p.cutAll()
	p.group.Wait()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close the proxy: %w", err)
	}
	return nil
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			if p.ctx.Err() != nil {
				return
			}
			continue // this one connection is gone, or the process is out of files for the moment
		}
		if tcp, ok := client.(*net.TCPConn); ok {
			p.group.Go(func() { p.serve(tcp) })
		}
	}
}

// serve handles one connection to its end.
func (p *Proxy) serve(client *net.TCPConn) {
	l := &link{proxy: p, client: client, dead: make(chan struct{})}
	target, taken := p.take(l)
	if !taken {
		l.abort()
		return
	}
	defer p.drop(l)
	var dialer net.Dialer
	server, err := dialer.DialContext(p.ctx, "tcp", target)
	if err != nil {
		p.count(func(c *Counts) { c.Unreachable++ })
		l.abort()
		return
	}
	tcp, ok := server.(*net.TCPConn)
	if !ok || !l.connect(tcp) {
		_ = server.Close()
		return
	}
	p.count(func(c *Counts) { c.Connections++ })
	var pumps sync.WaitGroup
	pumps.Go(l.passRequests)
	pumps.Go(l.passAnswers)
	pumps.Wait()
	l.close()
}

// take notes the link before it has a server, so that cutting finds it, and says where to go.
func (p *Proxy) take(l *link) (target string, taken bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return "", false
	}
	if p.faults.refuse {
		p.counts.Refusals++
		return "", false
	}
	p.links[l] = struct{}{}
	return p.target, true
}

func (p *Proxy) drop(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}

func (p *Proxy) count(add func(*Counts)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	add(&p.counts)
}
