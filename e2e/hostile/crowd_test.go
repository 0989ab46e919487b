package hostile

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
)

// alone starts a server for one test and returns its host:port.
func alone(tb testing.TB, args ...string) (*harness.Server, string) {
	tb.Helper()
	s := harness.StartDev(tb, args...)
	return s, strings.TrimPrefix(s.URL(), "http://")
}

// crowd are sockets of many addresses of this machine, as of many machines, that somebody opens and keeps.
type crowd struct {
	mu    sync.Mutex
	conns []net.Conn
	over  bool
}

// hosts that a crowd comes from; one has ports for 28,000 connections to one address.
const hosts = 8

// gather opens n sockets, as fast as the server takes them but at most atOnce at a time, and keeps those for which each says so; nil
// keeps all.
func gather(ctx context.Context, addr string, n, atOnce int, each func(nc net.Conn) bool) (*crowd, error) {
	c := &crowd{}
	return c, c.fill(ctx, addr, n, atOnce, each)
}

// fill is gather into a crowd that is there already.
func (c *crowd) fill(ctx context.Context, addr string, n, atOnce int, each func(nc net.Conn) bool) error {
	var (
		all     sync.WaitGroup
		next    atomic.Int64
		problem atomic.Pointer[error]
	)
	for range atOnce {
		all.Go(func() {
			for {
				i := next.Add(1)
				if i > int64(n) || ctx.Err() != nil || problem.Load() != nil {
					return
				}
				from := &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i%hosts))}
				nc, err := (&net.Dialer{LocalAddr: from, Timeout: patience}).DialContext(ctx, "tcp", addr)
				if err != nil {
					problem.CompareAndSwap(nil, &err)
					return
				}
				if each != nil && !each(nc) {
					_ = nc.Close()
				} else if !c.add(nc) {
					return
				}
			}
		})
	}
	all.Wait()
	if err := problem.Load(); err != nil {
		return *err
	}
	return ctx.Err()
}

func (c *crowd) add(nc net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		_ = nc.Close()
		return false
	}
	c.conns = append(c.conns, nc)
	return true
}

// leave closes all sockets at once, without leaving ports behind that cannot be used for a minute.
func (c *crowd) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	for _, nc := range c.conns {
		_ = nc.(*net.TCPConn).SetLinger(0) //nolint:forcetypeassert // dialled so
		_ = nc.Close()
	}
	c.conns = nil
}

// attack opens a WebSocket on a socket and sends something; false: it was refused.
func attack(nc net.Conn, frames ...[]byte) bool {
	_ = nc.(*net.TCPConn).SetReadBuffer(4 << 10) //nolint:forcetypeassert // dialled so
	_ = nc.SetDeadline(time.Now().Add(patience))
	if _, err := nc.Write([]byte(goodHandshake + "\r\n")); err != nil {
		return false
	}
	var answer []byte
	for one := make([]byte, 1); !bytes.HasSuffix(answer, []byte("\r\n\r\n")); answer = append(answer, one[0]) {
		if _, err := nc.Read(one); err != nil {
			return false
		}
	}
	if !bytes.HasPrefix(answer, []byte("HTTP/1.1 101")) {
		return false
	}
	for _, f := range frames {
		if _, err := nc.Write(f); err != nil {
			return false
		}
	}
	return true
}

// comeIn connects like a client that does what it is told: refused, it comes back when it may. It says how often it was refused.
func comeIn(tb testing.TB, addr string) (refused int) {
	tb.Helper()
	for deadline := time.Now().Add(40 * time.Second); ; refused++ {
		require.True(tb, time.Now().Before(deadline), "a newcomer did not get in")
		status, after := knock(tb, addr)
		if status == http.StatusSwitchingProtocols {
			return refused
		}
		require.Contains(tb, []int{http.StatusTooManyRequests, http.StatusServiceUnavailable}, status)
		require.Positive(tb, after, "a refusal says when to come back")
		<-time.After(after)
	}
}

// knock tries once to open a WebSocket that works, and says what the answer was, and when to come back.
func knock(tb testing.TB, addr string) (status int, after time.Duration) {
	tb.Helper()
	status, after, err := tryKnock(tb.Context(), addr)
	require.NoError(tb, err)
	return status, after
}

// tryKnock is knock for any goroutine.
func tryKnock(ctx context.Context, addr string) (status int, after time.Duration, err error) {
	nc, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = nc.Close() }()
	_ = nc.SetDeadline(time.Now().Add(patience))
	if _, err = io.WriteString(nc, goodHandshake+"\r\n"); err != nil {
		return 0, 0, err
	}
	c := &raw{nc: nc, r: bufio.NewReader(nc)}
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return 0, 0, err
	}
	_ = res.Body.Close()
	if res.StatusCode == http.StatusSwitchingProtocols {
		c.send(`{"ping":{}}`)
		_, err = c.receive()
	}
	seconds, _ := strconv.Atoi(res.Header.Get("Retry-After")) // 0: the caller complains
	return res.StatusCode, time.Duration(seconds) * time.Second, err
}

// get returns what a URL shows.
func get(tb testing.TB, url string) string {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, url, nil)
	require.NoError(tb, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(tb, err)
	body, err := io.ReadAll(res.Body)
	require.NoError(tb, err)
	require.NoError(tb, res.Body.Close())
	return string(body)
}

// metric sums a metric over its labels, of those lines that contain the words.
func metric(tb testing.TB, opsURL, name string, words ...string) (sum float64) {
	tb.Helper()
lines:
	for line := range strings.SplitSeq(get(tb, opsURL+"/metrics"), "\n") {
		if !strings.HasPrefix(line, name+"{") && !strings.HasPrefix(line, name+" ") {
			continue
		}
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue lines
			}
		}
		value, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		require.NoError(tb, err, line)
		sum += value
	}
	return sum
}

// rss is a process's resident memory in bytes.
func rss(tb testing.TB, pid int) int64 {
	tb.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	require.NoError(tb, err, "this test needs Linux")
	var size, resident int64
	_, err = fmt.Sscan(string(b), &size, &resident)
	require.NoError(tb, err)
	return resident * int64(os.Getpagesize())
}

const mib = 1 << 20

// S9: 20,000 sockets that are opened and say nothing cost those who are connected nothing and newcomers a wait, and memory for a
// bounded part of them.
func TestHalfOpenSockets(t *testing.T) {
	const n = 20_000
	server, addr := alone(t)
	canary := release(t, addr)
	canary.awaitFirst(leastSung)
	before := rss(t, server.PID())

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	begun := time.Now()
	silent := sendCrowds(ctx, t, addr, n)
	t.Logf("%d sockets came in %s", n, time.Since(begun).Round(time.Millisecond))
	begun = time.Now()
	refused := comeIn(t, addr)
	t.Logf("a newcomer was in %s later, refused %d times; %.0f silent ones wait in the process, %.0f were cut to make room; %d MiB more",
		time.Since(begun).Round(time.Millisecond), refused,
		metric(t, server.OpsURL(), "parley_gateway_accept_waiting"), metric(t, server.OpsURL(), "parley_gateway_accept_cut_total"),
		(rss(t, server.PID())-before)/mib)
	require.LessOrEqual(t, metric(t, server.OpsURL(), "parley_gateway_accept_waiting", `for="request"`), 4096.0)
	require.Less(t, rss(t, server.PID())-before, int64(160*mib))
	canary.await()
	silent()
	comeIn(t, addr)
	canary.unharmed()
}

// S9: handshakes that come byte by byte are cut after their time, or earlier when others need the room.
func TestSlowHandshakes(t *testing.T) {
	t.Parallel()
	const n = 1000
	_, addr := alone(t)
	canary := release(t, addr)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	slow, err := gather(ctx, addr, n, 100, func(nc net.Conn) bool {
		_, err := io.WriteString(nc, "GET /ws HTTP/1.1\r\nHost: slow.test\r\n")
		return err == nil
	})
	defer slow.leave()
	require.NoError(t, err)

	dripping, stop := context.WithCancel(ctx)
	var drips sync.WaitGroup
	drips.Go(func() {
		every := time.NewTicker(500 * time.Millisecond)
		defer every.Stop()
		for i := 0; ; i++ {
			select {
			case <-every.C:
			case <-dripping.Done():
				return
			}
			for _, nc := range slow.conns { // which nobody changes meanwhile
				_, _ = io.WriteString(nc, "X-Slow: "[i%8:i%8+1])
			}
		}
	})
	comeIn(t, addr)
	// All are cut in the end, though they go on: readHeaderTimeout counts from the first byte.
	for _, nc := range slow.conns {
		require.NoError(t, nc.SetReadDeadline(time.Now().Add(30*time.Second)))
		_, err := io.Copy(io.Discard, nc)
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "a handshake lasts for ever")
	}
	stop()
	drips.Wait()
	comeIn(t, addr)
	canary.unharmed()
}
