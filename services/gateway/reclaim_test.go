package gateway

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Memory is given back once after each herd, when it is in, and never for the few who come all the time.
func TestReclaimFollowsAHerd(t *testing.T) {
	t.Parallel()
	var r reclaim
	come, here := uint64(0), 0
	look := func(newcomers, gone int) bool {
		come, here = come+uint64(newcomers), here+newcomers-gone
		return r.due(come, here)
	}
	require.False(t, look(0, 0))
	for range 4 {
		require.False(t, look(2500, 0), "they are still coming in")
	}
	require.True(t, look(reclaimQuiet, 0))
	require.False(t, look(0, 0), "once is enough")
	for range 9 {
		require.False(t, look(reclaimQuiet, 0))
	}
	require.False(t, look(0, 0), "fewer than a herd")
	require.False(t, look(reclaimQuiet, 0), "a herd, but little beside those who are here")
	require.False(t, look(1000, 0))
	require.True(t, look(0, 0))
	require.False(t, look(100, 100))
	for range 40 {
		require.False(t, look(reclaimQuiet+1, reclaimQuiet+1), "they never stop coming")
	}
	require.True(t, look(0, here))
}
