package persistencetest

import (
	"context"
	"crypto/rand"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
)

// bench is one test with its own store.
type bench struct {
	*testing.T
	persistence.Backend
	store Store
	opts  Options
	clock *clock
}

func newBench(t *testing.T, opts Options, open opener) *bench {
	clock := &clock{at: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)}
	b := &bench{T: t, opts: opts, clock: clock}
	b.use(open(t, clock.now))
	return b
}

func (b *bench) use(s Store) {
	b.store, b.Backend = s, s.Backend
	b.Cleanup(func() { closeBackend(b, s.Backend) })
}

func closeBackend(t require.TestingT, b persistence.Backend) {
	ctx, cancel := timeout()
	defer cancel()
	require.NoError(t, b.Close(ctx))
}

// unit is the scale of the suite's times to live. In real time it must be long to a machine that is busy with other tests.
func (b *bench) unit() time.Duration {
	if b.opts.OwnClock {
		return 500 * time.Millisecond
	}
	return time.Minute
}

// pass lets n units go by on the store's clock.
func (b *bench) pass(n int) {
	d := time.Duration(n) * b.unit()
	if b.opts.OwnClock {
		<-time.After(d)
		return
	}
	b.clock.advance(d)
}

// expiresIn checks a time to be n units from now by the store's clock.
func (b *bench) expiresIn(n int, at time.Time) {
	b.Helper()
	want, tolerance := b.clock.now(), b.unit()/2
	if b.opts.OwnClock {
		want, tolerance = time.Now(), 10*time.Second // the machine is busy
	}
	require.WithinDuration(b, want.Add(time.Duration(n)*b.unit()), at, tolerance)
}

func (b *bench) claim(key persistence.StreamKey, owner string) persistence.Claim {
	b.Helper()
	c, err := b.Claim(b.Context(), key, owner, persistence.ClaimOptions{})
	require.NoError(b, err)
	return c
}

// filled returns a claim on a new stream with n events, each of which is named by its seq.
func (b *bench) filled(key persistence.StreamKey, n int) persistence.Claim {
	b.Helper()
	c := b.claim(key, "node-a")
	for done := 0; done < n; {
		events := newEvents(min(n-done, 1000))
		last, err := b.Append(b.Context(), c, uint64(done), events)
		require.NoError(b, err)
		done += len(events)
		require.EqualValues(b, done, last)
	}
	return c
}

func (b *bench) append(c persistence.Claim, expected uint64, events ...persistence.Event) {
	b.Helper()
	last, err := b.Append(b.Context(), c, expected, events)
	require.NoError(b, err)
	require.Equal(b, expected+uint64(len(events)), last)
}

func (b *bench) all(key persistence.StreamKey) []persistence.Event {
	b.Helper()
	events, err := readAll(b.Context(), b, key, 1)
	require.NoError(b, err)
	return events
}

// readAll reads from a seq to the end of the stream.
func readAll(ctx context.Context, j persistence.Journal, key persistence.StreamKey, from uint64) (all []persistence.Event, err error) {
	for {
		page, err := j.Read(ctx, key, from, persistence.MaxRead)
		if err != nil || len(page) == 0 {
			return all, err
		}
		all = append(all, page...)
		from = page[len(page)-1].Seq + 1
	}
}

// clock is the suite's own time.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func newEvent(payload string) persistence.Event {
	e := persistence.Event{Manifest: "test.v1.Event", Codec: persistence.CodecProto, Payload: []byte(payload)}
	_, _ = rand.Read(e.MessageID[:])
	return e
}

func newEvents(n int) []persistence.Event {
	events := make([]persistence.Event, n)
	for i := range events {
		events[i] = newEvent("payload")
	}
	return events
}

func seqs(events []persistence.Event) []uint64 {
	var out []uint64
	for _, e := range events {
		out = append(out, e.Seq)
	}
	return out
}

// timeout bounds what must not hang; nothing in the suite takes a fraction of it.
func timeout() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 30*time.Second)
}
