package hostile

import (
	"errors"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// hog is a process that takes memory in a group.
type hog struct {
	cmd *exec.Cmd
	in  interface{ Write([]byte) (int, error) }
	mib []byte
}

func newHog(tb testing.TB, group *cgroup) *hog {
	tb.Helper()
	// It keeps what it reads, since it might be the end of it.
	h := &hog{cmd: exec.CommandContext(tb.Context(), "sh", "-c", `echo $$ >"$0/cgroup.procs" && exec tail -c 1G`, group.dir), mib: make([]byte, mib)}
	in, err := h.cmd.StdinPipe()
	require.NoError(tb, err)
	h.in = in
	require.NoError(tb, h.cmd.Start())
	tb.Cleanup(h.end)
	return h
}

// take takes 1 MiB more.
func (h *hog) take(tb testing.TB) {
	tb.Helper()
	_, err := h.in.Write(h.mib)
	require.NoError(tb, err)
}

func (h *hog) end() {
	_ = h.cmd.Process.Kill()
	_ = h.cmd.Wait()
}

// S9: when the memory that a gateway may use is taken by another process of its group, so that refusing newcomers does not help, it
// closes connections, the youngest first, each with when to come back, until the other is gone. The kernel ends nobody.
func TestConnectionsAreShed(t *testing.T) {
	gateway, group := confined(t)
	addr := strings.TrimPrefix(gateway.URL(), "http://")
	canary := release(t, addr)
	canary.awaitFirst(leastSung)
	var told, closed atomic.Int64
	const guests = 60
	for range guests {
		c := connect(t, addr)
		c.send(`{"join_room":{"room_id":"quiet"}}`)
		c.expect("room_joined")
		require.NoError(t, c.nc.SetDeadline(time.Time{}))
		go func() { // ends with the socket
			for {
				e, err := c.receive()
				var end closedError
				switch {
				case errors.As(err, &end):
					if end.code() == 4002 {
						closed.Add(1)
					}
					return
				case err != nil:
					return
				}
				if after, _ := e.body["after_ms"].(float64); e.kind == "reconnect" && after > 0 {
					told.Add(1)
				}
			}
		}()
	}

	metricOf := func(name string) float64 { return metric(t, gateway.OpsURL(), name) }
	taker := newHog(t, group)
	const shed = "parley_gateway_connections_shed_total"
	require.Eventually(t, func() bool {
		share := metricOf("parley_gateway_memory_used_bytes") / metricOf("parley_gateway_memory_limit_bytes")
		for ; share < 0.935; share += float64(mib) / limit { // shedding begins at 92 %
			taker.take(t)
		}
		return metricOf(shed) > 0
	}, 60*time.Second, 200*time.Millisecond, "nobody was shed")
	most := group.used()
	status, after := knock(t, addr)
	require.Equal(t, 503, status)
	require.Positive(t, after)
	taker.end()

	require.Eventually(t, func() bool { return metricOf("parley_gateway_memory_level_ratio") == 0 }, 60*time.Second, 50*time.Millisecond)
	n := int64(metricOf(shed))
	require.Eventually(t, func() bool { return closed.Load() == n && told.Load() == n }, patience, 20*time.Millisecond)
	t.Logf("%d of %d connections were shed at %d of %d MiB", n, guests+1, most/mib, limit/mib)
	require.Less(t, n, int64(guests), "some stay")
	comeIn(t, addr)
	canary.unharmed()
	require.Zero(t, group.killed())
}
