package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func id(n int) [16]byte {
	return [16]byte{byte(n), byte(n >> 8), byte(n >> 16), 1}
}

var epochTime = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestWindowForgetsBySegment(t *testing.T) {
	t.Parallel()
	w := NewWindow(0)
	now := epochTime
	for n := range 600 { // one id a second, ten minutes
		w.Add(id(n), uint64(n+1), now)
		now = now.Add(time.Second)
	}
	last := now.Add(-time.Second)
	for n := range 600 {
		at := epochTime.Add(time.Duration(n) * time.Second)
		seq, ok := w.Find(id(n))
		if age := last.Sub(at); age <= WindowAge {
			require.True(t, ok, "id of age %s forgotten", age)
			require.Equal(t, uint64(n+1), seq)
		} else if age > WindowAge+segmentAge {
			require.False(t, ok, "id of age %s remembered", age)
		}
	}
	require.LessOrEqual(t, w.Len(), 152, "memory follows the rate")
	w.Expire(last.Add(WindowAge + time.Second))
	require.Zero(t, w.Len())
	require.Empty(t, w.segments, "an idle room keeps nothing")
}

func TestWindowFullKeepsThirtySeconds(t *testing.T) {
	t.Parallel()
	const limit = 1600
	w := NewWindow(limit)
	now := epochTime
	for n := range limit {
		require.Positive(t, w.Free(now))
		w.Add(id(n), uint64(n+1), now)
		now = now.Add(10 * time.Millisecond)
	}
	require.Zero(t, w.Free(now), "nothing is 30 s old after 16 s")
	later := epochTime.Add(WindowFloor + time.Second)
	free := w.Free(later)
	require.Positive(t, free)
	require.Less(t, free, limit, "room is made in steps")
	for n := range free {
		w.Add(id(limit+n), uint64(limit+n+1), later)
	}
	require.LessOrEqual(t, w.Len(), limit)
	for n := range limit {
		if at := epochTime.Add(time.Duration(n) * 10 * time.Millisecond); later.Sub(at) < WindowFloor {
			_, ok := w.Find(id(n))
			require.True(t, ok, "id %d younger than 30 s forgotten", n)
		}
	}
}

func TestWindowClockGoingBackKeepsIDs(t *testing.T) {
	t.Parallel()
	w := NewWindow(0)
	w.Add(id(1), 1, epochTime)
	w.Add(id(2), 2, epochTime.Add(-time.Hour))
	w.Add(id(3), 3, epochTime.Add(time.Minute))
	for n := 1; n <= 3; n++ {
		_, ok := w.Find(id(n))
		require.True(t, ok)
	}
}

// A window rebuilt from any split of the history into tail and older events knows what the live one knows for two minutes.
func TestWindowRebuilt(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		gaps := rapid.SliceOfN(rapid.IntRange(0, 40_000), 1, 200).Draw(t, "gaps")
		split := rapid.IntRange(0, len(gaps)).Draw(t, "split")
		skew := time.Duration(rapid.IntRange(-3_600_000, 3_600_000).Draw(t, "skew")) * time.Millisecond
		live, rebuilt := NewWindow(0), NewWindow(0)
		at := epochTime
		times := make([]time.Time, len(gaps))
		for n, gap := range gaps {
			at = at.Add(time.Duration(gap) * time.Millisecond)
			times[n] = at
			live.Add(id(n), uint64(n+1), at)
		}
		for n := split; n < len(gaps); n++ {
			rebuilt.Add(id(n), uint64(n+1), times[n].Add(skew))
		}
		for n := split - 1; n >= 0; n-- {
			if !rebuilt.AddOlder(id(n), uint64(n+1), times[n].Add(skew)) {
				break
			}
		}
		rebuilt.Rebase(at)
		for n := range gaps {
			if at.Sub(times[n]) > WindowAge {
				continue
			}
			want, ok := live.Find(id(n))
			if !ok || want != uint64(n+1) {
				t.Fatalf("live window forgot id %d of age %s", n, at.Sub(times[n]))
			}
			if got, ok := rebuilt.Find(id(n)); !ok || got != want {
				t.Fatalf("rebuilt window has %d (%v) for id %d of age %s", got, ok, n, at.Sub(times[n]))
			}
		}
		total := 0
		for _, s := range rebuilt.segments {
			total += len(s.ids)
		}
		if total != rebuilt.Len() {
			t.Fatalf("count %d, held %d", rebuilt.Len(), total)
		}
	})
}
