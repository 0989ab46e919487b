package few_test

import (
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/services/gateway/internal/few"
)

// A Map is what a Go map is, whatever is done to it.
func TestMapIsAMap(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		var m few.Map[int, int]
		want := map[int]int{}
		keys := 1 + r.IntN(40)
		for i := range 2000 {
			key := r.IntN(keys)
			switch r.IntN(5) {
			case 0, 1:
				m.Set(key, i)
				want[key] = i
			case 2, 3:
				m.Delete(key)
				delete(want, key)
			default:
				value, ok := m.Get(key)
				expected, there := want[key]
				require.Equal(t, there, ok)
				require.Equal(t, expected, value)
				require.Equal(t, there, m.Has(key))
				require.Equal(t, expected, m.At(key))
			}
			require.Equal(t, len(want), m.Len())
		}
		require.Equal(t, want, maps.Collect(m.All()))
	}
}

func TestMapMayChangeWhileItIsGoneThrough(t *testing.T) {
	t.Parallel()
	for n := range 30 {
		var m few.Map[int, int]
		for i := range n {
			m.Set(i, i)
		}
		given := map[int]int{}
		for k, v := range m.All() {
			given[k]++
			if k >= 1000 {
				continue
			}
			require.Equal(t, k, v)
			if k%2 == 0 {
				m.Delete(k)
			}
			if k%5 == 0 {
				m.Set(1000+k, 0)
			}
		}
		for i := range n {
			require.Equal(t, 1, given[i], "%d of %d", i, n)
		}
		for k, times := range given {
			require.Equal(t, 1, times, k)
		}
	}
	var m few.Map[int, int]
	m.Set(1, 1)
	m.Set(2, 2)
	for range m.All() {
		break
	}
	require.Equal(t, 2, m.Len())
}
