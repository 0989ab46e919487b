package hostile

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	roomSize = flag.Int("hostile.room", 1000, "readers in the room of the reader at a byte per second")
	stalled  = flag.Int("hostile.stalled", 2000, "readers that all stop")
)

// Turns of each kind that are compared.
const leastTurns, mostTurns = 5, 12

// publisher publishes numbered messages with the time they were sent at, and takes what comes back.
type publisher struct {
	conn *raw
	room string
	stop chan struct{}
	over sync.WaitGroup

	sent    atomic.Int64
	problem atomic.Pointer[error]
}

// publish begins to publish messages of that size at that pace; the publisher is not in its own way, so it must be a member.
func publish(tb testing.TB, addr, room string, size int, every time.Duration) *publisher {
	tb.Helper()
	p := &publisher{conn: connect(tb, addr), room: room, stop: make(chan struct{})}
	require.NoError(tb, p.conn.nc.SetDeadline(time.Time{}))
	p.conn.send(`{"join_room":{"room_id":%q}}`, room)
	p.conn.expect("room_joined")
	pad := strings.Repeat("p", size)
	p.over.Go(func() {
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-p.stop:
				return
			case <-t.C:
			}
			p.conn.send(`{"message":{"target":%q,"content":"%d %d %s"}}`, room, p.sent.Load(), time.Now().UnixNano(), pad)
			p.sent.Add(1)
		}
	})
	p.over.Go(func() {
		for {
			e, err := p.conn.receive()
			if err == nil && e.kind == "error" {
				err = fmt.Errorf("publish: %v", e.body)
			}
			if err != nil {
				p.problem.CompareAndSwap(nil, &err)
				return
			}
		}
	})
	tb.Cleanup(p.end)
	return p
}

func (p *publisher) end() {
	select {
	case <-p.stop:
	default:
		close(p.stop)
		_ = p.conn.nc.Close()
	}
	p.over.Wait()
}

// well requires that nothing was refused and the connection lives.
func (p *publisher) well(tb testing.TB) {
	tb.Helper()
	if err := p.problem.Load(); err != nil {
		require.NoError(tb, *err, "the publisher came to harm")
	}
}

// delivery is what a message's frame tells.
type delivery struct {
	room      string
	seq, prev uint64
	number    int
	sent      time.Time
}

func parseDelivery(e envelope) (d delivery, err error) {
	fields := strings.SplitN(e.string("content"), " ", 3)
	if len(fields) != 3 {
		return d, fmt.Errorf("message %.80v", e.body)
	}
	nanos, err1 := strconv.ParseInt(fields[1], 10, 64)
	number, err2 := strconv.Atoi(fields[0])
	return delivery{e.string("target"), e.uint("seq"), e.uint("prev_seq"), number, time.Unix(0, nanos)}, errors.Join(err1, err2)
}

// audience reads a room and notes how late each message is.
type audience struct {
	mu    sync.Mutex
	late  []time.Duration
	lost  error
	count atomic.Int64
}

// listen reads until the socket ends. It looks at the frames' bytes only: a thousand readers must not be what is slow.
func (a *audience) listen(nc net.Conn) {
	c := &raw{nc: nc, r: bufio.NewReader(nc)}
	mark := []byte(`"content":"`)
	for {
		first, payload, err := c.next()
		if err == nil && first == finClose {
			err = closedError(payload)
		}
		if err != nil {
			a.mu.Lock()
			if a.lost == nil {
				a.lost = err
			}
			a.mu.Unlock()
			return
		}
		at := bytes.Index(payload, mark)
		if at < 0 {
			continue
		}
		fields := bytes.SplitN(payload[at+len(mark):], []byte(" "), 3)
		if len(fields) < 3 {
			continue
		}
		nanos, err := strconv.ParseInt(string(fields[1]), 10, 64)
		if err != nil {
			continue
		}
		late := time.Since(time.Unix(0, nanos))
		a.count.Add(1)
		a.mu.Lock()
		a.late = append(a.late, late)
		a.mu.Unlock()
	}
}

// since returns what was noted since the last call, sorted.
func (a *audience) since() []time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	late := a.late
	a.late = nil
	slices.Sort(late)
	return late
}

// enter opens a WebSocket on a socket and joins rooms.
func enter(nc net.Conn, rooms ...string) bool {
	var frames [][]byte
	for _, room := range rooms {
		frames = append(frames, frame(finText, fmt.Sprintf(`{"join_room":{"room_id":%q}}`, room)))
	}
	return attack(nc, frames...) && nc.SetDeadline(time.Time{}) == nil
}

// sluggard is a connection that can be read slowly, and resumed.
type sluggard struct {
	tb      testing.TB
	addr    string
	conn    *raw
	token   string
	cursors map[string]delivery // of each room, the last
}

// callIn opens one with a receive buffer of so many bytes, so that it is soon full, and joins rooms.
func callIn(tb testing.TB, addr string, buffer int, rooms ...string) *sluggard {
	tb.Helper()
	c := dial(tb, addr)
	require.NoError(tb, c.nc.(*net.TCPConn).SetReadBuffer(buffer))
	c.write([]byte(goodHandshake + "\r\n"))
	require.Equal(tb, 101, c.response().StatusCode)
	s := &sluggard{tb: tb, addr: addr, conn: c, cursors: map[string]delivery{}}
	for _, room := range rooms {
		c.send(`{"join_room":{"room_id":%q}}`, room)
	}
	joined := 0
	for joined < len(rooms) {
		if s.read() == "room_joined" {
			joined++
		}
	}
	require.NoError(tb, c.nc.SetDeadline(time.Time{}))
	return s
}

// read takes one frame, checks that a message continues its room's run (S5), and returns its kind; empty: the connection ended.
func (s *sluggard) read() string {
	s.tb.Helper()
	first, payload, err := s.conn.next()
	if err != nil || first == finClose {
		return ""
	}
	if first != finText {
		return "control"
	}
	e, err := parse(payload)
	require.NoError(s.tb, err)
	switch e.kind {
	case "session":
		s.token = e.string("token")
	case "message":
		d, err := parseDelivery(e)
		require.NoError(s.tb, err)
		if last, ok := s.cursors[d.room]; ok {
			require.Equal(s.tb, last.seq, d.prev, "a gap or a repeat in %s", d.room)
			require.Equal(s.tb, last.number+1, d.number, "in %s", d.room)
		}
		s.cursors[d.room] = d
	case "error", "reset":
		require.Fail(s.tb, "unexpected "+e.kind, "%v", e.body)
	}
	return e.kind
}

// pump reads what comes, as fast as it comes or a byte each pause, and keeps it until it is stopped.
func (s *sluggard) pump(pause time.Duration) (slow func(bool), stop func()) {
	var (
		dripping atomic.Bool
		over     = make(chan struct{})
		done     sync.WaitGroup
		got      bytes.Buffer
	)
	nc, before := s.conn.nc, s.conn.r
	done.Go(func() {
		every := time.NewTicker(pause)
		defer every.Stop()
		b := make([]byte, 64<<10)
		for {
			most := len(b)
			if dripping.Load() {
				most = 1
				select {
				case <-over:
				case <-every.C:
				}
			}
			select {
			case <-over:
				return
			default:
			}
			n, err := nc.Read(b[:most])
			got.Write(b[:n])
			if err != nil {
				return // it was cut
			}
		}
	})
	return dripping.Store, func() {
		close(over)
		done.Wait()
		buffered, _ := before.Peek(before.Buffered()) // what was read before
		s.conn.r = bufio.NewReader(io.MultiReader(bytes.NewReader(buffered), &got, nc))
	}
}

// resume takes what is left of the old connection, which has ended, and goes on with a new one until at least the message with
// that number came in each room.
func (s *sluggard) resume(until map[string]int) {
	s.tb.Helper()
	require.NoError(s.tb, s.conn.nc.SetDeadline(time.Now().Add(patience)))
	for s.read() != "" {
	}
	var rooms []string
	for room, d := range s.cursors {
		rooms = append(rooms, fmt.Sprintf(`{"room_id":%q,"after_seq":"%d"}`, room, d.seq))
	}
	s.conn = connect(s.tb, s.addr)
	s.conn.send(`{"hello":{"session_token":%q,"rooms":[%s]}}`, s.token, strings.Join(rooms, ","))
	for {
		behind := false
		for room, n := range until {
			behind = behind || s.cursors[room].number < n
		}
		if !behind {
			return
		}
		require.NotEmpty(s.tb, s.read(), "the resumed connection ended; at %v of %v", s.cursors, until)
	}
}

// S9: a reader at a byte per second in a room of many leaves the others' latency as it was. It is closed when it takes nothing for
// the time a write has, and goes on exactly where it was (S5).
//
// Whatever else this machine does makes latencies of one moment and the next differ by more than a slow reader could. So it reads
// slowly and quickly in turns, everything else is the same, and the medians of several turns of each kind are compared: of as many as
// it takes for chance to even out.
func TestReaderAtAByteASecond(t *testing.T) {
	server, addr := alone(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	others := &audience{}
	readers, err := gather(ctx, addr, *roomSize, 50, func(nc net.Conn) bool {
		if !enter(nc, "large") {
			return false
		}
		go others.listen(nc)
		return true
	})
	require.NoError(t, err)
	defer readers.leave()
	canary := release(t, addr)
	p := publish(t, addr, "large", 100, 50*time.Millisecond)
	guest := callIn(t, addr, 64<<10, "large", "fat")
	fat := publish(t, addr, "fat", 40<<10, 50*time.Millisecond) // which fills what lies between when it does not read
	slow, stop := guest.pump(time.Second)

	gauge := func(name string) float64 { return metric(t, server.OpsURL(), name) }
	pass := func(messages int64) {
		from := p.sent.Load()
		require.Eventually(t, func() bool { return p.sent.Load() >= from+messages }, patience, 10*time.Millisecond)
	}
	// turn has the guest read like that, waits until it shows, and returns the others' p99 from then on.
	turn := func(slowly bool) time.Duration {
		const enough = 64 << 10 // bytes: more than waits for those that read
		slow(slowly)
		require.Eventually(t, func() bool { return (gauge("parley_gateway_backlog_bytes") > enough) == slowly }, patience, 50*time.Millisecond)
		pass(4)
		others.since()
		pass(20)
		late := others.since()
		require.NotEmpty(t, late)
		t.Logf("slow %5t: %d deliveries, p50 %s, p99 %s, worst %s", slowly, len(late), quantile(late, 0.5), quantile(late, 0.99), late[len(late)-1])
		return quantile(late, 0.99)
	}
	pass(20) // whatever is done for the first time
	median := func(list []time.Duration) time.Duration {
		sorted := slices.Clone(list)
		slices.Sort(sorted)
		return sorted[len(sorted)/2]
	}
	var with, without []time.Duration
	unchanged := func() bool { return median(with) <= median(without)*5/4+2*time.Millisecond }
	for len(with) < leastTurns || !unchanged() && len(with) < mostTurns {
		without = append(without, turn(false))
		with = append(with, turn(true))
	}
	require.Eventually(t, func() bool { return gauge("parley_gateway_outbox_drops_total") == 1 }, 30*time.Second, 100*time.Millisecond,
		"the slow reader was not closed")
	stop()
	fat.well(t)
	p.well(t)
	guest.resume(map[string]int{"large": int(p.sent.Load()) - 1, "fat": int(fat.sent.Load()) - 1})
	t.Logf("%d readers: median p99 of %d turns %s beside a slow reader, %s beside a quick one", *roomSize, len(with), median(with), median(without))
	require.True(t, unchanged(), "the others' p99 beside a slow reader %v, beside a quick one %v", with, without)
	others.mu.Lock()
	require.NoError(t, others.lost, "a reader that reads was closed")
	others.mu.Unlock()
	canary.unharmed()
}

// stalledBound is how much more memory a gateway may take when 2,000 readers stop: their outboxes share the frames, and all that
// waits is bounded by the backlog, 64 MiB. The rest is for goroutines, buffers and garbage.
const stalledBound = 160 * mib

// S9: when all readers of a room stop, memory stays within its bound, who publishes goes on, others are unharmed; they are closed,
// and go on exactly where they were (S5).
func TestAllReadersStop(t *testing.T) {
	t.Parallel()
	server, addr := alone(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	readers, err := gather(ctx, addr, *stalled-1, 50, func(nc net.Conn) bool { return enter(nc, "stuck") })
	require.NoError(t, err)
	defer readers.leave()
	one := callIn(t, addr, 4<<10, "stuck")
	canary := release(t, addr)
	canary.awaitFirst(leastSung)
	joined := rss(t, server.PID())
	p := publish(t, addr, "stuck", 4<<10, 25*time.Millisecond)
	most, waits := joined, 0.0
	require.Eventually(t, func() bool {
		most, waits = max(most, rss(t, server.PID())), max(waits, metric(t, server.OpsURL(), "parley_gateway_backlog_bytes"))
		return metric(t, server.OpsURL(), "parley_gateway_outbox_drops_total") >= float64(*stalled)
	}, 90*time.Second, 100*time.Millisecond, "not all that do not read are closed")
	t.Logf("%d readers stopped: %d MiB, at most %d MiB more; at most %.0f MiB waited for them", *stalled, joined/mib, (most-joined)/mib, waits/mib)
	require.Less(t, most-joined, int64(stalledBound))
	p.well(t)
	one.resume(map[string]int{"stuck": int(p.sent.Load()) - 1})
	canary.unharmed()
}
