package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/parley-rt/parley/libs/ratelimit"
	"github.com/parley-rt/parley/libs/ratelimit/memory"
	"github.com/parley-rt/parley/libs/ratelimit/ratelimittest"
)

// cluster is some nodes with a store in a time that passes by hand.
type cluster struct {
	now      time.Time
	store    *fault
	limiters []*ratelimit.Limiter
	scopes   []*ratelimit.Shared
	next     []time.Time // when each reports
}

// fault is a store that can be away.
type fault struct {
	ratelimit.Store
	away bool
}

func (f *fault) Sync(ctx context.Context, node string, reports []ratelimit.Report) ([]ratelimit.View, error) {
	if f.away {
		return nil, errors.New("away")
	}
	return f.Store.Sync(ctx, node, reports)
}

func newCluster(t require.TestingT, nodes int, limit ratelimit.Limit) *cluster {
	c := &cluster{now: time.Unix(1_700_000_000, 0)}
	clock := func() time.Time { return c.now }
	c.store = &fault{Store: memory.New(clock)}
	for i := range nodes {
		l, err := ratelimit.New(ratelimit.Config{Node: fmt.Sprint("node-", i), Nodes: func() int { return nodes }, Now: clock}, c.store)
		require.NoError(t, err)
		c.limiters, c.scopes, c.next = append(c.limiters, l), append(c.scopes, l.Shared("member", limit)), append(c.next, c.now)
	}
	return c
}

const every = 100 * time.Millisecond

// pass lets time pass; nodes report when it is time.
func (c *cluster) pass(ctx context.Context, d time.Duration) {
	for end := c.now.Add(d); c.now.Before(end); {
		c.now = c.now.Add(time.Millisecond)
		for i, at := range c.next {
			if !c.now.Before(at) {
				c.limiters[i].Report(ctx)
				c.next[i] = c.now.Add(every)
			}
		}
	}
}

// excess follows by how much more passes in any span of time than its rate.
type excess struct{ level, most float64 }

func (e *excess) pass(d time.Duration, rate float64) { e.level = max(0, e.level-rate*d.Seconds()) }
func (e *excess) add(n float64)                      { e.level += n; e.most = max(e.most, e.level) }

// However members behave on however many nodes, in no span of time more passes than the bound that the package states.
func TestBound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		nodes := rapid.IntRange(1, 6).Draw(t, "nodes")
		r := ratelimit.Rate{PerSecond: 100, Burst: rapid.SampledFrom([]float64{10, 100, 500}).Draw(t, "burst")}
		c := newCluster(t, nodes, ratelimit.Limit{Pieces: r})
		for i := range c.next {
			c.next[i] = c.now.Add(time.Duration(rapid.IntRange(0, 99).Draw(t, "phase")) * time.Millisecond)
		}
		var e excess
		total := 0
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			node := rapid.IntRange(0, nodes-1).Draw(t, "node")
			if rapid.Bool().Draw(t, "all at once") {
				for range 1000 {
					if _, ok := c.scopes[node].Take(c.now, "k", ratelimit.One); !ok {
						break
					}
					e.add(1)
					total++
				}
			} else {
				for range rapid.IntRange(1, 50).Draw(t, "n") {
					if _, ok := c.scopes[node].Take(c.now, "k", ratelimit.One); ok {
						e.add(1)
						total++
					}
				}
			}
			pause := time.Duration(rapid.SampledFrom([]int{0, 1, 5, 20, 60, 120, 700}).Draw(t, "pause")) * time.Millisecond
			c.pass(t.Context(), pause)
			e.pass(pause, r.PerSecond)
		}
		bound := r.Burst + ratelimittest.Overshoot(nodes)*(r.Burst+r.PerSecond*every.Seconds())
		if e.most > bound+float64(nodes) {
			t.Fatalf("%.0f more than the rate passed on %d nodes, the bound is %.0f", e.most, nodes, bound)
		}
	})
}

// With the store away for as long as it likes, the bound is another one, and the rate is at most twice what it should be.
func TestBoundWithTheStoreAway(t *testing.T) {
	t.Parallel()
	for nodes := 1; nodes <= 6; nodes++ {
		t.Run(fmt.Sprint(nodes, " nodes"), func(t *testing.T) {
			t.Parallel()
			r := ratelimit.Rate{PerSecond: 100, Burst: 50}
			c := newCluster(t, nodes, ratelimit.Limit{Pieces: r})
			flood := func(d time.Duration) (total float64) {
				for range d / (10 * time.Millisecond) {
					for _, s := range c.scopes {
						for range 20 {
							if _, ok := s.Take(c.now, "k", ratelimit.One); ok {
								total++
							}
						}
					}
					c.pass(t.Context(), 10*time.Millisecond)
				}
				return total
			}
			const span = 10.0
			there := flood(10 * time.Second)
			s := ratelimittest.Overshoot(nodes)
			require.LessOrEqual(t, there, r.Burst+r.PerSecond*span+s*(r.Burst+r.PerSecond*0.1)+float64(nodes))
			require.GreaterOrEqual(t, there, 0.9*r.PerSecond*span)
			c.store.away = true
			away := flood(10 * time.Second)
			require.LessOrEqual(t, away, s*(r.Burst+r.PerSecond*0.6)+2*(r.Burst+r.PerSecond*span)+float64(nodes))
			require.GreaterOrEqual(t, away, 0.9*r.PerSecond*span, "the service goes on")
			c.store.away = false
			c.pass(t.Context(), 20*time.Second)
			back := flood(10 * time.Second)
			require.LessOrEqual(t, back, r.Burst+r.PerSecond*span+s*(r.Burst+r.PerSecond*0.1)+float64(nodes))
			t.Logf("there %.0f, away %.0f, back %.0f of %.0f", there, away, back, r.PerSecond*span)
		})
	}
}

// A key that stays below its rate on one node of many is not refused, with the store there, away and back.
func TestSteadyUseIsNeverRefused(t *testing.T) {
	t.Parallel()
	r := ratelimit.Rate{PerSecond: 100, Burst: 50}
	c := newCluster(t, 2, ratelimit.Limit{Pieces: r})
	for i := range 6000 {
		c.store.away = i/1000%2 == 1
		after, ok := c.scopes[0].Take(c.now, "k", ratelimit.One)
		require.True(t, ok, "use %d: in %s", i, after)
		c.pass(t.Context(), 11*time.Millisecond)
	}
}

// A burst is all there for one node again after a pause, once it has asked.
func TestABurstIsOneNodesAlone(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 5, ratelimit.Limit{Pieces: ratelimit.Rate{PerSecond: 10, Burst: 50}})
	for range 3 {
		passed := 0
		for range 100 {
			if _, ok := c.scopes[3].Take(c.now, "k", ratelimit.One); ok {
				passed++
			}
			if passed == 5 {
				c.limiters[3].Report(t.Context())
			}
		}
		require.Equal(t, 50, passed)
		c.pass(t.Context(), 10*time.Second)
	}
}

// Nodes that know of each other share what there is: together they let nothing pass that one would not, however they hurry.
func TestNodesThatKnowOfEachOtherDoNotOvershoot(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 4, ratelimit.Limit{Pieces: ratelimit.Rate{PerSecond: 0.01, Burst: 100}})
	total := 0
	take := func(s *ratelimit.Shared, most int) {
		for range most {
			if _, ok := s.Take(c.now, "k", ratelimit.One); ok {
				total++
			}
		}
	}
	for range 2 {
		for _, s := range c.scopes {
			take(s, 1)
		}
		c.pass(t.Context(), every)
	}
	for _, s := range c.scopes {
		take(s, 1000)
	}
	require.LessOrEqual(t, total, 100)
	require.GreaterOrEqual(t, total, 95)
}

// At most so many keys are remembered, those that have regained everything are forgotten, and of the others none: who has no place
// passes, and is counted.
func TestKeysAreBounded(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	l, err := ratelimit.New(ratelimit.Config{Keys: 1600, Now: func() time.Time { return now }}, nil)
	require.NoError(t, err)
	s := l.Shared("member", ratelimit.Limit{Pieces: ratelimit.Rate{PerSecond: 1, Burst: 2}})
	refused := 0
	for round := range 3 {
		for i := range 10_000 {
			if _, ok := s.Take(now, fmt.Sprint(i), ratelimit.One); !ok {
				refused++
			}
		}
		if round < 2 {
			require.Zero(t, refused)
		}
	}
	require.Equal(t, 1600, refused, "those that are remembered are limited")
	require.Equal(t, 1600, l.Sweep())
	now = now.Add(time.Minute)
	_, ok := s.Take(now, "another", ratelimit.One)
	require.True(t, ok)
	require.Equal(t, 1, l.Sweep(), "it had a place at once")
}

// Reports that wait for a store do not take more than the keys do.
func TestReportsThatWaitAreBounded(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, ratelimit.Limit{Pieces: ratelimit.Rate{PerSecond: 1, Burst: 2}})
	c.store.away = true
	for i := range 1000 {
		_, ok := c.scopes[0].Take(c.now, fmt.Sprint(i), ratelimit.One)
		require.True(t, ok)
	}
	c.limiters[0].Report(t.Context())
	require.Equal(t, 1000, c.limiters[0].Sweep())
	c.now = c.now.Add(time.Minute)
	require.Zero(t, c.limiters[0].Sweep(), "there is nothing to report of them any more")
}
