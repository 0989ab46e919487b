package gateway

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPace(t *testing.T) {
	t.Parallel()
	up := func(n int) float64 { return math.Pow(paceUp, float64(n)) }
	for name, tc := range map[string]struct {
		from    float64
		stride  int
		strain  strain
		pressed bool
		want    float64
		then    int
	}{
		"there is time":                   {800, 3, strain{}, true, 800 * up(3), 4},
		"just in time":                    {800, paceStride, strain{tooLate / 2, tooOld / 2}, true, 800 * up(paceStride), paceStride},
		"not much time: stays":            {800, 3, strain{late: tooLate/2 + 1}, true, 800, 3},
		"who was taken waits: stays":      {800, 3, strain{age: tooOld/2 + 1}, true, 800, 3},
		"at the bounds: stays":            {800, 3, strain{tooLate, tooOld}, true, 800, 3},
		"late":                            {800, 9, strain{late: tooLate + 1}, true, 560, 1},
		"who was taken waits too long":    {800, 9, strain{age: tooOld + 1}, true, 560, 1},
		"late at the least pace":          {400, 9, strain{late: time.Second}, true, 400, 1},
		"in time at the most":             {2000, 9, strain{}, true, 2000, 10},
		"nobody comes":                    {2000, 3, strain{}, false, 2000 * paceEase, paceStride},
		"nobody comes at the least pace":  {400, 3, strain{}, false, 400, paceStride},
		"a step above is cut":             {1990, 9, strain{}, true, 2000, 10},
		"a step below is cut":             {500, 9, strain{late: time.Second}, true, 400, 1},
		"late, and nobody comes: as late": {2000, 9, strain{late: time.Second}, false, 1400, 1},
	} {
		p := pace{floor: 400, ceiling: 2000, rate: tc.from, stride: tc.stride}
		p.observe(tc.strain, tc.pressed)
		require.InDelta(t, tc.want, p.rate, 1e-9, name)
		require.Equal(t, tc.then, p.stride, name)
	}
}

// plant is a machine that takes so many newcomers a second and is late by what it has in hand, now and then by something else.
type plant struct {
	bearable, hand float64
	random         *rand.Rand
	hiccups        int // one in so many periods; 0: none
}

func (p *plant) period(rate float64) strain {
	p.hand = max(0, p.hand+(rate-p.bearable)*paceEvery.Seconds())
	late := 0.3e-3 + p.hand/p.bearable + 0.2e-3*p.random.ExpFloat64()
	if p.hiccups > 0 && p.random.IntN(p.hiccups) == 0 {
		late += 0.02
	}
	return strain{late: time.Duration(late * float64(time.Second))}
}

// On any machine the pace is soon near what that bears, is seldom above, and goes down at once when there is less time.
func TestPaceFindsWhatThereIsRoomFor(t *testing.T) {
	t.Parallel()
	const second = int(time.Second / paceEvery)
	for range 200 {
		seed := rand.Uint64()
		random := rand.New(rand.NewPCG(seed, 0))
		bearable := 500 + random.Float64()*7000
		m := &plant{bearable: bearable, random: random}
		p := newPace(400, 8000)
		run := func(seconds int) (mean, late float64) {
			for range seconds * second {
				s := m.period(p.rate)
				p.observe(s, true)
				require.GreaterOrEqual(t, p.rate, p.floor)
				require.LessOrEqual(t, p.rate, p.ceiling)
				mean += p.rate
				if s.tooMuch() {
					late++
				}
			}
			n := float64(seconds * second)
			return mean / n, late / n
		}
		first, _ := run(1)
		require.Greater(t, first, min(0.3*bearable, 1500), "seed %d", seed)
		mean, late := run(20)
		require.InDelta(t, 0.85*bearable, mean, 0.2*bearable, "seed %d", seed)
		require.Less(t, late, 0.4, "seed %d", seed)

		m.bearable = max(500, bearable/4)
		run(2)
		mean, _ = run(10)
		require.InDelta(t, 0.85*m.bearable, mean, 0.25*m.bearable, "seed %d: less time", seed)

		m.bearable, m.hiccups = bearable, second/2
		run(3)
		mean, _ = run(20)
		require.Greater(t, mean, min(0.3*bearable, 1000), "seed %d: what passes does not keep it down", seed)
	}
	p := newPace(400, 8000)
	for range 10_000 {
		p.observe(strain{rand.N(3 * tooLate), rand.N(3 * tooOld)}, rand.N(3) > 0)
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
