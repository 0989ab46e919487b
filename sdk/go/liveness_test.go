package parley

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLiveness(t *testing.T) {
	t.Parallel()
	l := liveness{interval: 25 * time.Second, timeout: 10 * time.Second}
	for _, step := range []struct {
		now, lastRead float64
		ping, dead    bool
		again         float64
	}{
		{25, 20, false, false, 20}, // something came
		{45, 20, true, false, 10},
		{50, 20, false, false, 5}, // the answer has time
		{55, 46, false, false, 16},
		{71, 46, true, false, 10},
		{80.9, 71.5, false, false, 15.6}, // it came at the last moment,
		{96.5, 71.5, true, false, 10},    // and the next ping has its full time again
		{106.5, 71.5, false, true, 0},
	} {
		ping, dead, again := l.check(at(step.now), at(step.lastRead))
		require.Equal(t, step.ping, ping, step.now)
		require.Equal(t, step.dead, dead, step.now)
		require.InDelta(t, step.again, again.Seconds(), 0.001, step.now)
	}
}
