package opskit

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// events records what happened in which order.
type events struct {
	mu   sync.Mutex
	list []string
}

func (e *events) add(s string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, s)
}

func (e *events) component(name string, startErr, stopErr error) Component {
	return NewComponent(name,
		func(context.Context) error { e.add("start " + name); return startErr },
		func(context.Context) error { e.add("stop " + name); return stopErr })
}

func TestRunStartsInOrderAndStopsInReverse(t *testing.T) {
	t.Parallel()
	var ev events
	ctx, cancel := context.WithCancel(t.Context())
	last := NewComponent("last", func(context.Context) error { cancel(); return nil }, nil)

	err := Run(ctx, quiet(), time.Second, ev.component("a", nil, nil), ev.component("b", nil, nil), last)

	require.NoError(t, err)
	require.Equal(t, []string{"start a", "start b", "stop b", "stop a"}, ev.list)
}

func TestRunStopsWhatWasStartedWhenAStartFails(t *testing.T) {
	t.Parallel()
	var ev events
	broken, sticky := errors.New("no disk"), errors.New("cannot let go")

	err := Run(t.Context(), quiet(), time.Second,
		ev.component("a", nil, nil), ev.component("b", nil, sticky), ev.component("c", broken, nil), ev.component("d", nil, nil))

	require.ErrorIs(t, err, broken)
	require.ErrorIs(t, err, sticky)
	require.EqualError(t, err, "start c: no disk\nstop b: cannot let go")
	require.Equal(t, []string{"start a", "start b", "start c", "stop b", "stop a"}, ev.list)
}

func TestRunDoesNotStartWhenAlreadyAskedToStop(t *testing.T) {
	t.Parallel()
	var ev events
	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	require.NoError(t, Run(ctx, quiet(), time.Second, ev.component("a", nil, nil)))
	require.Empty(t, ev.list)
}

func TestStartContextFollowsTheSignalOnlyWhileStarting(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	asked := errors.New("asked to stop")
	var kept context.Context
	aliveInStop := false
	first := NewComponent("first",
		func(c context.Context) error { kept = c; return nil },
		func(context.Context) error { aliveInStop = kept.Err() == nil; return nil })
	second := NewComponent("second", func(c context.Context) error {
		cancel(asked)
		<-c.Done() // a Start under way is interrupted …
		return context.Cause(c)
	}, nil)

	err := Run(ctx, quiet(), time.Second, first, second)

	require.NoError(t, err, "to be asked to stop while starting is no failure")
	require.True(t, aliveInStop, "… but a started component keeps its context until it is stopped")
	require.Error(t, kept.Err(), "and loses it then")
}

func TestRunBoundsEveryStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var ev events
		ctx, cancel := context.WithCancel(t.Context())
		release := make(chan struct{})
		stuck := NewComponent("stuck", nil, func(context.Context) error { <-release; return nil })
		polite := NewComponent("polite", nil, func(c context.Context) error { <-c.Done(); return c.Err() })
		last := NewComponent("last", func(context.Context) error { cancel(); return nil }, nil)

		begin := time.Now()
		err := Run(ctx, quiet(), 10*time.Second, ev.component("a", nil, nil), stuck, polite, last)

		require.ErrorIs(t, err, ErrStopTimeout)
		require.ErrorContains(t, err, "stop stuck: still running when the stop timeout passed (10s)")
		require.ErrorContains(t, err, "stop polite: context deadline exceeded")
		require.Equal(t, 20*time.Second+stopGrace, time.Since(begin))
		require.Equal(t, []string{"start a", "stop a"}, ev.list)
		close(release)
	})
}

type failing struct {
	Component
	failure chan error
}

func (f failing) Failure() <-chan error { return f.failure }

func TestRunStopsWhenAComponentFails(t *testing.T) {
	t.Parallel()
	var ev events
	broken := errors.New("socket gone")
	f := failing{Component: ev.component("ops", nil, nil), failure: make(chan error, 1)}
	f.failure <- broken

	err := Run(t.Context(), quiet(), time.Second, ev.component("a", nil, nil), f)

	require.EqualError(t, err, "run ops: socket gone")
	require.Equal(t, []string{"start a", "start ops", "stop ops", "stop a"}, ev.list)
}

// The signal tests share the process's signals, so they do not run in parallel.
func TestFirstSignalStopsAndSecondExitsAtOnce(t *testing.T) {
	ctx, stop := NotifyContext(t.Context(), syscall.SIGUSR1)
	defer stop()
	running, stopping, release := make(chan struct{}), make(chan struct{}), make(chan struct{})
	defer close(release)
	slow := NewComponent("slow",
		func(context.Context) error { close(running); return nil },
		func(context.Context) error { close(stopping); <-release; return nil })

	done := make(chan error, 1)
	go func() { done <- Run(ctx, quiet(), time.Minute, slow) }()

	<-running
	require.NoError(t, syscall.Kill(syscall.Getpid(), syscall.SIGUSR1))
	<-stopping
	var sig *SignalError
	require.ErrorAs(t, context.Cause(ctx), &sig)
	require.Equal(t, syscall.SIGUSR1, sig.Signal)
	require.EqualError(t, sig, "received signal user defined signal 1")

	require.NoError(t, syscall.Kill(syscall.Getpid(), syscall.SIGUSR1))
	require.ErrorIs(t, <-done, ErrForced)
}

func TestSecondSignalEndsAStartThatHangs(t *testing.T) {
	ctx, stop := NotifyContext(t.Context(), syscall.SIGUSR2)
	defer stop()
	starting, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	hangs := NewComponent("hangs", func(context.Context) error { close(starting); <-release; return nil }, nil)

	done := make(chan error, 1)
	go func() { done <- Run(ctx, quiet(), time.Minute, hangs) }()

	<-starting
	require.NoError(t, syscall.Kill(syscall.Getpid(), syscall.SIGUSR2))
	<-ctx.Done()
	require.NoError(t, syscall.Kill(syscall.Getpid(), syscall.SIGUSR2))
	require.ErrorIs(t, <-done, ErrForced)
}

func TestNotifyContextStopIsIdempotent(t *testing.T) {
	ctx, stop := NotifyContext(context.Background())
	require.NoError(t, ctx.Err())
	stop()
	stop()
	require.ErrorIs(t, ctx.Err(), context.Canceled)
}
