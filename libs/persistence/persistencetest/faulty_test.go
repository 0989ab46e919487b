package persistencetest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/memory"
	"github.com/parley-rt/parley/libs/persistence/persistencetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A wrapper without faults is a backend like any other.
func TestFaultyConforms(t *testing.T) {
	t.Parallel()
	persistencetest.Exercise(t, persistencetest.Options{
		Volatile: true,
		Open: func(_ testing.TB, now func() time.Time) persistencetest.Store {
			b := memory.New(memory.Options{Now: now})
			return persistencetest.Store{Backend: persistencetest.Faulty(b, persistencetest.NewPlan())}
		},
	})
}

func setup(t *testing.T, faults ...persistencetest.Fault) (persistence.Backend, *persistencetest.Plan, persistence.Claim) {
	t.Helper()
	plan := persistencetest.NewPlan()
	b := persistencetest.Faulty(memory.New(memory.Options{}), plan)
	c, err := b.Claim(t.Context(), "room/1", "node-a", persistence.ClaimOptions{})
	require.NoError(t, err)
	plan.Add(faults...)
	return b, plan, c
}

func appendOne(ctx context.Context, b persistence.Backend, c persistence.Claim, expected uint64) error {
	_, err := b.Append(ctx, c, expected, make([]persistence.Event, 1))
	return err
}

func head(t *testing.T, b persistence.Backend) uint64 {
	t.Helper()
	h, err := b.Head(t.Context(), "room/1")
	require.NoError(t, err)
	return h.LastSeq
}

func TestFaultyFailsTheNextAppend(t *testing.T) {
	t.Parallel()
	b, plan, c := setup(t, persistencetest.Fault{Op: persistencetest.OpAppend, Err: persistence.ErrOverloaded})
	require.ErrorIs(t, appendOne(t.Context(), b, c, 0), persistence.ErrOverloaded)
	require.Zero(t, head(t, b))
	require.NoError(t, appendOne(t.Context(), b, c, 0))
	require.Equal(t, 2, plan.Calls(persistencetest.OpAppend))
}

func TestFaultyLosesAnAnswer(t *testing.T) {
	t.Parallel()
	b, _, c := setup(t, persistencetest.Fault{Op: persistencetest.OpAppend, Late: true, Err: persistence.ErrUnknown})
	require.ErrorIs(t, appendOne(t.Context(), b, c, 0), persistence.ErrUnknown)
	require.EqualValues(t, 1, head(t, b), "it was stored all the same")
	require.ErrorIs(t, appendOne(t.Context(), b, c, 0), persistence.ErrConflict)
}

func TestFaultyTimesAndKeys(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	b, plan, c := setup(t,
		persistencetest.Fault{Op: persistencetest.OpAppend, Key: "room/2", Times: -1, Err: broken},
		persistencetest.Fault{Op: persistencetest.OpHead, Times: 2, Err: broken},
	)
	require.NoError(t, appendOne(t.Context(), b, c, 0), "of another stream")
	for range 2 {
		_, err := b.Head(t.Context(), "room/1")
		require.ErrorIs(t, err, broken)
	}
	require.EqualValues(t, 1, head(t, b))
	other, err := b.Claim(t.Context(), "room/2", "node-a", persistence.ClaimOptions{})
	require.NoError(t, err)
	for range 3 {
		require.ErrorIs(t, appendOne(t.Context(), b, other, 0), broken)
	}
	plan.Clear()
	require.NoError(t, appendOne(t.Context(), b, other, 0))
}

func TestFaultyBlocks(t *testing.T) {
	t.Parallel()
	for _, late := range []bool{false, true} {
		reached, release := make(chan struct{}, 2), make(chan struct{})
		b, _, c := setup(t, persistencetest.Fault{
			Op: persistencetest.OpAppend, Times: 2, Late: late, Block: release, Reached: func() { reached <- struct{}{} },
		})
		result := make(chan error, 1)
		go func() { result <- appendOne(context.Background(), b, c, 0) }()
		<-reached
		require.Equal(t, late, head(t, b) == 1)

		ctx, cancel := context.WithCancel(t.Context())
		interrupted := make(chan error, 1)
		other, err := b.Claim(t.Context(), "room/2", "node-a", persistence.ClaimOptions{})
		require.NoError(t, err)
		go func() { interrupted <- appendOne(ctx, b, other, 0) }()
		<-reached
		cancel()
		err = <-interrupted
		require.ErrorIs(t, err, context.Canceled)
		if late {
			require.ErrorIs(t, err, persistence.ErrUnknown)
		} else {
			require.ErrorIs(t, err, persistence.ErrUnavailable)
		}
		close(release)
		require.NoError(t, <-result)
		require.EqualValues(t, 1, head(t, b))
	}
}

func TestFaultyDelays(t *testing.T) {
	t.Parallel()
	const delay = 20 * time.Millisecond
	b, _, c := setup(t, persistencetest.Fault{Op: persistencetest.OpAppend, Delay: delay})
	start := time.Now()
	require.NoError(t, appendOne(t.Context(), b, c, 0))
	require.GreaterOrEqual(t, time.Since(start), delay)
}
