package router_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/actorkit/router"
)

type (
	member = router.Member[string, string]
	fn     = router.Func[string, string]
)

var errOops = errors.New("oops")

// named answers with its name.
func named(name string) member {
	return member{Name: name, Routee: fn(func(context.Context, string) (string, error) { return name, nil })}
}

// after answers with its name, or err, once d has passed.
func after(name string, d time.Duration, err error) member {
	return member{Name: name, Routee: fn(func(ctx context.Context, _ string) (string, error) {
		select {
		case <-time.After(d):
			return name, err
		case <-ctx.Done():
			return "", ctx.Err()
		}
	})}
}

func newRouter(t *testing.T, cfg router.Config[string], members ...member) *router.Router[string, string] {
	t.Helper()
	r, err := router.New[string, string](cfg)
	require.NoError(t, err)
	require.NoError(t, r.Set(members))
	t.Cleanup(func() { require.NoError(t, r.Close(context.Background())) })
	return r
}

func ask(t *testing.T, r *router.Router[string, string], msg string) string {
	t.Helper()
	got, err := r.Ask(t.Context(), msg)
	require.NoError(t, err)
	return got
}

func TestRoundRobinTakesTurns(t *testing.T) {
	t.Parallel()
	r := newRouter(t, router.Config[string]{}, named("a"), named("b"), named("c"))
	for range 5 {
		for _, want := range []string{"a", "b", "c"} {
			require.Equal(t, want, ask(t, r, ""))
		}
	}
	var group sync.WaitGroup
	for range 300 {
		group.Go(func() { _, _ = r.Ask(t.Context(), "") })
	}
	group.Wait()
	for _, s := range r.Inspect() {
		require.Equal(t, router.Status{Name: s.Name, Answered: 105}, s)
	}
	// Who stays keeps its figures, who is new begins.
	require.NoError(t, r.Set([]member{named("b"), named("d")}))
	require.Equal(t, []router.Status{{Name: "b", Answered: 105}, {Name: "d"}}, r.Inspect())
}

func TestRandomAsksEverybody(t *testing.T) {
	t.Parallel()
	r := newRouter(t, router.Config[string]{Strategy: router.Random}, named("a"), named("b"), named("c"))
	const asks = 3000
	for range asks {
		ask(t, r, "")
	}
	for _, s := range r.Inspect() {
		require.InDelta(t, asks/3, s.Answered, 200, s.Name) // 26 is one standard deviation
	}
}

func TestConsistentHashMovesFewKeys(t *testing.T) {
	t.Parallel()
	r := newRouter(t, router.Config[string]{Strategy: router.ConsistentHash, Key: func(m string) string { return m }})
	set := func(n int) map[string]string {
		members := make([]member, n)
		for i := range members {
			members[i] = named(fmt.Sprintf("routee-%d", i))
		}
		require.NoError(t, r.Set(members))
		owners := map[string]string{}
		for i := range 5000 {
			key := strconv.Itoa(i)
			owners[key] = ask(t, r, key)
			require.Equal(t, owners[key], ask(t, r, key))
		}
		return owners
	}
	eight, nine := set(8), set(9)
	counts, moved := map[string]int{}, 0
	for key, owner := range nine {
		counts[owner]++
		if owner != eight[key] {
			moved++
			require.Equal(t, "routee-8", owner, "a key moved between routees that stayed")
		}
	}
	require.InDelta(t, 5000/9, moved, 200)
	for name, n := range counts {
		require.InDelta(t, 5000/9, n, 200, name)
	}
	require.Equal(t, eight, set(8))
}

func TestFullRouteesArePassedOver(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		strategy router.Strategy
		takes    int
	}{"round robin": {router.RoundRobin, 4}, "random": {router.Random, 4}, "consistent hash": {router.ConsistentHash, 2}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			open, began := make(chan struct{}), make(chan struct{}, 10)
			slow := func(name string) member {
				return member{Name: name, Routee: fn(func(context.Context, string) (string, error) {
					began <- struct{}{}
					<-open
					return name, nil
				})}
			}
			r := newRouter(t, router.Config[string]{Strategy: c.strategy, Limit: 2, Key: func(string) string { return "one" }}, slow("a"), slow("b"))
			var group sync.WaitGroup
			for range c.takes {
				group.Go(func() {
					_, err := r.Ask(t.Context(), "")
					if err != nil {
						t.Error(err)
					}
				})
				<-began
			}
			_, err := r.Ask(t.Context(), "")
			require.ErrorIs(t, err, router.ErrFull)
			inFlight := 0
			for _, s := range r.Inspect() {
				inFlight += s.InFlight
			}
			require.Equal(t, c.takes, inFlight)
			close(open)
			group.Wait()
			_, err = r.Ask(t.Context(), "")
			require.NoError(t, err)
		})
	}
}

// An error of who was asked is its answer: nobody else is asked, who might do the thing twice.
func TestErrorsAreNotTriedElsewhere(t *testing.T) {
	t.Parallel()
	r := newRouter(t, router.Config[string]{}, after("a", 0, errOops), named("b"))
	_, err := r.Ask(t.Context(), "")
	require.ErrorIs(t, err, errOops)
	require.Equal(t, "b", ask(t, r, ""))
	require.Equal(t, []router.Status{{Name: "a", Failed: 1}, {Name: "b", Answered: 1}}, r.Inspect())
}

func TestPanicsAreErrors(t *testing.T) {
	t.Parallel()
	panics := member{Name: "p", Routee: fn(func(context.Context, string) (string, error) { panic("trouble") })}
	for _, s := range []router.Strategy{router.RoundRobin, router.TailChopping, router.ScatterGatherFirst} {
		cfg := router.Config[string]{Strategy: s, Within: time.Minute, Interval: time.Minute, InOrder: true}
		_, err := newRouter(t, cfg, panics).Ask(t.Context(), "")
		require.ErrorIs(t, err, router.ErrPanicked)
	}
	require.Equal(t, "b", ask(t, newRouter(t, router.Config[string]{Strategy: router.ScatterGatherFirst, Within: time.Minute}, panics, named("b")), ""))
}

func TestNobodyToAsk(t *testing.T) {
	t.Parallel()
	for s := router.RoundRobin; s <= router.ScatterGatherFirst; s++ {
		r := newRouter(t, router.Config[string]{Strategy: s, Within: time.Minute, Interval: time.Minute, Key: func(string) string { return "" }})
		_, err := r.Ask(t.Context(), "")
		require.ErrorIs(t, err, router.ErrNoRoutees)
		_, err = r.FanOut(t.Context(), "")
		require.ErrorIs(t, err, router.ErrNoRoutees)
		require.NoError(t, r.Close(t.Context()))
		_, err = r.Ask(t.Context(), "")
		require.ErrorIs(t, err, router.ErrClosed)
		_, err = r.FanOut(t.Context(), "")
		require.ErrorIs(t, err, router.ErrClosed)
	}
}

// When is asked whom, in virtual time.
func TestTailChopping(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		routees []member
		want    string
		err     error
		took    time.Duration
		asked   int
	}{
		"the first is quick":             {[]member{after("a", 10*ms, nil), named("b")}, "a", nil, 10 * ms, 1},
		"the first is slow":              {[]member{after("a", time.Hour, nil), after("b", 5*ms, nil)}, "b", nil, 105 * ms, 2},
		"slow, and yet the first":        {[]member{after("a", 150*ms, nil), after("b", 100*ms, nil)}, "a", nil, 150 * ms, 2},
		"the first fails":                {[]member{after("a", 10*ms, errOops), after("b", 5*ms, nil), named("c")}, "b", nil, 15 * ms, 2},
		"slow first, the next fails":     {[]member{after("a", 250*ms, nil), after("b", 0, errOops), after("c", time.Hour, nil)}, "a", nil, 250 * ms, 3},
		"all fail":                       {[]member{after("a", ms, errOops), after("b", ms, errOops)}, "", errOops, 2 * ms, 2},
		"all fail, says the router":      {[]member{after("a", ms, errOops)}, "", router.ErrAllFailed, ms, 1},
		"nobody answers":                 {[]member{after("a", time.Hour, nil), after("b", time.Hour, nil)}, "", router.ErrTimeout, time.Second, 2},
		"the bound comes before all":     {[]member{after("a", time.Hour, nil), after("b", 950*ms, nil)}, "", router.ErrTimeout, time.Second, 2},
		"the last one answers":           {[]member{after("a", time.Hour, nil), after("b", time.Hour, nil), after("c", 300*ms, nil)}, "c", nil, 500 * ms, 3},
		"fails after the next was asked": {[]member{after("a", 150*ms, errOops), after("b", time.Hour, nil), after("c", ms, nil)}, "c", nil, 151 * ms, 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRouter(t, router.Config[string]{
					Strategy: router.TailChopping, Within: time.Second, Interval: 100 * ms, InOrder: true,
				}, c.routees...)
				began := time.Now()
				got, err := r.Ask(t.Context(), "")
				require.Equal(t, c.took, time.Since(began))
				require.ErrorIs(t, err, c.err)
				require.Equal(t, c.want, got)
				require.NoError(t, r.Close(t.Context()))
				asked := 0
				for _, s := range r.Inspect() {
					require.Zero(t, s.InFlight, "it was told that nobody waits")
					asked += int(s.Answered + s.Failed)
				}
				require.Equal(t, c.asked, asked)
			})
		})
	}
}

func TestTailChoppingSpreadsItsFirstAsk(t *testing.T) {
	t.Parallel()
	r := newRouter(t, router.Config[string]{Strategy: router.TailChopping, Within: time.Minute, Interval: time.Minute}, named("a"), named("b"))
	for range 1000 {
		ask(t, r, "")
	}
	for _, s := range r.Inspect() {
		require.InDelta(t, 500, s.Answered, 150)
	}
}

func TestScatterGatherFirst(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		routees []member
		want    string
		err     error
		took    time.Duration
	}{
		"the quickest counts":            {[]member{after("a", 30*ms, nil), after("b", 20*ms, nil), after("c", time.Hour, nil)}, "b", nil, 20 * ms},
		"an error is no answer":          {[]member{after("a", ms, errOops), after("b", 20*ms, nil)}, "b", nil, 20 * ms},
		"all fail, the last one decides": {[]member{after("a", ms, errOops), after("b", 20*ms, errOops)}, "", router.ErrAllFailed, 20 * ms},
		"what they said is told":         {[]member{after("a", ms, errOops)}, "", errOops, ms},
		"nobody answers":                 {[]member{after("a", ms, errOops), after("b", time.Hour, nil)}, "", router.ErrTimeout, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRouter(t, router.Config[string]{Strategy: router.ScatterGatherFirst, Within: time.Second}, c.routees...)
				began := time.Now()
				got, err := r.Ask(t.Context(), "")
				require.Equal(t, c.took, time.Since(began))
				require.ErrorIs(t, err, c.err)
				require.Equal(t, c.want, got)
			})
		})
	}
}

func TestFanOutGathers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRouter(t, router.Config[string]{Within: time.Second}, named("a"), after("b", time.Millisecond, errOops), after("c", time.Hour, nil))
		all, err := r.FanOut(t.Context(), "")
		require.NoError(t, err)
		require.Len(t, all, 3)
		require.Equal(t, router.Answer[string]{Name: "a", Reply: "a"}, all[0])
		require.ErrorIs(t, all[1].Err, errOops)
		require.Equal(t, "c", all[2].Name)
		require.ErrorIs(t, all[2].Err, router.ErrTimeout)
	})
}

// Who closes waits for what is on its way, as long as it likes to.
func TestCloseWhileAsksAreInFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRouter(t, router.Config[string]{}, after("quick", time.Second, nil), after("slow", time.Hour, nil))
		var got [2]error
		var group sync.WaitGroup
		var n atomic.Int32
		for range 2 {
			group.Go(func() {
				reply, err := r.Ask(t.Context(), "")
				if reply == "quick" {
					got[0] = err
				} else {
					got[1] = err
				}
				n.Add(1)
			})
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		began := time.Now()
		require.NoError(t, r.Close(ctx))
		require.Equal(t, 2*time.Second, time.Since(began))
		group.Wait()
		require.EqualValues(t, 2, n.Load())
		require.NoError(t, got[0])
		require.ErrorIs(t, got[1], router.ErrClosed)
	})
}

func TestAsksEndWithTheirContext(t *testing.T) {
	t.Parallel()
	for _, s := range []router.Strategy{router.RoundRobin, router.TailChopping, router.ScatterGatherFirst} {
		synctest.Test(t, func(t *testing.T) {
			r := newRouter(t, router.Config[string]{Strategy: s, Within: time.Hour, Interval: time.Minute}, after("a", 2*time.Hour, nil))
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := r.Ask(ctx, "")
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NotErrorIs(t, err, router.ErrTimeout)
		})
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]router.Config[string]{
		"strategy":              {Strategy: 99},
		"hash without key":      {Strategy: router.ConsistentHash},
		"chop without interval": {Strategy: router.TailChopping, Within: time.Second},
		"chop without bound":    {Strategy: router.TailChopping, Interval: time.Second},
		"scatter without bound": {Strategy: router.ScatterGatherFirst},
		"negative limit":        {Limit: -1},
		"negative time":         {Within: -1},
	} {
		_, err := router.New[string, string](cfg)
		require.ErrorIs(t, err, router.ErrInvalidConfig, name)
	}
	r := newRouter(t, router.Config[string]{}, named("a"))
	require.ErrorIs(t, r.Set([]member{named("a"), named("a")}), router.ErrInvalidConfig)
	require.ErrorIs(t, r.Set([]member{{Name: "a"}}), router.ErrInvalidConfig)
	require.ErrorIs(t, r.Set([]member{named("")}), router.ErrInvalidConfig)
	require.Equal(t, "a", ask(t, r, ""), "a set that is refused changes nothing")
}
