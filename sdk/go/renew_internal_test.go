package parley

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRenewIn(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	for _, c := range []struct {
		left   time.Duration
		random float64
		want   time.Duration
	}{
		{time.Hour, 0, 55 * time.Minute},
		{time.Hour, 1, 54 * time.Minute},
		{time.Minute, 0, 45 * time.Second},
		{time.Minute, 1, 42 * time.Second},
		{0, 1, 0},
		{-time.Hour, 0.5, 0},
	} {
		require.Equal(t, c.want, renewIn(now, now.Add(c.left), c.random), "%v", c)
	}
}
