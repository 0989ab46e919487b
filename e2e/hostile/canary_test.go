package hostile

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// canaryEvery is how often a canary publishes.
const canaryEvery = 20 * time.Millisecond

var canaries atomic.Int64

// canary is a connection that publishes and receives all the while. Its methods are for one goroutine.
type canary struct {
	tb   testing.TB
	room string
	conn *raw
	stop chan struct{}
	over sync.WaitGroup

	mu        sync.Mutex
	sent      []time.Time     // of message i
	took      []time.Duration // from sending message i until it came back
	acked     int
	cursor    uint64
	problem   error
	news      chan struct{} // closed when something came
	published bool          // the publisher is done
}

// release lets a canary fly in a room of its own.
func release(tb testing.TB, addr string) *canary {
	tb.Helper()
	return releaseIn(tb, addr, fmt.Sprintf("canary-%d", canaries.Add(1)))
}

// releaseIn lets a canary fly in a room in which nobody else publishes.
func releaseIn(tb testing.TB, addr, room string) *canary {
	tb.Helper()
	c := &canary{tb: tb, room: room, conn: connect(tb, addr), stop: make(chan struct{}), news: make(chan struct{})}
	require.NoError(tb, c.conn.nc.SetDeadline(time.Time{}))
	c.conn.send(`{"join_room":{"room_id":%q}}`, room)
	c.conn.expect("room_joined")
	c.over.Go(c.publish)
	go c.receive() // ends with the socket
	tb.Cleanup(func() {
		_ = c.conn.nc.Close()
		c.end()
	})
	return c
}

func (c *canary) publish() {
	t := time.NewTicker(canaryEvery)
	defer t.Stop()
	for i := 0; ; i++ {
		select {
		case <-c.stop:
			return
		case <-t.C:
		}
		c.mu.Lock()
		c.sent = append(c.sent, time.Now())
		c.mu.Unlock()
		c.conn.send(`{"message":{"target":%q,"content":"%d"}}`, c.room, i)
	}
}

func (c *canary) receive() {
	for {
		e, err := c.conn.receive()
		c.mu.Lock()
		if err == nil {
			err = c.take(e)
		}
		if err != nil && c.problem == nil {
			c.problem = err
		}
		close(c.news)
		c.news = make(chan struct{})
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// take checks what came: the stream is the published messages in order, without gap or repeat.
func (c *canary) take(e envelope) error {
	switch e.kind {
	case "ack":
		c.acked++
	case "message":
		i := len(c.took)
		switch {
		case e.string("content") != fmt.Sprint(i):
			return fmt.Errorf("message %d came as %v", i, e.body)
		case i > 0 && e.uint("prev_seq") != c.cursor, e.uint("seq") <= c.cursor:
			return fmt.Errorf("message %v does not follow %d", e.body, c.cursor)
		}
		c.cursor = e.uint("seq")
		c.took = append(c.took, time.Since(c.sent[i]))
	default:
		return fmt.Errorf("a canary got %s %v", e.kind, e.body)
	}
	return nil
}

// mark is a position in the canary's life for between.
func (c *canary) mark() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sent)
}

// await waits until everything that was published until now came back, within L1's bound, and requires that all is well.
func (c *canary) await() {
	c.tb.Helper()
	c.awaitFirst(c.mark())
}

// awaitFirst is await for the first n messages, which need not be published yet.
func (c *canary) awaitFirst(n int) {
	c.tb.Helper()
	deadline := time.After(patience)
	for {
		c.mu.Lock()
		problem, news, done := c.problem, c.news, len(c.took) >= n && c.acked >= n
		got, acked := len(c.took), c.acked
		c.mu.Unlock()
		require.NoError(c.tb, problem, "the canary came to harm")
		if done {
			return
		}
		select {
		case <-news:
		case <-deadline:
			require.FailNow(c.tb, "the canary does not hear itself", "%d of %d messages, %d acknowledged", got, n, acked)
		}
	}
}

func (c *canary) end() {
	if !c.published {
		c.published = true
		close(c.stop)
	}
	c.over.Wait()
}

// latencies of what was published since a mark, sorted. They count from when the message was due to be read by the server.
func (c *canary) latencies(from int) []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	took := slices.Clone(c.took[min(from, len(c.took)):])
	slices.Sort(took)
	return took
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// unharmedWithin is how late anything of a canary may be at worst: what is promised to a publisher (L1).
const unharmedWithin = 5 * time.Second

// leastSung is how many messages show that a canary is well.
const leastSung = 10

// unharmed ends the canary and requires that its stream is whole and nothing of it was late.
func (c *canary) unharmed() {
	c.tb.Helper()
	c.awaitFirst(leastSung)
	c.end()
	c.await()
	all := c.latencies(0)
	c.tb.Logf("canary: %d messages, p50 %s, p99 %s, worst %s", len(all), quantile(all, 0.5), quantile(all, 0.99), all[len(all)-1])
	require.Less(c.tb, all[len(all)-1], unharmedWithin, "the canary's latency")
	_ = c.conn.nc.Close()
}
