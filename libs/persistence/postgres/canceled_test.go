package postgres_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/postgres"
)

// lingering is a connection whose closing cancels the waits for the standby first, and lets what the server answers to that
// be read.
type lingering struct {
	net.Conn
	cancel  func()
	closing atomic.Bool
	read    chan struct{}
}

func (c *lingering) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && c.closing.Load() {
		select {
		case c.read <- struct{}{}:
		default:
		}
	}
	return n, err
}

func (c *lingering) Close() error {
	if !c.closing.Swap(true) {
		c.cancel()
		select {
		case <-c.read:
		case <-time.After(200 * time.Millisecond): // nothing was waiting
		}
	}
	return c.Conn.Close()
}

// TestWaitCanceledInTheLastMoment: an operator cancels the wait for the standby just when the attempt's time is over, so
// that the server's success, with its warning, is read before the socket closes. It is as doubtful as ever.
func TestWaitCanceledInTheLastMoment(t *testing.T) {
	t.Parallel()
	primary, standby := replicated(t)
	var armed atomic.Bool
	cancel := func() {
		if armed.Load() {
			ctx, done := context.WithTimeout(context.Background(), 5*time.Second)
			defer done()
			_ = primary.Exec(ctx, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
		}
	}
	b := opened(t, primary.URL(), postgres.Options{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &lingering{Conn: conn, cancel: cancel, read: make(chan struct{}, 1)}, nil
	}})
	c := claim(t, b, "room/1")
	require.NoError(t, standby.Pause())
	armed.Store(true)
	_, err := b.Append(within(t, 4*time.Second), c, 0, event("during"))
	require.ErrorIs(t, err, persistence.ErrUnknown)
	armed.Store(false)
	require.NoError(t, standby.Resume())
}

// TestCanceledSnapshot: a snapshot whose commit is visible, but not replicated, is not acknowledged before it is.
func TestCanceledSnapshot(t *testing.T) {
	t.Parallel()
	primary, standby := replicated(t)
	b := opened(t, primary.URL(), postgres.Options{})
	c := claim(t, b, "room/1")
	_, err := b.Append(within(t, 10*time.Second), c, 0, event("before"))
	require.NoError(t, err)
	require.NoError(t, standby.Pause())
	acked := make(chan error, 1)
	go func() {
		acked <- b.SaveSnapshot(within(t, 60*time.Second), c, persistence.Snapshot{Seq: 1, Payload: []byte("state")})
	}()
	for range 3 { // whatever is canceled, another attempt waits again
		require.Eventually(t, func() bool { return waitingCommits(t, primary) > 0 }, 20*time.Second, 5*time.Millisecond)
		require.NoError(t, primary.Exec(t.Context(), "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"))
		require.Empty(t, acked, "acknowledged before it was replicated")
	}
	h, err := b.Head(t.Context(), "room/1")
	require.NoError(t, err)
	require.EqualValues(t, 1, h.SnapSeq, "the canceled commit is visible: that is the danger")
	require.Empty(t, acked)
	require.NoError(t, standby.Resume())
	require.NoError(t, <-acked)
}
