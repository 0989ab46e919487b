package failpoint

import (
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	t.Parallel()
	p, err := parse(" a=crash ;b=stall(20ms)@3; c=crash@every;")
	require.NoError(t, err)
	require.Equal(t, map[string]setting{
		"a": {action{crash: true}, 1}, "b": {action{stall: 20 * time.Millisecond}, 3}, "c": {action{crash: true}, 0},
	}, p.settings)
	for _, wrong := range []string{"a", "=crash", "a=", "a=explode", "a=crash@0", "a=crash@x", "a=stall", "a=stall(1s", "a=stall(-1s)", "a=stall()"} {
		_, err := parse("b=crash;" + wrong)
		require.Error(t, err, wrong)
	}
	_, err = parse("a;b=x")
	require.ErrorContains(t, err, `"a"`)
	require.ErrorContains(t, err, `"x"`)
}

func TestHitsAreCounted(t *testing.T) {
	t.Parallel()
	p, err := parse("once=crash;third=crash@3;every=stall(1s)@every")
	require.NoError(t, err)
	var got []action
	for range 4 {
		for _, name := range []string{"once", "third", "every", "other"} {
			a, _ := p.hit(name)
			got = append(got, a)
		}
	}
	crash, stall := action{crash: true}, action{stall: time.Second}
	require.Equal(t, []action{
		crash, {}, stall, {},
		{}, {}, stall, {},
		{}, crash, stall, {},
		{}, {}, stall, {},
	}, got)
	_, first := p.hit("new")
	require.True(t, first)
	_, first = p.hit("new")
	require.False(t, first)
}

func TestHitIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	p, err := parse("a=crash@500")
	require.NoError(t, err)
	var crashed atomic.Int64
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			for range 100 {
				if a, _ := p.hit("a"); a.crash {
					crashed.Add(1)
				}
			}
		})
	}
	group.Wait()
	require.EqualValues(t, 1, crashed.Load())
}

func TestPointsDoNothingUnlessTold(t *testing.T) {
	t.Parallel()
	require.Empty(t, os.Getenv("TEST_PARLEY_FAILPOINTS"))
	Hit("anything")
}
