package memory_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/parley-rt/parley/libs/ratelimit"
	"github.com/parley-rt/parley/libs/ratelimit/memory"
	"github.com/parley-rt/parley/libs/ratelimit/ratelimittest"
)

func TestMain(m *testing.M) {
	ratelimittest.Parallel()
	goleak.VerifyTestMain(m)
}

func TestStore(t *testing.T) {
	t.Parallel()
	ratelimittest.RunStore(t, func(*testing.T) ratelimit.Store { return memory.New(nil) })
}

func TestLimiter(t *testing.T) {
	t.Parallel()
	ratelimittest.RunLimiter(t, true, func(*testing.T) ratelimittest.Make {
		store := memory.New(nil)
		return func(t *testing.T, node string, nodes int) *ratelimit.Limiter {
			l, err := ratelimit.New(ratelimit.Config{Node: node, Nodes: func() int { return nodes }}, store)
			require.NoError(t, err)
			return l
		}
	})
}

// Without a store, which is how one node alone runs.
func TestLimiterAlone(t *testing.T) {
	t.Parallel()
	ratelimittest.RunLimiter(t, false, func(*testing.T) ratelimittest.Make {
		return func(t *testing.T, _ string, _ int) *ratelimit.Limiter {
			l, err := ratelimit.New(ratelimit.Config{}, nil)
			require.NoError(t, err)
			return l
		}
	})
}
