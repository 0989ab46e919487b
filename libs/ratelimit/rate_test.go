package ratelimit_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/parley-rt/parley/libs/ratelimit"
)

func TestRatesAreReadAndWritten(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]ratelimit.Rate{
		"0":            {},
		"0:100":        {},
		"200":          {PerSecond: 200, Burst: 1000},
		"200:50":       {PerSecond: 200, Burst: 50},
		"0.5":          {PerSecond: 0.5, Burst: 2.5},
		"0.1":          {PerSecond: 0.1, Burst: 1},
		"1048576:4e06": {PerSecond: 1048576, Burst: 4e6},
	} {
		var r ratelimit.Rate
		require.NoError(t, r.UnmarshalText([]byte(text)), text)
		require.Equal(t, want, r, text)
		back, err := r.MarshalText()
		require.NoError(t, err)
		var again ratelimit.Rate
		require.NoError(t, again.UnmarshalText(back))
		require.Equal(t, r, again)
	}
	for _, bad := range []string{"", "x", "-1", "1:", ":1", "1:x", "NaN", "Inf", "1:0", "1:0.5", "1e-9", "1e12", "1:1e9", "1:2:3"} {
		var r ratelimit.Rate
		require.Error(t, r.UnmarshalText([]byte(bad)), bad)
		require.Zero(t, r)
	}
}

// reference is the rule as it is usually told: a bucket of so many tokens that fills at a rate.
type reference struct {
	tokens float64
	at     time.Time
}

func (b *reference) take(now time.Time, r ratelimit.Rate, n float64) bool {
	b.tokens = min(r.Burst, b.tokens+r.PerSecond*now.Sub(b.at).Seconds())
	b.at = now
	if b.tokens < min(n, r.Burst) {
		return false
	}
	b.tokens -= n
	return true
}

// A meter decides as a token bucket does, and is right about when what it refuses passes.
func TestMeterIsATokenBucket(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := ratelimit.Rate{
			PerSecond: rapid.SampledFrom([]float64{0.5, 1, 10, 1000, 1 << 20}).Draw(t, "rate"),
			Burst:     rapid.SampledFrom([]float64{1, 2, 50, 1000, 1 << 22}).Draw(t, "burst"),
		}
		limit := ratelimit.Limit{Bytes: r}
		now := time.Unix(1_700_000_000, 0)
		var m ratelimit.Meter
		ref := reference{r.Burst, now}
		for range 50 {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(3*time.Second)).Draw(t, "pause")))
			n := rapid.IntRange(1, int(min(2*r.Burst, math.MaxInt32))).Draw(t, "n")
			before := m
			after, ok := m.Take(now, limit, ratelimit.Cost{Bytes: n})
			// What is within a nanosecond's worth of the edge may go either way.
			if edge := ref; ok != edge.take(now, r, float64(n)) {
				nudge := ref
				nudge.tokens += r.PerSecond * map[bool]float64{true: 1, false: -1}[ok] * 1e-7
				if nudge.take(now, r, float64(n)) != ok {
					t.Fatalf("%v of %d at %v: %v, the reference says otherwise", r, n, ref.tokens, ok)
				}
			}
			if ok {
				require.Zero(t, after)
				_ = ref.take(now, r, float64(n))
				ref.tokens = max(ref.tokens, -4*r.Burst-r.PerSecond)
				continue
			}
			require.Positive(t, after)
			require.Equal(t, before, m, "a refusal takes nothing")
			early, late := m, m
			_, ok = early.Take(now.Add(after-time.Millisecond), limit, ratelimit.Cost{Bytes: n})
			require.False(t, ok && after > time.Millisecond, "earlier than it was told")
			_, ok = late.Take(now.Add(after), limit, ratelimit.Cost{Bytes: n})
			require.True(t, ok, "not when it was told")
		}
	})
}

// A clock that goes back, however far, keeps nobody out for longer than the longest debt.
func TestMeterSurvivesItsClock(t *testing.T) {
	t.Parallel()
	limit := ratelimit.Limit{Pieces: ratelimit.Rate{PerSecond: 1, Burst: 10}}
	var m ratelimit.Meter
	now := time.Unix(1_700_000_000, 0)
	_, ok := m.Take(now, limit, ratelimit.One)
	require.True(t, ok)
	now = now.Add(-1000 * time.Hour)
	after, ok := m.Take(now, limit, ratelimit.One)
	require.False(t, ok)
	require.LessOrEqual(t, after, 52*time.Second)
	_, ok = m.Take(now.Add(after), limit, ratelimit.One)
	require.True(t, ok)
}

func TestNothingIsLimitedByNothing(t *testing.T) {
	t.Parallel()
	var m ratelimit.Meter
	for range 1000 {
		_, ok := m.Take(time.Now(), ratelimit.Limit{}, ratelimit.Cost{Pieces: 1 << 40, Bytes: 1 << 40})
		require.True(t, ok)
	}
	require.Zero(t, m)
}

func TestRatesOfNumbers(t *testing.T) {
	t.Parallel()
	for numbers, want := range map[[2]float64]ratelimit.Rate{
		{0, 0}:    {},
		{0, 100}:  {},
		{200, 0}:  {PerSecond: 200, Burst: 1000},
		{200, 50}: {PerSecond: 200, Burst: 50},
		{0.1, 0}:  {PerSecond: 0.1, Burst: 1},
	} {
		r, err := ratelimit.RateOf(numbers[0], numbers[1])
		require.NoError(t, err, numbers)
		require.Equal(t, want, r, numbers)
	}
	for _, bad := range [][2]float64{
		{-1, 0}, {1, -1}, {math.NaN(), 0}, {1, math.NaN()}, {math.Inf(1), 0}, {1, math.Inf(1)}, {1, 0.5}, {1e-9, 1}, {1e12, 1}, {1, 1e9},
	} {
		_, err := ratelimit.RateOf(bad[0], bad[1])
		require.Error(t, err, bad)
	}
}
