package parley

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/parley-rt/parley/libs/protocol/codes"
)

// errHelloLate: the server opened a session of its own accord, because hello took too long on its way. It is not this Client's,
// which still has its own.
var errHelloLate = errors.New("hello came too late")

// runner owns a Client's connections, one after the other. It is the goroutine that Dial starts.
type runner struct {
	c       *Client
	at      *addresses
	backoff backoff
	// lastErr is why the newest attempt or connection ended. Read by others only after the end.
	lastErr error
	// ever: there was a session.
	ever bool
	// announced is what the server asked for in a reconnect frame: connect again at this time. Zero: it did not.
	announced time.Time
}

func (r *runner) run() {
	c := r.c
	defer close(c.done)
	defer c.cancel()
	r.tell(StateChange{State: Connecting})
	for {
		err := r.connect()
		if err == nil || r.stopped() {
			r.finish(ErrClosed)
			return
		}
		r.lastErr = err
		if r.final(err) {
			r.finish(err)
			return
		}
		delay := r.delay(err)
		c.cfg.Logger.Debug("connection ended", "err", err, "retry_in", delay)
		r.tell(StateChange{State: Connecting, Err: err, RetryIn: delay})
		if !r.wait(delay) {
			r.finish(ErrClosed)
			return
		}
	}
}

func (r *runner) stopped() bool {
	select {
	case <-r.c.stop:
		return true
	case <-r.c.ctx.Done():
		return true
	default:
		return false
	}
}

func (r *runner) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.c.stop:
	case <-r.c.ctx.Done():
	}
	return false
}

// delay moves on to the next address and returns the wait before it is tried: what the server asked for, else the backoff.
func (r *runner) delay(err error) time.Duration {
	now := time.Now()
	earliest := r.announced
	r.announced = time.Time{}
	if earliest.IsZero() {
		earliest = now.Add(r.backoff.next(rand.Float64()))
	}
	var handshake *HandshakeError
	if errors.As(err, &handshake) && handshake.RetryAfter > 0 {
		// The header has whole seconds: everybody who got the same would come back at the same moment.
		r.at.refuse(now, handshake.RetryAfter+rand.N(retrySpread), earliest)
	}
	return max(0, r.at.next(now, earliest).Sub(now))
}

// retrySpread is over how much those who were told the same Retry-After come back.
const retrySpread = time.Second

// final tells whether trying again would be pointless.
func (r *runner) final(err error) bool {
	if errors.Is(err, ErrNoToken) {
		return true
	}
	var closed *CloseError
	if errors.As(err, &closed) {
		return !codes.Reconnect(int(closed.Code))
	}
	var handshake *HandshakeError
	if !errors.As(err, &handshake) {
		return false
	}
	switch handshake.Status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
		return true
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusOK:
		// Nothing that speaks WebSocket was ever there; during a roll-out of the server it may be gone for a moment.
		return !r.ever && r.at.single()
	default:
		return false
	}
}

// finish ends everything that hangs on the Client.
func (r *runner) finish(err error) {
	c := r.c
	c.mu.Lock()
	c.state, c.err = Disconnected, err
	for len(c.order) > 0 {
		c.order[0].end(err)
	}
	c.mu.Unlock()
	change := StateChange{State: Disconnected}
	if !errors.Is(err, ErrClosed) {
		change.Err = err
	}
	if c.cfg.OnState != nil {
		c.cfg.OnState(change)
	}
}

// tell sets the state and reports it.
func (r *runner) tell(change StateChange) {
	c := r.c
	c.mu.Lock()
	c.state = change.State
	c.mu.Unlock()
	if c.cfg.OnState != nil {
		c.cfg.OnState(change)
	}
}

// connect makes one connection and serves it to its end. nil: the Client is being closed.
func (r *runner) connect() error {
	ctx, cancel := context.WithCancelCause(r.c.ctx)
	defer cancel(nil)
	sock, err := r.open(ctx)
	if err != nil {
		return err
	}
	opened := time.Now()
	r.at.accept()
	r.tell(StateChange{State: Connected})
	if !r.ever {
		r.ever = true
		close(r.c.opened)
	}
	conn := &connection{c: r.c, sock: sock, ctx: ctx, cancel: cancel}
	err = conn.serve()
	r.announced = r.c.disconnected()
	r.backoff.lasted(time.Since(opened))
	return err
}

// open dials and exchanges hello and session.
func (r *runner) open(ctx context.Context) (_ *socket, err error) {
	c := r.c
	ctx, cancel := context.WithTimeout(ctx, c.cfg.HandshakeTimeout)
	defer cancel()
	defer r.cancelOnStop(ctx, cancel)()

	token, err := c.token(ctx)
	if err != nil {
		return nil, err
	}
	sock, err := openSocket(ctx, r.at.current(), c.cfg)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			r.announced = c.disconnected()
			_ = sock.ws.CloseNow()
		}
	}()
	if err := sock.write(ctx, c.hello(token, time.Now())); err != nil {
		return nil, fmt.Errorf("send hello: %w", err)
	}
	for {
		env, err := sock.read(ctx)
		if err != nil {
			return nil, c.explain(fmt.Errorf("open session: %w", err))
		}
		if refusal := env.GetError(); refusal != nil {
			c.note(errorOf(refusal))
			continue
		}
		if later := env.GetReconnect(); later != nil { // the server has no time for this one now; a close frame follows
			c.mu.Lock()
			c.onReconnect(later, time.Now())
			c.mu.Unlock()
			continue
		}
		if s := env.GetSession(); s != nil {
			if env.GetId() != helloID {
				return nil, errHelloLate
			}
			c.opensSession(s)
			return sock, nil
		}
	}
}
