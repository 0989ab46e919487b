package redis_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/ratelimit"
	"github.com/parley-rt/parley/libs/ratelimit/ratelimittest"
	"github.com/parley-rt/parley/libs/ratelimit/redistest"
)

const patience = 30 * time.Second

// own starts a server that a test may harm.
func own(t *testing.T) *redistest.Server {
	t.Helper()
	s, err := redistest.New(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// load is members that publish steadily through two nodes, below their limits, and clients that connect.
type load struct {
	t        *testing.T
	limiters []*ratelimit.Limiter
	scopes   []*ratelimit.Shared
	connects []*ratelimit.Direct
}

func newLoad(t *testing.T, url string) *load {
	t.Helper()
	l := &load{t: t}
	for _, node := range []string{"a", "b"} {
		limiter, err := ratelimit.New(ratelimit.Config{Node: node, Nodes: func() int { return 2 }}, openAt(t, url))
		require.NoError(t, err)
		l.limiters = append(l.limiters, limiter)
		l.scopes = append(l.scopes, limiter.Shared("member", ratelimit.Limit{Pieces: ratelimit.Rate{PerSecond: 200, Burst: 200}}))
		l.connects = append(l.connects, limiter.Direct("connect", ratelimit.Limit{Pieces: ratelimit.Rate{PerSecond: 1000, Burst: 1000}}))
		require.NoError(t, limiter.Start())
		t.Cleanup(limiter.Close)
	}
	l.awaitAway(false)
	return l
}

func (l *load) awaitAway(away bool) {
	l.t.Helper()
	for _, limiter := range l.limiters {
		require.Eventually(l.t, func() bool { return limiter.Away() == away }, patience, time.Millisecond)
	}
}

// run publishes for so long with 20 members on each node, at about 50 a second each, and says how long the decisions took.
func (l *load) run(lasting time.Duration) []time.Duration {
	l.t.Helper()
	members := strings.Split(strings.Repeat("m", 19), "")
	took := make([][]time.Duration, len(l.scopes))
	var wg sync.WaitGroup
	for i, s := range l.scopes {
		wg.Go(func() {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for end := time.Now().Add(lasting); time.Now().Before(end); <-tick.C {
				for j := range members {
					begin := time.Now()
					after, ok := s.Take(begin, strings.Repeat("m", j+1), ratelimit.Cost{Pieces: 1, Bytes: 100})
					took[i] = append(took[i], time.Since(begin))
					if !ok {
						l.t.Errorf("member %d refused for %s", j, after)
					}
				}
			}
		})
	}
	wg.Wait()
	return slices.Sorted(slices.Values(slices.Concat(took...)))
}

func p(q float64, of []time.Duration) time.Duration { return of[int(q*float64(len(of)-1))] }

// unharmed runs the load while something is done to Redis and after.
func (l *load) unharmed(harm, repair func()) {
	l.t.Helper()
	before := l.run(time.Second)
	harm()
	during := l.run(2 * time.Second) // it begins before anybody has noticed
	l.awaitAway(true)
	// A direct decision does not wait for Redis for longer than it may, and once it is known to be away, not at all.
	begin := time.Now()
	for range 100 {
		_, ok := l.connects[0].Take(l.t.Context(), "192.0.2.1", ratelimit.One)
		require.True(l.t, ok)
	}
	require.Less(l.t, time.Since(begin), 2*time.Second, "100 that wait 20 ms each take as long")
	repair()
	l.awaitAway(false)
	after := l.run(time.Second)
	l.t.Logf("p99 of a decision before %s, during %s, after %s; most %s, %s, %s",
		p(0.99, before), p(0.99, during), p(0.99, after), p(1, before), p(1, during), p(1, after))
	// It is a microsecond, and Redis would cost many milliseconds: whatever the machine does, a wait for it would show.
	require.Less(l.t, p(0.99, during), 5*time.Millisecond)
}

func TestRedisKilledUnderLoad(t *testing.T) {
	t.Parallel()
	s := own(t)
	newLoad(t, s.URL()).unharmed(
		func() { require.NoError(t, s.Kill()) },
		func() { require.NoError(t, s.Start(t.Context())) })
}

func TestRedisFrozenUnderLoad(t *testing.T) {
	t.Parallel()
	s := own(t)
	newLoad(t, s.URL()).unharmed(
		func() { require.NoError(t, s.Freeze()) },
		func() { require.NoError(t, s.Thaw()) })
}

// What a server was asked while it was frozen, and what was given up since, it does not do when it goes on.
func TestWhatIsGivenUpIsNotDone(t *testing.T) {
	t.Parallel()
	server := own(t)
	s := openAt(t, server.URL())
	require.NoError(t, s.Ping(t.Context()))
	require.NoError(t, server.Freeze())
	hour := [2]time.Duration{time.Hour, time.Hour}
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		_, err := s.Sync(ctx, "a", []ratelimit.Report{{Key: "k", Used: hour, Most: hour}})
		require.ErrorIs(t, err, ratelimit.ErrAway)
		cancel()
		ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
		_, _, err = s.Take(ctx, "t", hour, hour)
		require.ErrorIs(t, err, ratelimit.ErrAway)
		cancel()
	}
	require.NoError(t, server.Thaw())
	views, err := s.Sync(t.Context(), "a", []ratelimit.Report{{Key: "k", Most: hour}})
	require.NoError(t, err)
	require.Zero(t, views[0].Ahead)
	_, ok, err := s.Take(t.Context(), "t", hour, hour)
	require.NoError(t, err)
	require.True(t, ok)
}

// A replica takes over behind the same address, while the connections to the old primary stay: it lives on and only reads.
func TestRedisFailsOverUnderLoad(t *testing.T) {
	t.Parallel()
	primary := own(t)
	replica, err := redistest.NewReplica(t.Context(), primary)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, replica.Close()) })
	address, err := redistest.NewAddress(t.Context(), primary)
	require.NoError(t, err)
	t.Cleanup(address.Close)
	l := newLoad(t, address.URL())
	before := l.run(time.Second)
	require.NoError(t, replica.Promote(t.Context()))
	_, err = primary.Do(t.Context(), "REPLICAOF", "127.0.0.1", replica.Addr()[len("127.0.0.1:"):])
	require.NoError(t, err)
	address.Point(replica)
	during := l.run(2 * time.Second)
	l.awaitAway(false)
	keys, err := replica.Do(t.Context(), "DBSIZE")
	require.NoError(t, err)
	require.NotEqual(t, "0", keys)
	require.Less(t, p(0.99, during), 5*time.Millisecond)
	// And then it dies, with nobody to take over, and an empty one comes.
	require.NoError(t, replica.Kill())
	l.awaitAwayUnderLoad()
	require.NoError(t, replica.Start(t.Context()))
	_, err = replica.Do(t.Context(), "REPLICAOF", "NO", "ONE")
	require.NoError(t, err)
	l.awaitAway(false)
	t.Logf("p99 of a decision before %s, during %s", p(0.99, before), p(0.99, during))
	l.run(time.Second)
}

func (l *load) awaitAwayUnderLoad() {
	l.run(time.Second)
	l.awaitAway(true)
}

// The bound, on a real server and in real time: three nodes take all they can get, with Redis there, frozen and back.
func TestBoundWithRedisThereAndAway(t *testing.T) {
	t.Parallel()
	const nodes, rate, burst, span = 3, 200.0, 100.0, 2 * time.Second
	s := own(t)
	var scopes []*ratelimit.Shared
	l := &load{t: t}
	for _, node := range []string{"a", "b", "c"} {
		limiter, err := ratelimit.New(ratelimit.Config{Node: node, Nodes: func() int { return nodes }}, openAt(t, s.URL()))
		require.NoError(t, err)
		scopes = append(scopes, limiter.Shared("member", ratelimit.Limit{Pieces: ratelimit.Rate{PerSecond: rate, Burst: burst}}))
		require.NoError(t, limiter.Start())
		t.Cleanup(limiter.Close)
		l.limiters = append(l.limiters, limiter)
	}
	l.awaitAway(false)
	const lag = 0.6 // s: of a busy machine; what a report takes is 0.1
	over := ratelimittest.Overshoot(nodes) * (burst + rate*lag)
	there := float64(ratelimittest.Flood(scopes, "k", span))
	require.NoError(t, s.Freeze())
	away := float64(ratelimittest.Flood(scopes, "k", span))
	l.awaitAway(true)
	require.NoError(t, s.Thaw())
	l.awaitAway(false)
	back := float64(ratelimittest.Flood(scopes, "k", span))
	ideal := rate * span.Seconds()
	t.Logf("in %s each: there %.0f, away %.0f, back %.0f; one node would let pass %.0f and at first %.0f more", span, there, away, back, ideal, burst)
	require.LessOrEqual(t, there, burst+ideal+over)
	require.LessOrEqual(t, away, 2*(burst+ideal)+over)
	require.LessOrEqual(t, back, burst+ideal+over)
	require.GreaterOrEqual(t, away, ideal/2, "the service goes on")
	require.GreaterOrEqual(t, there, ideal/2)
}
