package parley

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBackoff(t *testing.T) {
	t.Parallel()
	b := backoff{min: 500 * time.Millisecond, max: 20 * time.Second}
	for _, want := range []time.Duration{750, 1000, 1500, 2500, 4500, 8500, 10500, 10500} {
		require.Equal(t, want*time.Millisecond, b.next(0.5))
	}
	for range 100 {
		require.Equal(t, 20*time.Second, b.next(0.999), "never above the maximum")
		require.Equal(t, 500*time.Millisecond, b.next(0), "never below the minimum")
	}
	b.lasted(9 * time.Second)
	require.Equal(t, 10500*time.Millisecond, b.next(0.5))
	b.lasted(10 * time.Second)
	require.Equal(t, 750*time.Millisecond, b.next(0.5))
}

func TestRetryDelay(t *testing.T) {
	t.Parallel()
	require.Equal(t, 25*time.Millisecond, retryDelay(0, 0, 0))
	require.Equal(t, 75*time.Millisecond, retryDelay(1, 0, 0.5))
	require.Equal(t, 2500*time.Millisecond, retryDelay(1000, 0, 0))
	require.Equal(t, time.Minute, retryDelay(3, time.Minute, 0.5), "the server's wish is the least")
}
