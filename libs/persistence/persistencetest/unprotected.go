package persistencetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
)

// The wrappers of this file and the next take one protection away from a backend, from outside: what is shipped has no
// switch for it. A chaos run over a wrapped backend must find violations; one that finds none proves nothing about the
// backend as it is.

// DialFunc dials a database, as pgx and the backends over it want it.
type DialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// Unfenced is b as if it compared no epochs and no positions: a writer whose stream was claimed by another goes on where
// the stream ends now, in the other's epoch.
func Unfenced(b persistence.Backend) persistence.Backend { return &unfenced{b} }

type unfenced struct{ persistence.Backend }

func (u *unfenced) Append(ctx context.Context, c persistence.Claim, expected uint64, events []persistence.Event) (uint64, error) {
	overtaken := false // by the claim that fenced c, whose appends move the head under us
	for {
		last, err := u.Backend.Append(ctx, c, expected, events)
		fenced := errors.Is(err, persistence.ErrFenced)
		if overtaken = overtaken || fenced; !fenced && (!overtaken || !errors.Is(err, persistence.ErrConflict)) {
			return last, err
		}
		head, err := u.Head(ctx, c.Key)
		if err != nil {
			return 0, fmt.Errorf("append without a fence: %w", err)
		}
		c.Epoch, expected = head.Epoch, head.LastSeq
	}
}

func (u *unfenced) SaveSnapshot(ctx context.Context, c persistence.Claim, s persistence.Snapshot) error {
	for {
		err := u.Backend.SaveSnapshot(ctx, c, s)
		if !errors.Is(err, persistence.ErrFenced) {
			return err
		}
		head, err := u.Head(ctx, c.Key)
		if err != nil {
			return fmt.Errorf("save a snapshot without a fence: %w", err)
		}
		c.Epoch = head.Epoch
	}
}

// Unsettled is a backend that takes a broken connection for a failed commit. Its Dial notices that a connection broke
// while an answer was due; at that moment, all appends on their way through its Backend are answered with ErrUnavailable,
// although the backend below would have found out what became of them.
type Unsettled struct {
	mu     sync.Mutex
	broken chan struct{}
	// Losses counts the appends that were answered so.
	losses int
}

// NewUnsettled makes one for one backend.
func NewUnsettled() *Unsettled { return &Unsettled{broken: make(chan struct{})} }

// Losses is how many appends were taken for failed.
func (u *Unsettled) Losses() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.losses
}

// Dial is for the options of the backend.
func (u *Unsettled) Dial(dial DialFunc) DialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &wireConn{Conn: conn, gaveUp: func(*wire) { u.breakOff() }}, nil
	}
}

func (u *Unsettled) breakOff() {
	u.mu.Lock()
	defer u.mu.Unlock()
	close(u.broken)
	u.broken = make(chan struct{})
}

// Backend wraps the backend that was opened with Dial. Its Close waits for the appends that go on below.
func (u *Unsettled) Backend(b persistence.Backend) persistence.Backend {
	return &unsettled{Backend: b, u: u}
}

type unsettled struct {
	persistence.Backend
	u     *Unsettled
	below sync.WaitGroup
}

func (b *unsettled) Append(ctx context.Context, c persistence.Claim, expected uint64, events []persistence.Event) (uint64, error) {
	type answer struct {
		last uint64
		err  error
	}
	b.u.mu.Lock()
	broken := b.u.broken
	b.u.mu.Unlock()
	answered := make(chan answer, 1)
	b.below.Go(func() {
		last, err := b.Backend.Append(ctx, c, expected, events)
		answered <- answer{last, err}
	})
	select {
	case a := <-answered:
		return a.last, a.err
	case <-broken:
		b.u.mu.Lock()
		b.u.losses++
		b.u.mu.Unlock()
		return 0, fmt.Errorf("append without settlement: the connection broke: %w", persistence.ErrUnavailable)
	}
}

func (b *unsettled) Close(ctx context.Context) error {
	err := b.Backend.Close(ctx)
	b.below.Wait()
	return err
}

// Cancelling dials for a client that cancels what it gives up: when it closes a connection, or the connection fails it or
// passes its deadline, while an answer is due, a CancelRequest goes to the server, as pgx sends it when it may dial again.
// A server that waits for its replicas in a commit then stops waiting and shows the commit to everybody. sent, which may
// be nil, is called for each.
func Cancelling(dial DialFunc, sent func()) DialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &wireConn{Conn: conn, gaveUp: func(w *wire) {
			if sendCancel(dial, network, addr, w.key()) && sent != nil {
				sent()
			}
		}}, nil
	}
}

// cancelWithin bounds the sending of a CancelRequest: whoever closes the connection waits for it.
const cancelWithin = 2 * time.Second

func sendCancel(dial DialFunc, network, addr string, key []byte) bool {
	if key == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), cancelWithin)
	defer cancel()
	conn, err := dial(ctx, network, addr)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(cancelWithin))
	if _, err := conn.Write(cancelRequest(key)); err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, conn) // the server closes once it has signalled
	return true
}

// wireConn is a connection that notices being given up while an answer is due. It tells so once.
type wireConn struct {
	net.Conn
	wire   wire
	once   sync.Once
	gaveUp func(*wire)
}

func (c *wireConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.wire.received(p[:n])
	if err != nil {
		c.givenUp()
	}
	return n, err
}

func (c *wireConn) Write(p []byte) (int, error) {
	c.wire.sent(p)
	n, err := c.Conn.Write(p)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.givenUp()
	}
	return n, err
}

// SetDeadline with a time that has passed is how a client interrupts its own reading.
func (c *wireConn) SetDeadline(t time.Time) error {
	err := c.Conn.SetDeadline(t)
	if !t.IsZero() && !t.After(time.Now()) {
		c.givenUp()
	}
	return err
}

func (c *wireConn) Close() error {
	c.givenUp()
	return c.Conn.Close()
}

func (c *wireConn) givenUp() {
	if c.wire.unanswered() {
		c.once.Do(func() { c.gaveUp(&c.wire) })
	}
}
