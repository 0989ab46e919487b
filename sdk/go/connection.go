package parley

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/coder/websocket"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
)

// errSilent ends a connection from which nothing comes any more.
var errSilent = errors.New("server is silent")

// errReconnect ends a connection because the server asked for it.
var errReconnect = errors.New("server asked to reconnect")

// connection serves one open socket: it writes what the Client has to send, while a goroutine of its own reads.
type connection struct {
	c      *Client
	sock   *socket
	ctx    context.Context
	cancel context.CancelCauseFunc
}

// serve returns why the connection ended, nil when the Client is being closed. Its goroutines have then ended.
func (n *connection) serve() error {
	read := make(chan error, 1)
	go func() { read <- n.readAll() }()
	n.c.lastRead.Store(time.Now().UnixNano())
	watch := n.watch()
	var keeper sync.WaitGroup
	if n.c.cfg.GetToken != nil {
		keeper.Go(func() { n.c.keepToken(n.ctx) })
	}
	readDone, err := n.writeAll(read)
	watch.Stop()
	if err == nil || errors.Is(err, errReconnect) {
		readDone = n.closeGently(read, readDone)
	}
	n.cancel(err)
	keeper.Wait()
	_ = n.sock.ws.CloseNow()
	if !readDone {
		<-read //nolint:errcheck // why it ended is known
	}
	if cause := context.Cause(n.ctx); err != nil && errors.Is(err, context.Canceled) {
		err = cause
	}
	return n.c.explain(err)
}

// closeGently makes the closing handshake, for closeWait at most. It tells whether the reader has ended.
func (n *connection) closeGently(read <-chan error, readDone bool) bool {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_ = n.sock.ws.Close(websocket.StatusNormalClosure, "")
	}()
	timer := time.AfterFunc(closeWait, func() { n.cancel(nil) })
	defer timer.Stop()
	if !readDone {
		<-read //nolint:errcheck // it ends with the close frame, or the cut
	}
	// The reader ends with the peer's close frame, or with ctx, which cuts the connection: either way Close returns.
	n.cancel(nil)
	<-closed
	return true
}

func (n *connection) readAll() error {
	for {
		env, err := n.sock.read(n.ctx)
		if err != nil {
			return err
		}
		n.c.lastRead.Store(time.Now().UnixNano())
		n.c.handle(n.ctx, env)
	}
}

// watch looks after the silence of the server. It works on a timer's goroutine, so that a stuck write does not stop it.
func (n *connection) watch() *time.Timer {
	c := n.c
	liveness := liveness{interval: c.cfg.PingInterval, timeout: c.cfg.PingTimeout}
	var timer *time.Timer
	ready := make(chan struct{})
	timer = time.AfterFunc(liveness.interval, func() {
		<-ready
		ping, dead, again := liveness.check(time.Now(), time.Unix(0, c.lastRead.Load()))
		if dead {
			n.cancel(errSilent)
			return
		}
		if ping {
			c.mu.Lock()
			c.pingDue = true
			c.mu.Unlock()
			c.wakeWriter()
		}
		timer.Reset(again)
	})
	close(ready)
	return timer
}

// writeAll writes until the connection ends, the Client is stopped (nil) or a reconnect is due (errReconnect). readDone
// tells whether the reader has ended.
func (n *connection) writeAll(read <-chan error) (readDone bool, _ error) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var frames []*clientv1.Envelope
	for {
		var at time.Time
		frames, at = n.c.collect(time.Now(), frames[:0])
		for _, env := range frames {
			if err := n.sock.write(n.ctx, env); err != nil {
				return true, n.readersWord(read, err)
			}
		}
		wait := time.Hour
		if !at.IsZero() {
			wait = max(0, time.Until(at))
		}
		timer.Reset(wait)
		select {
		case <-n.c.wake:
		case <-timer.C:
		case err := <-read:
			return true, err
		case <-n.c.stop:
			return false, nil
		case <-n.c.ctx.Done():
			return false, nil
		}
		if n.c.reconnectDue(time.Now()) {
			return false, errReconnect
		}
	}
}

// readersWord waits for the reader after a failed write: it knows better why, it may have got a close frame.
func (n *connection) readersWord(read <-chan error, err error) error {
	timer := time.AfterFunc(closeWait, func() { n.cancel(err) })
	defer timer.Stop()
	return <-read
}

// explain adds what the server said before the connection ended.
func (c *Client) explain(err error) error {
	c.mu.Lock()
	said := c.serverError
	c.mu.Unlock()
	if err == nil || said == nil {
		return err
	}
	return fmt.Errorf("%w (%w)", err, said)
}
