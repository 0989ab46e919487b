package opskit

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func report(t *testing.T, h *Health) (bool, string) {
	t.Helper()
	ok, details := h.Ready(t.Context())
	return ok, formatChecks("readyz", ok, details)
}

func TestHealthStates(t *testing.T) {
	t.Parallel()
	h := NewHealth()
	require.Equal(t, StateStarting, h.State())
	ok, text := report(t, h)
	require.False(t, ok)
	require.Equal(t, "[-]started failed: still starting\n[+]not-draining ok\nreadyz check failed\n", text)

	readiness := h.Component()
	require.NoError(t, readiness.Start(t.Context()))
	require.Equal(t, StateReady, h.State())
	ok, text = report(t, h)
	require.True(t, ok)
	require.Equal(t, "[+]started ok\n[+]not-draining ok\nreadyz check passed\n", text)

	require.NoError(t, readiness.Stop(t.Context()))
	require.Equal(t, StateDraining, h.State())
	ok, _ = report(t, h)
	require.False(t, ok)

	h.SetDraining(false)
	require.Equal(t, StateReady, h.State(), "a drain is reversible")
}

func TestHealthReportsEveryCheckInOrder(t *testing.T) {
	t.Parallel()
	h := NewHealth()
	h.SetStarted()
	h.AddCheck("journal", func(context.Context) error { return nil })
	removeCluster := h.AddCheck("cluster", func(context.Context) error { return errors.Join(errors.New("no quorum"), errors.New("1 of 3")) })
	h.AddCheck("journal", func(context.Context) error { return nil })
	h.AddCheck("odd", func(context.Context) error { panic("boom") })

	ok, text := report(t, h)
	require.False(t, ok)
	require.Equal(t, "[+]started ok\n[+]not-draining ok\n[+]journal ok\n[-]cluster failed: no quorum; 1 of 3\n"+
		"[+]journal#2 ok\n[-]odd failed: check panicked: boom\nreadyz check failed\n", text)

	removeCluster()
	removeCluster()
	_, text = report(t, h)
	require.NotContains(t, text, "cluster")
}

func TestHealthCachesResults(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := NewHealth()
		h.SetStarted()
		var calls atomic.Int32
		h.AddCheck("journal", func(context.Context) error { calls.Add(1); return nil })

		for range 10 {
			ok, _ := h.Ready(t.Context())
			require.True(t, ok)
		}
		require.EqualValues(t, 1, calls.Load())

		advance(checkCacheFor)
		_, _ = h.Ready(t.Context())
		require.EqualValues(t, 2, calls.Load())
	})
}

func TestHealthTimesOutAHangingCheckAndStartsItOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := NewHealth()
		h.SetStarted()
		var calls atomic.Int32
		release := make(chan struct{})
		h.AddCheck("journal", func(context.Context) error { calls.Add(1); <-release; return nil })
		h.AddCheck("cluster", func(context.Context) error { <-release; return nil })

		begin := time.Now()
		ok, details := h.Ready(t.Context())
		require.False(t, ok)
		require.Equal(t, checkTimeout, time.Since(begin), "checks wait side by side")
		require.ErrorIs(t, details[2].Err, ErrCheckTimeout)
		require.ErrorIs(t, details[3].Err, ErrCheckTimeout)

		for range 5 {
			advance(time.Second)
			begin = time.Now()
			ok, _ = h.Ready(t.Context())
			require.False(t, ok)
			require.Zero(t, time.Since(begin), "a check known to hang is not waited for again")
		}
		require.EqualValues(t, 1, calls.Load(), "a check that hangs is not started again")

		close(release)
		synctest.Wait()
		ok, _ = h.Ready(t.Context())
		require.True(t, ok)
	})
}

func TestHealthHonoursTheCallersContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := NewHealth()
		h.SetStarted()
		h.AddCheck("journal", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()

		begin := time.Now()
		ok, _ := h.Ready(ctx)
		require.False(t, ok)
		require.Equal(t, 100*time.Millisecond, time.Since(begin))
		advance(checkTimeout) // the check itself ends with its own context
	})
}

// advance moves the fake clock of a synctest bubble.
func advance(d time.Duration) { <-time.After(d) }
