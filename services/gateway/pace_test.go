package gateway

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPace(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		from    float64
		late    time.Duration
		pressed bool
		want    float64
	}{
		"there is time":                   {400, 0, true, 440},
		"just in time":                    {400, tooLate / 2, true, 440},
		"not much time: stays":            {800, tooLate/2 + 1, true, 800},
		"at the bound: stays":             {800, tooLate, true, 800},
		"late":                            {800, tooLate + 1, true, 560},
		"late at the least pace":          {400, time.Second, true, 400},
		"in time at the most":             {2000, 0, true, 2000},
		"nobody comes":                    {2000, 0, false, 1400},
		"nobody comes at the least pace":  {400, 0, false, 400},
		"a step above is cut":             {1990, 0, true, 2000},
		"a step below is cut":             {500, time.Second, true, 400},
		"late, and nobody comes: no more": {2000, time.Second, false, 1400},
	} {
		p := pace{floor: 400, ceiling: 2000, rate: tc.from}
		p.observe(tc.late, tc.pressed)
		require.InDelta(t, tc.want, p.rate, 1e-9, name)
	}
}

// On a machine that is late from some pace on, the pace stays near it; whatever the machine does, it keeps its bounds.
func TestPaceFindsWhatThereIsRoomFor(t *testing.T) {
	t.Parallel()
	p := newPace(400, 8000)
	const bearable = 3000
	var sum float64
	for i := range 600 {
		late := time.Duration(0)
		if p.rate > bearable {
			late = 2 * tooLate
		}
		p.observe(late, true)
		if i >= 100 {
			sum += p.rate
		}
	}
	require.InDelta(t, 0.86*bearable, sum/500, 0.05*bearable)
	for range 10_000 {
		p.observe(rand.N(3*tooLate), rand.N(3) > 0)
		require.GreaterOrEqual(t, p.rate, p.floor)
		require.LessOrEqual(t, p.rate, p.ceiling)
	}
}

func TestBudget(t *testing.T) {
	t.Parallel()
	begun := time.Unix(1_700_000_000, 0)
	now := begun
	var b budget
	take := func(n int) time.Duration {
		from := now
		for range n {
			if wait := b.due(now); wait > 0 {
				now = now.Add(wait)
			}
			b.spend(now, 500, 8)
		}
		return now.Sub(from)
	}
	require.Zero(t, take(8), "a few at once")
	require.InDelta(t, 10, take(5000).Seconds(), 0.1)
	now = now.Add(time.Hour)
	require.Zero(t, take(8))
	require.InDelta(t, 1, take(500).Seconds(), 0.1, "a quiet hour does not count for more")
}

func TestQuantile(t *testing.T) {
	t.Parallel()
	bounds := []float64{0, 0.001, 0.002, 0.004, 0.008}
	for name, tc := range map[string]struct {
		counts, before []uint64
		want           time.Duration
	}{
		"nothing":               {[]uint64{5, 5, 5, 5}, []uint64{5, 5, 5, 5}, 0},
		"all in one":            {[]uint64{0, 7, 0, 0}, []uint64{0, 0, 0, 0}, 2 * time.Millisecond},
		"a hundredth is beyond": {[]uint64{99, 0, 0, 1}, []uint64{0, 0, 0, 0}, time.Millisecond},
		"more than that is":     {[]uint64{98, 0, 0, 2}, []uint64{0, 0, 0, 0}, 8 * time.Millisecond},
		"only what is new":      {[]uint64{0, 9, 4, 900}, []uint64{0, 0, 4, 900}, 2 * time.Millisecond},
		"only one":              {[]uint64{0, 0, 0, 1}, []uint64{0, 0, 0, 0}, 8 * time.Millisecond},
	} {
		require.Equal(t, tc.want, quantile(bounds, tc.counts, tc.before, 0.99), name)
	}
}
