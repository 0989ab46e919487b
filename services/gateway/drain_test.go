package gateway

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

func TestPlanWaves(t *testing.T) {
	t.Parallel()
	for _, timeout := range []time.Duration{100 * time.Millisecond, time.Second, 10 * time.Second, 20 * time.Second, 5 * time.Minute} {
		for _, n := range []int{0, 1, 19, 20, 21, 1000, 10_000, 100_000, 1_000_000} {
			p := planWaves(n, timeout)
			waves := (n + p.size - 1) / p.size
			require.LessOrEqual(t, waves, maxWaves)
			require.Positive(t, p.spread)
			last := time.Duration(max(0, waves-1))*p.pause + p.soonest + p.spread
			require.Less(t, last, timeout, "%d in %s", n, timeout)
			if timeout > 2*answersWithin {
				require.LessOrEqual(t, last, timeout-answersWithin, "the last ones' answers have their time: %d in %s", n, timeout)
			}
			for range 100 {
				after := time.Duration(p.after()) * time.Millisecond
				require.Less(t, after, p.soonest+p.spread)
				require.GreaterOrEqual(t, after, p.soonest.Truncate(time.Millisecond))
			}
		}
	}
	p := planWaves(10_000, 20*time.Second)
	require.InDelta(t, 5, (maxWaves * p.pause).Seconds(), 0.1, "10,000 come back in 5 s")
	require.Zero(t, planWaves(1, 20*time.Second).pause, "nobody waits where few are there")
}

// L5: a drain ends inside its bound whatever clients do, L1: and what they asked for is answered before they are closed.
func TestDrainWithClientsOfAllKinds(t *testing.T) {
	t.Parallel()
	const timeout = 8 * time.Second
	g := setup(t, 1, func(c *Config) { c.DrainTimeout, c.OutboxBytes, c.WriteTimeout = timeout, 64<<10, time.Minute })
	// Some do not read at all, with more on its way than any buffer holds.
	stalled := []*slowClient{g.dialSlow("loud"), g.dialSlow("loud")}
	loud := g.join("loud")
	content := strings.Repeat("x", 60_000)
	for range 100 {
		loud.send(`{"message":{"target":"loud","content":%q}}`, content)
		loud.find("message")
	}
	// The room answers only late in the drain.
	var idle, busy []*client
	for range 30 {
		idle = append(idle, g.join("r"))
	}
	for range 10 {
		busy = append(busy, g.join("r"))
	}
	begun := time.Now()
	g.rooms[0].script(func(f *roomv1.Frame) ([]*roomv1.Frame, bool) {
		return nil, f.GetPublish() != nil && f.GetRoomId() == "r" && time.Since(begun) < 3*time.Second
	})
	for i, c := range busy {
		for j := range 5 {
			c.send(`{"message":{"target":"r","message_id":"%d-%d"}}`, i, j)
		}
	}
	opening := g.dial() // has not said anything yet

	done := make(chan struct{})
	g.stopped = true
	addr := g.service.Addr()
	go func() {
		defer close(done)
		g.stop(g.service)
	}()
	require.Equal(t, "DRAIN", opening.find("reconnect").GetReconnect().GetReason())
	opening.expectClose(clientv1.CloseCode_CLOSE_CODE_DRAIN)
	ok, _ := g.health.Ready(t.Context())
	require.False(t, ok, "not ready before anybody was told")

	res := get(t, g.http, "http://"+addr+"/ws")
	require.Equal(t, http.StatusUpgradeRequired, res.StatusCode)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/ws", nil)
	require.NoError(t, err)
	req.Header.Set("Upgrade", "websocket")
	refused, err := g.http.Do(req)
	require.NoError(t, err)
	require.NoError(t, refused.Body.Close())
	require.Equal(t, http.StatusServiceUnavailable, refused.StatusCode)
	seconds, err := strconv.Atoi(refused.Header.Get("Retry-After"))
	require.NoError(t, err)
	require.Positive(t, seconds)

	told := map[uint32]bool{}
	for _, c := range idle {
		told[c.find("reconnect").GetReconnect().GetAfterMs()] = true
		c.expectClose(clientv1.CloseCode_CLOSE_CODE_DRAIN)
	}
	require.Greater(t, len(told), len(idle)/3, "not all come back at the same moment")
	for i, c := range busy {
		acked := map[string]bool{}
		for len(acked) < 5 {
			acked[c.find("ack").GetAck().GetMessageId()] = true
		}
		for j := range 5 {
			require.True(t, acked[fmt.Sprintf("%d-%d", i, j)])
		}
		c.expectClose(clientv1.CloseCode_CLOSE_CODE_DRAIN)
	}
	select {
	case <-done:
	case <-time.After(timeout + patience):
		require.FailNow(t, "the drain did not end")
	}
	require.Less(t, time.Since(begun), timeout, "those who do not read did not have to be waited for")
	for _, s := range stalled {
		require.False(t, s.connected())
	}
}
