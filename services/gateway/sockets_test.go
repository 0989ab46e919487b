package gateway

import (
	"net"
	"net/http"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// All sockets together are never more than there are files, and the bounds of all kinds are said.
func TestPlanSockets(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		files             uint64
		connections, pace int
		want              sockets
		ok                bool
	}{
		{1 << 20, 0, 450, sockets{connections: 100_000, handshakes: 4096, waiting: 1350, refusals: 4096}, true},
		{1 << 20, 0, 14_400, sockets{connections: 100_000, handshakes: 4096, waiting: 8192, refusals: 4096}, true},
		{1 << 20, 500_000, 450, sockets{connections: 500_000, handshakes: 4096, waiting: 1350, refusals: 4096}, true},
		{20_000, 0, 450, sockets{connections: 14_644, handshakes: 2500, waiting: 1350, refusals: 1250}, true},
		{20_000, 14_645, 450, sockets{}, false},
		{1024, 0, 450, sockets{connections: 448, handshakes: 128, waiting: 128, refusals: 64}, true},
		{1024, 100, 1, sockets{connections: 100, handshakes: 128, waiting: 8, refusals: 64}, true},
		{200, 0, 450, sockets{}, false},
		{1 << 62, 0, 450, sockets{connections: 100_000, handshakes: 4096, waiting: 1350, refusals: 4096}, true},
	} {
		got, err := planSockets(c.files, c.connections, c.pace)
		if !c.ok {
			require.ErrorIs(t, err, errFiles, "%+v", c)
			continue
		}
		require.NoError(t, err, "%+v", c)
		require.Equal(t, c.want, got, "%+v", c)
		require.LessOrEqual(t, uint64(got.connections+got.handshakes+got.waiting+got.refusals+otherFiles), c.files)
	}
}

// The one that was silent longest makes room, whatever those in between did.
func TestHandshakesAreBounded(t *testing.T) {
	t.Parallel()
	h := newHandshakes(3)
	conns := make([]*comer, 8)
	for i := range conns {
		conns[i] = &comer{}
	}
	is := func(open int, cut ...int) {
		t.Helper()
		n, total := h.state()
		require.Equal(t, open, n)
		require.Equal(t, int64(len(cut)), total)
		for i, c := range conns {
			require.Equal(t, slices.Contains(cut, i), c.cut, "%d", i)
		}
	}
	for i := range 3 {
		h.observe(conns[i], http.StateNew)
	}
	is(3)
	h.observe(conns[0], http.StateActive) // it spoke
	h.observe(conns[3], http.StateNew)
	is(3, 1)
	h.observe(conns[1], http.StateClosed) // as a consequence
	is(3, 1)
	h.observe(conns[2], http.StateHijacked) // upgraded: not counted, not cut any more
	h.observe(conns[4], http.StateNew)
	is(3, 1)
	h.observe(conns[0], http.StateIdle) // kept by a browser
	h.observe(conns[5], http.StateNew)
	is(3, 1, 3)
	h.observe(conns[6], http.StateNew)
	is(3, 1, 3, 4)
	for _, i := range []int{0, 5, 6} {
		h.observe(conns[i], http.StateClosed)
	}
	is(0, 1, 3, 4)
	under, other := net.Pipe()
	t.Cleanup(func() { _ = other.Close() })
	cut(&overTLS{Conn: under})
	_, err := other.Read(make([]byte, 1))
	require.Error(t, err, "the socket under TLS is closed")
}

// overTLS is a connection over another, whose Close would wait.
type overTLS struct{ net.Conn }

func (o *overTLS) NetConn() net.Conn { return o.Conn }
func (o *overTLS) Close() error      { select {} }
