package gateway

import (
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// crowd is a listener with somebody always waiting.
type crowd struct{ net.Listener }

func (crowd) Accept() (net.Conn, error) { return nil, nil }

func TestPacedListener(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newPacedListener(crowd{}, 1000)
		accept := func(n int) time.Duration {
			begun := time.Now()
			for range n {
				_, err := l.Accept()
				require.NoError(t, err)
			}
			return time.Since(begun)
		}
		require.Zero(t, accept(acceptBurst), "a few come in at once")
		require.InDelta(t, 5, accept(5000).Seconds(), 0.1)
		<-time.After(time.Hour)
		require.Zero(t, accept(acceptBurst))
		require.InDelta(t, 1, accept(1000).Seconds(), 0.1, "a quiet hour does not count for more")
	})
}

// Everybody comes in in the end, and the pace does not hold up the end of the listener.
func TestPacedListenerOnASocket(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := newPacedListener(inner, 2000)
	var all sync.WaitGroup
	for range 300 {
		all.Go(func() {
			c, err := net.Dial("tcp", inner.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			_ = c.Close()
		})
	}
	for range 300 {
		c, err := l.Accept()
		require.NoError(t, err)
		require.NoError(t, c.Close())
	}
	all.Wait()
	require.NoError(t, l.Close())
	_, err = l.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
}
