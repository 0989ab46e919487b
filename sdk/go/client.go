package parley

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
)

const (
	// maxSignals bounds the signals that wait for the writer.
	maxSignals = 256
	// signalID is the id of every signal's frame: a signal is answered only when it is refused, so nothing is remembered
	// for one, but the refusal must not be taken for that of something else.
	signalID = 1
	// helloID is the id of hello, which the session that answers it has too.
	helloID = 1
)

// Client is one member's connection to Parley, kept up until Close.
type Client struct {
	cfg Config

	// ctx is the Client's lifetime: cancelled to cut everything off.
	ctx    context.Context
	cancel context.CancelFunc
	// stop is closed by Close: end in good order.
	stop     chan struct{}
	stopOnce sync.Once
	// opened is closed by the first session, done when everything has ended.
	opened chan struct{}
	done   chan struct{}

	wake     chan struct{}
	lastRead atomic.Int64 // Unix nanoseconds of the newest frame

	mu      sync.Mutex
	state   State
	err     error
	session Session
	// attempt numbers the hellos: the server may carry out one late that this Client has given up.
	attempt uint64
	rooms   map[string]*Room
	order   []*Room // in the order of joining
	signals []*clientv1.Signal

	// On the current connection:
	nextID      uint32
	asked       map[uint32]purpose // what frames with an id were sent for
	pingDue     bool
	reconnectAt time.Time
	renewal     *renewal  // the newest; nil: none was made
	helpless    *helpless // nil when there is no other gateway
	serverError *Error    // the newest error that belongs to nothing; it explains the close after it
}

// purpose tells what a frame was sent for: in a room exactly one of the pointers, or join.
type purpose struct {
	room  *Room
	pub   *publication
	call  *call
	join  bool
	renew *renewal
}

// Dial connects to Parley at url: "ws://host:8080", the path defaults to /ws. Several gateways of the same Parley are separated
// by commas ("ws://a:8080,ws://b:8080"): the Client begins at a random one (see Config.InOrder) and goes on to the next after a
// failure, or when a gateway asks it to leave. Dial returns once a session is open. It tries again after failures that may pass until ctx ends,
// and returns at once what will not: a bad address, a refusal for good. After Dial has returned, ctx has no more influence on
// the Client.
func Dial(ctx context.Context, url string, cfg Config) (*Client, error) {
	cfg, err := cfg.validate()
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", url, err)
	}
	at, err := parseAddresses(url, cfg.InOrder)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	c := &Client{
		cfg:     cfg,
		session: Session{Token: cfg.SessionToken},
		stop:    make(chan struct{}),
		opened:  make(chan struct{}),
		done:    make(chan struct{}),
		wake:    make(chan struct{}, 1),
		rooms:   map[string]*Room{},
		asked:   map[uint32]purpose{},
	}
	c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if !at.single() {
		c.helpless = &helpless{patience: cfg.HelplessTimeout}
	}
	r := &runner{c: c, at: at, backoff: backoff{min: cfg.BackoffMin, max: cfg.BackoffMax}}
	go r.run()
	select {
	case <-c.opened:
		return c, nil
	case <-c.done:
		return nil, fmt.Errorf("dial %s: %w", url, c.Err())
	case <-ctx.Done():
		c.cancel()
		<-c.done
		return nil, fmt.Errorf("dial %s: %w", url, errors.Join(ctx.Err(), r.lastErr))
	}
}

// Join joins a room. It waits for a connection and retries what may be retried until ctx ends; the room is then left again.
func (c *Client) Join(ctx context.Context, roomID string, opts JoinOptions) (*Room, error) {
	r, err := newRoom(c, roomID, opts)
	if err != nil {
		return nil, fmt.Errorf("join %s: %w", roomID, err)
	}
	c.mu.Lock()
	switch {
	case c.state == Disconnected:
		err = c.err
	case c.rooms[roomID] != nil:
		err = ErrJoined
	default:
		c.rooms[roomID] = r
		c.order = append(c.order, r)
		r.wantJoin = true
		c.wakeWriter()
	}
	c.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("join %s: %w", roomID, err)
	}
	select {
	case <-r.entered:
		return r, nil
	case <-r.ended:
		return nil, fmt.Errorf("join %s: %w", roomID, r.err)
	case <-ctx.Done():
		c.mu.Lock()
		defer c.mu.Unlock()
		if r.phase == joining || r.phase == joined {
			r.startLeaving(ctx.Err())
			c.wakeWriter()
		}
		return nil, fmt.Errorf("join %s: %w", roomID, ctx.Err())
	}
}

// State returns what the Client is doing about its connection.
func (c *Client) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// Session returns the newest session. Its Token, given to another process as Config.SessionToken, takes the session over:
// this Client's connection then ends for good.
func (c *Client) Session() Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.session
	s.Rooms = slices.Clone(s.Rooms)
	return s
}

// SessionToken returns Session().Token.
func (c *Client) SessionToken() string { return c.Session().Token }

// MemberID returns who the server says this client is.
func (c *Client) MemberID() string { return c.Session().MemberID }

// Done is closed when the Client has ended: by Close, or by a refusal for good.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err returns why the Client ended: ErrClosed, a *CloseError or a *HandshakeError; nil while it lives.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the Client: unanswered calls fail with ErrClosed, rooms end, and the connection is closed in good order for as
// long as ctx lasts, else cut. The session stays on the server until it expires. All goroutines have ended when Close
// returns. Closing twice is harmless.
func (c *Client) Close(ctx context.Context) error {
	c.stopOnce.Do(func() { close(c.stop) })
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		c.cancel()
		<-c.done
		return fmt.Errorf("close: %w", ctx.Err())
	}
}

// wakeWriter makes the writer look for work. The lock need not be held.
func (c *Client) wakeWriter() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// forget takes a room out. The lock is held.
func (c *Client) forget(r *Room) {
	if c.rooms[r.id] != r {
		return
	}
	delete(c.rooms, r.id)
	if i := slices.Index(c.order, r); i >= 0 {
		c.order = slices.Delete(c.order, i, i+1)
	}
}

// frameID returns an id for a frame and remembers what it is for. The lock is held.
func (c *Client) frameID(a purpose) uint32 {
	c.nextID++
	c.nextID = max(c.nextID, signalID+1)
	c.asked[c.nextID] = a
	return c.nextID
}
