package ratelimittest

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/ratelimit"
)

// Make makes the limiter of one of several nodes. It is neither started nor closed by it; what is behind it is.
type Make func(t *testing.T, node string, nodes int) *ratelimit.Limiter

// RunLimiter checks limiters made in one way. together says that all nodes count together.
func RunLimiter(t *testing.T, together bool, setup func(t *testing.T) Make) {
	t.Helper()
	t.Run("a burst passes and no more", func(t *testing.T) { t.Parallel(); burstPasses(t, setup(t)) })
	t.Run("keys do not know of each other", func(t *testing.T) { t.Parallel(); keysAreApart(t, setup(t)) })
	t.Run("bytes are limited too", func(t *testing.T) { t.Parallel(); bytesToo(t, setup(t)) })
	t.Run("a refusal says when it passes", func(t *testing.T) { t.Parallel(); refusalIsRight(t, setup(t)) })
	t.Run("a steady rate passes", func(t *testing.T) { t.Parallel(); steadyPasses(t, setup(t)) })
	t.Run("direct decisions are no different", func(t *testing.T) { t.Parallel(); directDecides(t, setup(t)) })
	if together {
		t.Run("nodes count together", func(t *testing.T) { t.Parallel(); nodesTogether(t, setup(t)) })
	}
}

func start(t *testing.T, l *ratelimit.Limiter) {
	t.Helper()
	require.NoError(t, l.Start())
	t.Cleanup(l.Close)
	require.Eventually(t, func() bool { return !l.Away() }, slack, time.Millisecond)
}

func single(t *testing.T, open Make, limit ratelimit.Limit) *ratelimit.Shared {
	t.Helper()
	l := open(t, "a", 1)
	s := l.Shared("member", limit)
	start(t, l)
	return s
}

// hourly regains too slowly for a test to notice.
func hourly(burst float64) ratelimit.Rate { return ratelimit.Rate{PerSecond: 1.0 / 60, Burst: burst} }

func passes(s *ratelimit.Shared, key string, c ratelimit.Cost) bool {
	_, ok := s.Take(time.Now(), key, c)
	return ok
}

func burstPasses(t *testing.T, open Make) {
	s := single(t, open, ratelimit.Limit{Pieces: hourly(50)})
	for i := range 50 {
		require.True(t, passes(s, "k", ratelimit.One), "piece %d", i)
	}
	after, ok := s.Take(time.Now(), "k", ratelimit.One)
	require.False(t, ok)
	near(t, 61*time.Second, after)
}

func keysAreApart(t *testing.T, open Make) {
	s := single(t, open, ratelimit.Limit{Pieces: hourly(1)})
	require.True(t, passes(s, "k", ratelimit.One))
	require.False(t, passes(s, "k", ratelimit.One))
	require.True(t, passes(s, "other", ratelimit.One))
}

func bytesToo(t *testing.T, open Make) {
	s := single(t, open, ratelimit.Limit{Pieces: hourly(10), Bytes: hourly(1000)})
	require.True(t, passes(s, "k", ratelimit.Cost{Pieces: 1, Bytes: 600}))
	require.False(t, passes(s, "k", ratelimit.Cost{Pieces: 1, Bytes: 600}))
	require.True(t, passes(s, "k", ratelimit.Cost{Pieces: 9, Bytes: 400}), "what was refused took nothing")
	require.True(t, passes(s, "large", ratelimit.Cost{Pieces: 1, Bytes: 5000}), "more than the burst passes when nothing is used")
	require.False(t, passes(s, "large", ratelimit.Cost{Pieces: 1, Bytes: 1}))
}

func refusalIsRight(t *testing.T, open Make) {
	s := single(t, open, ratelimit.Limit{Pieces: ratelimit.Rate{PerSecond: 20, Burst: 10}})
	for range 30 {
		now := time.Now()
		after, ok := s.Take(now, "k", ratelimit.One)
		if ok {
			continue
		}
		require.LessOrEqual(t, after, time.Second)
		<-time.After(after - time.Since(now))
		again, ok := s.Take(time.Now(), "k", ratelimit.One)
		require.True(t, ok, "told %s, and then %s", after, again)
	}
}

// A key that stays below its rate is never refused, however long.
func steadyPasses(t *testing.T, open Make) {
	s := single(t, open, ratelimit.Limit{Pieces: ratelimit.Rate{PerSecond: 200, Burst: 100}})
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i := range 100 {
		<-tick.C
		require.True(t, passes(s, "k", ratelimit.One), "piece %d", i)
	}
}

func directDecides(t *testing.T, open Make) {
	l := open(t, "a", 1)
	d := l.Direct("connect", ratelimit.Limit{Pieces: hourly(5)})
	start(t, l)
	n := 0
	// A machine that stalls may have some decided here and some there: twice the burst at most.
	for range 40 {
		after, ok := d.Take(t.Context(), "192.0.2.1", ratelimit.One)
		if ok {
			n++
		}
		require.Equal(t, ok, after == 0)
	}
	require.GreaterOrEqual(t, n, 5)
	require.LessOrEqual(t, n, 10)
	_, ok := d.Take(t.Context(), "192.0.2.2", ratelimit.One)
	require.True(t, ok)
}

// Overshoot is S of the bound: what N nodes let pass beyond one burst, in bursts, before they know of each other.
func Overshoot(nodes int) (s float64) {
	for j := range nodes {
		s += max(1/float64(j+1), min(1, 2/float64(nodes)))
	}
	return s
}

// nodesTogether has all nodes of a few take as much as they can: within the bound at any time, and the rate on average.
func nodesTogether(t *testing.T, open Make) {
	const nodes, rate, burst = 3, 200.0, 100.0
	const lasting = 3 * time.Second
	scopes := []*ratelimit.Shared{}
	for _, name := range []string{"a", "b", "c"} {
		l := open(t, name, nodes)
		s := l.Shared("member", ratelimit.Limit{Pieces: ratelimit.Rate{PerSecond: rate, Burst: burst}})
		start(t, l)
		scopes = append(scopes, s)
	}
	passed := Flood(scopes, "k", lasting)
	lag := 0.5 // s; what a report takes is 0.1, and this machine is busy
	bound := burst + rate*lasting.Seconds() + Overshoot(nodes)*(burst+rate*lag)
	t.Logf("%d passed in %s, the bound is %.0f, one node would let pass %.0f", passed, lasting, bound, burst+rate*lasting.Seconds())
	require.LessOrEqual(t, float64(passed), bound)
	require.GreaterOrEqual(t, float64(passed), rate*lasting.Seconds()/2, "what there is is given")
	// What was too much at first is made up for.
	again := Flood(scopes, "k", lasting)
	t.Logf("then %d, one node would let pass %.0f", again, rate*lasting.Seconds())
	require.LessOrEqual(t, float64(again), rate*(lasting.Seconds()+lag))
}

// Flood takes one piece every millisecond of each scope for so long and says how many passed.
func Flood(scopes []*ratelimit.Shared, key string, lasting time.Duration) (passed int) {
	var wg sync.WaitGroup
	counts := make([]int, len(scopes))
	for i, s := range scopes {
		wg.Go(func() {
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for end := time.Now().Add(lasting); time.Now().Before(end); <-tick.C {
				for range 4 {
					if passes(s, key, ratelimit.One) {
						counts[i]++
					}
				}
			}
		})
	}
	wg.Wait()
	for _, n := range counts {
		passed += n
	}
	return passed
}
