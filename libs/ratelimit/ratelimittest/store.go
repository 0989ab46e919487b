package ratelimittest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/ratelimit"
)

// slack is what a slow machine may add between two requests; figures are chosen so that it does not matter.
const slack = 30 * time.Second

// RunStore checks a store. open returns an empty one, which is closed by it.
func RunStore(t *testing.T, open func(t *testing.T) ratelimit.Store) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, ratelimit.Store){
		"use adds up, of all nodes":                 useAddsUp,
		"what was used is regained":                 useIsRegained,
		"use beyond the most is forgotten":          useIsBounded,
		"nodes count while they report":             nodesCount,
		"many keys at once keep their order":        manyKeys,
		"take decides by depth":                     takeDecides,
		"more than the depth passes and is a debt":  takeMore,
		"what is refused takes nothing from either": takeNeither,
		"takes at once are decided one by one":      takesAtOnce,
		"what is given up is not done":              givenUp,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func used(key string, pieces, bytes time.Duration) ratelimit.Report {
	return ratelimit.Report{Key: key, Used: [2]time.Duration{pieces, bytes}, Most: [2]time.Duration{100 * time.Hour, 100 * time.Hour}}
}

func sync1(t *testing.T, s ratelimit.Store, node string, r ratelimit.Report) ratelimit.View {
	t.Helper()
	views, err := s.Sync(t.Context(), node, []ratelimit.Report{r})
	require.NoError(t, err)
	require.Len(t, views, 1)
	return views[0]
}

func near(t *testing.T, want, got time.Duration) {
	t.Helper()
	require.LessOrEqual(t, got, want)
	require.Greater(t, got, want-slack)
}

func useAddsUp(t *testing.T, s ratelimit.Store) {
	require.NoError(t, s.Ping(t.Context()))
	v := sync1(t, s, "a", used("k", time.Hour, 0))
	near(t, time.Hour, v.Ahead[0])
	require.Zero(t, v.Ahead[1])
	v = sync1(t, s, "b", used("k", 0, 2*time.Hour))
	near(t, time.Hour, v.Ahead[0])
	near(t, 2*time.Hour, v.Ahead[1])
	v = sync1(t, s, "a", used("k", time.Hour, time.Hour))
	near(t, 2*time.Hour, v.Ahead[0])
	near(t, 3*time.Hour, v.Ahead[1])
	require.Zero(t, sync1(t, s, "a", used("other", 0, 0)).Ahead[0])
}

func useIsRegained(t *testing.T, s ratelimit.Store) {
	begin := time.Now()
	sync1(t, s, "a", used("k", 50*time.Millisecond, 100*time.Millisecond))
	require.Eventually(t, func() bool {
		v := sync1(t, s, "a", used("k", 0, 0))
		return v.Ahead[0] == 0 && v.Ahead[1] == 0
	}, slack, 5*time.Millisecond)
	require.GreaterOrEqual(t, time.Since(begin), 100*time.Millisecond)
}

func useIsBounded(t *testing.T, s ratelimit.Store) {
	r := used("k", 10*time.Hour, 10*time.Hour)
	r.Most = [2]time.Duration{time.Hour, 2 * time.Hour}
	v := sync1(t, s, "a", r)
	near(t, time.Hour, v.Ahead[0])
	near(t, 2*time.Hour, v.Ahead[1])
}

func nodesCount(t *testing.T, s ratelimit.Store) {
	require.Equal(t, 1, sync1(t, s, "a", used("k", time.Hour, 0)).Nodes)
	require.Equal(t, 1, sync1(t, s, "b", used("other", time.Hour, 0)).Nodes)
	// As long as the others' reports are young enough, whatever the machine does in between.
	require.Eventually(t, func() bool {
		begin := time.Now()
		a := sync1(t, s, "a", used("k", 0, 0)).Nodes
		b := sync1(t, s, "b", used("k", 0, 0)).Nodes
		c := sync1(t, s, "c", used("k", 0, 0)).Nodes
		again := sync1(t, s, "a", used("k", 0, 0)).Nodes
		if time.Since(begin) > ratelimit.Active/2 {
			return false
		}
		return a >= 1 && b >= 2 && c == 3 && again == 3
	}, slack, time.Millisecond)
	require.Eventually(t, func() bool { return sync1(t, s, "a", used("k", 0, 0)).Nodes == 1 }, slack, 20*time.Millisecond)
}

func manyKeys(t *testing.T, s ratelimit.Store) {
	const n = 1000
	reports := make([]ratelimit.Report, n)
	for i := range reports {
		reports[i] = used(fmt.Sprint("key-", i), time.Duration(i+1)*time.Minute, 0)
	}
	for round := range 2 {
		views, err := s.Sync(t.Context(), "a", reports)
		require.NoError(t, err)
		require.Len(t, views, n)
		for i, v := range views {
			near(t, time.Duration((round+1)*(i+1))*time.Minute, v.Ahead[0])
		}
	}
	views, err := s.Sync(t.Context(), "a", nil)
	require.NoError(t, err)
	require.Empty(t, views)
}

func take(t *testing.T, s ratelimit.Store, costs, depths [2]time.Duration) (time.Duration, bool) {
	t.Helper()
	after, ok, err := s.Take(t.Context(), "k", costs, depths)
	require.NoError(t, err)
	return after, ok
}

func takeDecides(t *testing.T, s ratelimit.Store) {
	costs, depths := [2]time.Duration{time.Hour, 0}, [2]time.Duration{3 * time.Hour, 0}
	for range 3 {
		after, ok := take(t, s, costs, depths)
		require.True(t, ok)
		require.Zero(t, after)
	}
	after, ok := take(t, s, costs, depths)
	require.False(t, ok)
	near(t, time.Hour, after)
	// It is right: after that it passes.
	depths[0] = 3*time.Hour + after
	_, ok = take(t, s, costs, depths)
	require.True(t, ok)
}

func takeMore(t *testing.T, s ratelimit.Store) {
	_, ok := take(t, s, [2]time.Duration{5 * time.Hour, 0}, [2]time.Duration{time.Hour, 0})
	require.True(t, ok, "it would never pass otherwise")
	after, ok := take(t, s, [2]time.Duration{time.Minute, 0}, [2]time.Duration{time.Hour, 0})
	require.False(t, ok)
	near(t, 4*time.Hour+time.Minute, after)
}

func takeNeither(t *testing.T, s ratelimit.Store) {
	depths := [2]time.Duration{10 * time.Hour, time.Hour}
	_, ok := take(t, s, [2]time.Duration{0, time.Hour}, depths)
	require.True(t, ok)
	for range 3 {
		_, ok = take(t, s, [2]time.Duration{9 * time.Hour, time.Hour}, depths)
		require.False(t, ok, "no bytes are left")
	}
	_, ok = take(t, s, [2]time.Duration{10 * time.Hour, 0}, depths)
	require.True(t, ok, "all pieces are there still")
}

func takesAtOnce(t *testing.T, s ratelimit.Store) {
	var wg sync.WaitGroup
	passed := make(chan bool, 40)
	for range cap(passed) {
		wg.Go(func() {
			_, ok, err := s.Take(t.Context(), "k", [2]time.Duration{time.Hour, 0}, [2]time.Duration{10 * time.Hour, 0})
			passed <- ok && err == nil
		})
	}
	wg.Wait()
	n := 0
	for range cap(passed) {
		if <-passed {
			n++
		}
	}
	require.Equal(t, 10, n)
}

func givenUp(t *testing.T, s ratelimit.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Sync(ctx, "a", []ratelimit.Report{used("k", time.Hour, 0)})
	require.Error(t, err)
	_, _, err = s.Take(ctx, "k", [2]time.Duration{time.Hour, 0}, [2]time.Duration{time.Hour, 0})
	require.Error(t, err)
	require.Error(t, s.Ping(ctx))
	require.Zero(t, sync1(t, s, "a", used("k", 0, 0)).Ahead[0])
}
