package rooms

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCachedCheck(t *testing.T) {
	t.Parallel()
	now, calls, answer := time.Now(), 0, error(nil)
	check := cached(time.Second, func() time.Time { return now }, func(context.Context) error { calls++; return answer })
	require.NoError(t, check(t.Context()))
	answer = errors.New("journal is gone")
	now = now.Add(time.Second - 1)
	require.NoError(t, check(t.Context()))
	require.Equal(t, 1, calls)
	now = now.Add(1)
	require.ErrorIs(t, check(t.Context()), answer)
	require.ErrorIs(t, check(t.Context()), answer)
	require.Equal(t, 2, calls, "failures are kept as well")

	now = now.Add(time.Second)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, check(ended))
	require.Error(t, check(t.Context()))
	require.Equal(t, 4, calls, "an asker that gave up says nothing about the journal")
}
