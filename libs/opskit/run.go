package opskit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/parley-rt/parley/libs/opskit/logkey"
)

// Run starts comps in order, waits until ctx ends or a Monitored component
// fails, and stops what was started in reverse order. Each Stop gets
// stopTimeout; one that overruns it is reported with ErrStopTimeout and left
// behind. A failed Start stops the components started before it in the same way.
//
// Run returns nil after a regular stop, also one that interrupted the start, else every error joined. With a context
// of NotifyContext a second signal makes it return ErrForced at once.
func Run(ctx context.Context, logger *slog.Logger, stopTimeout time.Duration, comps ...Component) error {
	r := &runner{logger: logger, stopTimeout: stopTimeout, force: forced(ctx), failure: make(chan error, len(comps)), quit: make(chan struct{})}
	defer close(r.quit)

	err := r.startAll(ctx, comps)
	if err == nil {
		err = r.wait(ctx)
	}
	if errors.Is(err, ErrForced) {
		return err
	}
	return errors.Join(err, r.stopAll())
}

// started is a component that runs, with the cancel of its own context.
type started struct {
	comp   Component
	cancel context.CancelFunc
}

type runner struct {
	logger      *slog.Logger
	stopTimeout time.Duration
	force       <-chan struct{}
	running     []started
	failure     chan error
	quit        chan struct{}
}

func (r *runner) startAll(ctx context.Context, comps []Component) error {
	for _, c := range comps {
		select {
		case <-ctx.Done():
			return nil // asked to stop before everything had started: not a failure
		default:
		}
		err := r.start(ctx, c)
		if errors.Is(err, errAsked) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	r.logger.Info("started", slog.Int("components", len(comps)))
	return nil
}

// errAsked: the start was given up because the process was asked to stop.
var errAsked = errors.New("asked to stop")

// start gives the component a context that follows ctx only while Start runs:
// components keep it for their goroutines, which must outlive the signal until
// they are stopped in their turn.
func (r *runner) start(ctx context.Context, c Component) error {
	compCtx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	unfollow := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	begin := time.Now()
	done := make(chan error, 1)
	go func() { done <- c.Start(compCtx) }()

	var err error
	select {
	case err = <-done:
	case <-r.force:
		unfollow()
		return ErrForced
	}
	unfollow()
	if err != nil {
		asked := ctx.Err() != nil && (errors.Is(err, context.Cause(ctx)) || errors.Is(err, ctx.Err()))
		cancel(context.Canceled)
		if asked {
			return errAsked
		}
		return fmt.Errorf("start %s: %w", c.Name(), err)
	}
	r.running = append(r.running, started{comp: c, cancel: func() { cancel(context.Canceled) }})
	r.logger.Debug("component started", slog.String(logkey.Component, c.Name()), slog.Duration(logkey.Duration, time.Since(begin)))
	r.watch(c)
	return nil
}

func (r *runner) watch(c Component) {
	m, ok := c.(Monitored)
	if !ok {
		return
	}
	failure := m.Failure()
	go func() {
		select {
		case err := <-failure:
			if err != nil {
				r.failure <- fmt.Errorf("run %s: %w", c.Name(), err)
			}
		case <-r.quit:
		}
	}()
}

func (r *runner) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		r.logger.Info("stopping", slog.String(logkey.Reason, context.Cause(ctx).Error()))
		return nil
	case err := <-r.failure:
		r.logger.Error("stopping after a failure", slog.Any(logkey.Err, err))
		return err
	}
}

func (r *runner) stopAll() error {
	var errs []error
	for i := len(r.running) - 1; i >= 0; i-- {
		err := r.stop(r.running[i])
		if errors.Is(err, ErrForced) {
			return errors.Join(append(errs, err)...)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (r *runner) stop(s started) error {
	ctx, cancel := context.WithTimeout(context.Background(), r.stopTimeout)
	defer cancel()
	defer s.cancel()
	begin := time.Now()
	done := make(chan error, 1)
	go func() { done <- s.comp.Stop(ctx) }()

	var err error
	select {
	case err = <-done:
	case <-r.force:
		return ErrForced
	case <-ctx.Done():
		err = r.overrun(done)
	}
	if err != nil {
		return fmt.Errorf("stop %s: %w", s.comp.Name(), err)
	}
	r.logger.Debug("component stopped", slog.String(logkey.Component, s.comp.Name()), slog.Duration(logkey.Duration, time.Since(begin)))
	return nil
}

// stopGrace is what a Stop gets after its context has ended, to return with its
// own account of what was left.
const stopGrace = 250 * time.Millisecond

func (r *runner) overrun(done <-chan error) error {
	timer := time.NewTimer(stopGrace)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-r.force:
		return ErrForced
	case <-timer.C:
		return fmt.Errorf("%w (%s)", ErrStopTimeout, r.stopTimeout)
	}
}
