package postgres_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/postgres"
)

// network loses a connection from one of its writes on: the process gives it up, and its bytes arrive when the network heals,
// as retransmissions do after a partition. Statements that were sent again have been answered by then.
type network struct {
	// armed: the next write but skip is the first that is held back.
	armed   atomic.Bool
	skip    atomic.Int64
	mu      sync.Mutex
	release []func()
}

type lateConn struct {
	net.Conn
	n      *network
	mu     sync.Mutex
	held   []byte
	hold   bool
	closed bool
}

func (n *network) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &lateConn{Conn: c, n: n}, nil
}

func (c *lateConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.hold && c.n.armed.Load() && c.n.skip.Add(-1) < 0 && c.n.armed.CompareAndSwap(true, false) {
		c.hold = true
	}
	if c.hold {
		c.held = append(c.held, b...)
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func (c *lateConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	if !c.hold {
		return c.Conn.Close()
	}
	_ = c.Conn.SetReadDeadline(time.Now()) // the process is gone from it
	held := c.held
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	c.n.release = append(c.n.release, func() {
		_ = c.Conn.SetReadDeadline(time.Time{})
		_, _ = c.Conn.Write(held)
		buf := make([]byte, 4096)
		_ = c.Conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		for {
			if _, err := c.Conn.Read(buf); err != nil {
				break
			}
		}
		_ = c.Conn.Close()
	})
	return nil
}

// lose arms the network; skip is how many writes, of whatever connection, are let through before.
func (n *network) lose(skip int64) {
	n.skip.Store(skip)
	n.armed.Store(true)
}

// heal lets what was held back arrive, and returns how many connections had something.
func (n *network) heal() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, f := range n.release {
		f()
	}
	k := len(n.release)
	n.release = nil
	return k
}

// TestLateSaveRooms and those below: what was answered stays, whatever arrives afterwards.
func TestLateSaveRooms(t *testing.T) {
	t.Parallel()
	n := &network{}
	b := opened(t, shared.SchemaURL(t), postgres.Options{Dial: n.dial})
	id := persistence.SessionID{1}
	s, err := b.CreateSession(t.Context(), id, persistence.TokenHash{1}, "m", time.Hour)
	require.NoError(t, err)
	require.NoError(t, b.SaveSessionRooms(t.Context(), id, s.Generation, []string{"a"}, time.Hour))
	n.lose(0)
	require.NoError(t, b.SaveSessionRooms(t.Context(), id, s.Generation, []string{"a", "b"}, time.Hour)) // resubmitted
	require.NoError(t, b.SaveSessionRooms(t.Context(), id, s.Generation, []string{"a", "b", "c"}, time.Hour))
	require.Positive(t, n.heal())
	got, err := b.ResumeSession(t.Context(), id, persistence.TokenHash{1}, persistence.TokenHash{2}, 0, time.Hour)
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b", "c"}, got.Rooms, "an acknowledged save was overwritten by an older one")
}

func TestLateResume(t *testing.T) {
	t.Parallel()
	n := &network{}
	b := opened(t, shared.SchemaURL(t), postgres.Options{Dial: n.dial})
	id := persistence.SessionID{1}
	_, err := b.CreateSession(t.Context(), id, persistence.TokenHash{1}, "m", time.Hour)
	require.NoError(t, err)
	_, err = b.ResumeSession(t.Context(), id, persistence.TokenHash{1}, persistence.TokenHash{8}, 0, time.Hour) // warm
	require.NoError(t, err)
	n.lose(0)
	s, err := b.ResumeSession(t.Context(), id, persistence.TokenHash{8}, persistence.TokenHash{2}, 0, time.Hour)
	require.NoError(t, err)
	require.Positive(t, n.heal())
	require.NoError(t, b.SaveSessionRooms(t.Context(), id, s.Generation, []string{"a"}, time.Hour), "the living connection is told that it was replaced")
}

func TestLateClaim(t *testing.T) {
	t.Parallel()
	n := &network{}
	url := shared.SchemaURL(t)
	b := opened(t, url, postgres.Options{Dial: n.dial})
	other := opened(t, url, postgres.Options{})
	claim(t, b, "room/0") // the writer is connected
	n.lose(1)             // reading comes first
	claim(t, b, "room/1")
	c2, err := other.Claim(t.Context(), "room/1", "node-b", persistence.ClaimOptions{})
	require.NoError(t, err)
	require.Positive(t, n.heal())
	_, err = other.Append(t.Context(), c2, 0, event("x"))
	require.NoError(t, err, "a claim answered long ago fences the newer claimer")
}

func TestLateLease(t *testing.T) {
	t.Parallel()
	n := &network{}
	b := opened(t, shared.SchemaURL(t), postgres.Options{Dial: n.dial})
	for range 2 { // the connection is there, and knows the statements
		_, err := b.AcquireLease(t.Context(), "warm", "a", time.Second)
		require.NoError(t, err)
	}
	n.lose(1) // reading comes first
	l, err := b.AcquireLease(t.Context(), "l", "a", time.Hour)
	require.NoError(t, err)
	require.NoError(t, b.ReleaseLease(t.Context(), l))
	require.Positive(t, n.heal())
	_, err = b.AcquireLease(t.Context(), "l", "b", time.Hour)
	require.NoError(t, err, "released, and held by nobody for an hour")
}

func TestLateCheckpointDelete(t *testing.T) {
	t.Parallel()
	n := &network{}
	b := opened(t, shared.SchemaURL(t), postgres.Options{Dial: n.dial})
	for range 2 {
		require.NoError(t, b.DeleteCheckpoint(t.Context(), "mail"))
	}
	n.lose(1) // reading comes first
	require.NoError(t, b.DeleteCheckpoint(t.Context(), "mail"))
	cp, err := b.ClaimCheckpoint(t.Context(), "mail", 0, "a")
	require.NoError(t, err)
	require.Positive(t, n.heal())
	require.NoError(t, b.SaveCheckpoint(t.Context(), cp, cp.Pos), "a deletion answered long ago deletes the new checkpoint")
}

func TestLateAppend(t *testing.T) {
	t.Parallel()
	n := &network{}
	b := opened(t, shared.SchemaURL(t), postgres.Options{Dial: n.dial})
	c := claim(t, b, "room/1")
	n.lose(0)
	_, err := b.Append(t.Context(), c, 0, event("x"))
	require.NoError(t, err)
	_, err = b.Append(t.Context(), c, 1, event("y"))
	require.NoError(t, err)
	require.Positive(t, n.heal())
	ev, err := b.Read(t.Context(), "room/1", 1, 10)
	require.NoError(t, err)
	require.Len(t, ev, 2)
	_, err = b.Append(t.Context(), c, 2, event("z"))
	require.NoError(t, err)
}
