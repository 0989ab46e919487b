package parley

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestHelplessGatewaysAreLeft(t *testing.T) {
	t.Parallel()
	start := time.Now()
	at := func(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }
	h := helpless{patience: 8 * time.Second}
	require.False(t, h.refused(at(0), 0))
	require.False(t, h.refused(at(7.9), 0))
	h.served()
	require.False(t, h.refused(at(8), 0.5), "what is served once is not helpless")
	require.False(t, h.refused(at(19.9), 0), "the time was drawn with the first refusal")
	require.True(t, h.refused(at(20), 0))
	for _, patience := range []float64{16, 32, 64, 128, 128} {
		start = at(1000)
		require.False(t, h.refused(at(0), 0))
		h.disconnected() // for another reason: the new connection gets its time
		require.False(t, h.refused(at(10), 0))
		require.False(t, h.refused(at(10+patience-0.1), 0))
		require.True(t, h.refused(at(10+patience), 0), "twice as long as the one before, up to a bound")
	}
	h.served()
	require.False(t, h.refused(at(1000), 0))
	require.True(t, h.refused(at(1008), 0), "and from the beginning after it was served")
}

func TestEndlessPatience(t *testing.T) {
	t.Parallel()
	h := helpless{patience: math.MaxInt64, left: maxHelpless}
	require.False(t, h.refused(time.Now(), 0.999))
	require.False(t, h.refused(time.Now().Add(time.Hour), 0.999))
}
