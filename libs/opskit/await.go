package opskit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/parley-rt/parley/libs/opskit/logkey"
)

// Pauses between attempts to open what is waited for.
const (
	awaitFirst = 100 * time.Millisecond
	awaitMost  = 2 * time.Second
)

// Dependency is something a process needs and that may come after it: a database, a control plane.
type Dependency[T any] struct {
	// Name is a short, constant word for logs and readiness.
	Name string
	// Open opens it or says why not. It should give up within seconds, so that the reason is seen.
	Open func(context.Context) (T, error)
	// MayCome tells an error that time can cure from one that needs an operator, which ends the start.
	MayCome func(error) bool
	// Close ends what Open began.
	Close func(context.Context, T) error

	Health *Health      // nil: no check
	Logger *slog.Logger // nil: silence
}

// Awaited is a Component whose Start waits for a Dependency for as long as it takes. While it waits, a readiness check of the
// dependency's name fails with the reason, which is also logged whenever it changes.
type Awaited[T any] struct {
	dep Dependency[T]

	mu    sync.Mutex
	value T
	why   error
}

// Await returns a Component that opens dep.
func Await[T any](dep Dependency[T]) *Awaited[T] {
	if dep.Logger == nil {
		dep.Logger = slog.New(slog.DiscardHandler)
	}
	return &Awaited[T]{dep: dep}
}

// Name is the dependency's.
func (a *Awaited[T]) Name() string { return a.dep.Name }

// Value is what was opened; the zero value before Start has returned.
func (a *Awaited[T]) Value() T {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.value
}

// Start returns when the dependency is open, when it fails in a way that waiting does not cure, or with ctx's cause.
func (a *Awaited[T]) Start(ctx context.Context) error {
	a.because(errNotTried)
	if a.dep.Health != nil {
		defer a.dep.Health.AddCheck(a.dep.Name, a.check)()
	}
	logger := a.dep.Logger.With(slog.String(logkey.Component, a.dep.Name))
	said := ""
	begin := time.Now()
	for pause := awaitFirst; ; pause = min(2*pause, awaitMost) {
		value, err := a.dep.Open(ctx)
		if err == nil {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.value = value
			if said != "" {
				logger.Info("wait is over", slog.Duration(logkey.Duration, time.Since(begin)))
			}
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !a.dep.MayCome(err) {
			return err
		}
		a.because(err)
		if said != err.Error() {
			said = err.Error()
			logger.Warn("waiting", slog.Any(logkey.Err, err))
		}
		if !sleep(ctx, pause) {
			return context.Cause(ctx)
		}
	}
}

var errNotTried = errors.New("not tried yet")

func (a *Awaited[T]) because(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.why = err
}

func (a *Awaited[T]) check(context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return fmt.Errorf("waiting for it: %w", a.why)
}

// Stop closes the dependency.
func (a *Awaited[T]) Stop(ctx context.Context) error { return a.dep.Close(ctx, a.Value()) }

// sleep reports whether the pause has passed before ctx ended.
func sleep(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
