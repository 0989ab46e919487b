package gateway

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Of a flood of newcomers no more are taken than the pace allows, the others are told when to come back; who was there before is
// served meanwhile, and everybody comes in in the end (L1).
func TestFloodOfNewcomers(t *testing.T) {
	t.Parallel()
	const pace, newcomers = 100, 700
	g := setup(t, 1, func(c *Config) { c.AcceptMinPerSecond, c.AcceptPerSecond = pace, pace })
	there := g.join("room-1")

	begun := time.Now()
	var in, refusals atomic.Int64
	var all sync.WaitGroup
	over := make(chan struct{})
	for range newcomers {
		all.Go(func() {
			for {
				after, err := knock(g.service.Addr())
				if err != nil {
					t.Error(err)
					return
				}
				if after == 0 {
					in.Add(1)
					return
				}
				refusals.Add(1)
				<-time.After(after)
			}
		})
	}
	go func() { all.Wait(); close(over) }()
	for i, waiting := 0, true; waiting; i++ {
		there.send(`{"message":{"target":"room-1","content":"still here","message_id":"m%d"}}`, i)
		there.find("ack") // within patience
		require.LessOrEqual(t, in.Load(), int64(pace*time.Since(begun).Seconds())+burst+2)
		select {
		case <-over:
			waiting = false
		case <-time.After(20 * time.Millisecond):
		}
	}
	require.EqualValues(t, newcomers, in.Load())
	require.Greater(t, refusals.Load(), int64(0))
}

// knock does one handshake: 0 when it is let in, else when to come back. Its connection is closed in any case.
func knock(addr string) (after time.Duration, err error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer func() { _ = nc.Close() }()
	if err := nc.SetDeadline(time.Now().Add(4 * patience)); err != nil {
		return 0, err
	}
	if _, err := fmt.Fprintf(nc, "GET /ws?hello=1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"); err != nil {
		return 0, err
	}
	res, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		return 0, err
	}
	_ = res.Body.Close()
	switch res.StatusCode {
	case http.StatusSwitchingProtocols:
		return 0, nil
	case http.StatusServiceUnavailable:
		seconds, err := strconv.Atoi(res.Header.Get("Retry-After"))
		if err != nil || seconds < 1 {
			return 0, fmt.Errorf("Retry-After is %q: %w", res.Header.Get("Retry-After"), err)
		}
		if !res.Close {
			return 0, fmt.Errorf("a refused connection could be used again")
		}
		return time.Duration(seconds) * time.Second, nil
	default:
		return 0, fmt.Errorf("status %s", res.Status)
	}
}
