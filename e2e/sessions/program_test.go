package sessions

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
	"github.com/parley-rt/parley/sdk/go"
)

// cable connects a client of sdk/go to one gateway at a time, or to none: being away is up to the test.
type cable struct {
	mu    sync.Mutex
	at    *harness.Node
	conns []net.Conn
}

var errPulled = errors.New("the cable is pulled")

// plug moves the client to another gateway.
func (c *cable) plug(g *harness.Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = g
	for _, conn := range c.conns {
		_ = conn.Close() // may be closed
	}
	c.conns = nil
}

func (c *cable) pull() { c.plug(nil) }

func (c *cable) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at == nil {
		return nil, errPulled
	}
	at, err := url.Parse(c.at.URL())
	if err != nil {
		return nil, err
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, at.Host)
	if err == nil {
		c.conns = append(c.conns, conn)
	}
	return conn, err
}

// program is a client of sdk/go in one room, with everything that its stream yields.
type program struct {
	cable  cable
	client *parley.Client
	room   *parley.Room

	mu       sync.Mutex
	events   []event
	arrived  chan struct{}
	taken    int
	sessions []parley.Session
}

// event is a message or a reset.
type event struct {
	parley.Message
	reset *parley.ResetError
}

func newProgram(t *testing.T, g *harness.Node, room string) *program {
	t.Helper()
	p := &program{arrived: make(chan struct{})}
	p.cable.plug(g)
	ctx, cancel := context.WithCancel(t.Context())
	var err error
	p.client, err = parley.Dial(ctx, "ws://gateways.invalid/ws", parley.Config{
		BackoffMin: 20 * time.Millisecond, BackoffMax: 200 * time.Millisecond,
		HTTPClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: p.cable.dial}},
		OnSession: func(s parley.Session) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.sessions = append(p.sessions, s)
		},
	})
	require.NoError(t, err)
	p.room, err = p.client.Join(ctx, room, parley.JoinOptions{Buffer: 1 << 15})
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.listen(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		_ = p.client.Close(ctx) // it is cut
		<-done
	})
	return p
}

func (p *program) listen(ctx context.Context) {
	for m, err := range p.room.Messages(ctx) {
		e := event{Message: m}
		if err != nil && !errors.As(err, &e.reset) {
			return
		}
		p.mu.Lock()
		p.events = append(p.events, e)
		close(p.arrived)
		p.arrived = make(chan struct{})
		p.mu.Unlock()
	}
}

// say publishes until it is acknowledged.
func (p *program) say(t *testing.T, content string) uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ack, err := p.room.Publish(ctx, content, parley.PublishOptions{MessageID: content})
	require.NoError(t, err)
	return ack.Seq
}

// hear returns the events up to the message with that content, without those that an earlier call returned.
func (p *program) hear(t *testing.T, last string) (heard []event) {
	t.Helper()
	for {
		e := p.next(t, last)
		heard = append(heard, e)
		if e.reset == nil && e.Content == last {
			return heard
		}
	}
}

// next returns the next event; what it is waited for is told when it does not come.
func (p *program) next(t *testing.T, what string) event {
	t.Helper()
	deadline := time.After(patience)
	for {
		p.mu.Lock()
		arrived := p.arrived
		if p.taken < len(p.events) {
			e := p.events[p.taken]
			p.taken++
			p.mu.Unlock()
			return e
		}
		p.mu.Unlock()
		select {
		case <-arrived:
		case <-deadline:
			require.FailNow(t, "the SDK's stream does not bring "+what)
		}
	}
}

// session is the newest.
func (p *program) session() parley.Session {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sessions[len(p.sessions)-1]
}

// contiguous requires that the events are messages which continue the cursor (S5), and returns their contents.
func contiguous(t *testing.T, cursor uint64, events []event) (contents []string) {
	t.Helper()
	for _, e := range events {
		require.Nil(t, e.reset)
		require.Equal(t, cursor, e.PrevSeq, "a gap or a repeat before %s", e.Content)
		cursor = e.Seq
		contents = append(contents, e.Content)
	}
	return contents
}
