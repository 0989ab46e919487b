package opskit

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// healthCheck runs one check at most once at a time and remembers its result.
type healthCheck struct {
	name  string
	check func(context.Context) error

	mu   sync.Mutex
	last *checkRun
}

// checkRun is one call of a check. done is closed when res is set.
type checkRun struct {
	name  string
	begin time.Time
	done  chan struct{}
	res   CheckResult
}

// startChecks makes sure that every check has a fresh result or a call under
// way; all calls run side by side.
func startChecks(checks []*healthCheck) []*checkRun {
	runs := make([]*checkRun, len(checks))
	for i, c := range checks {
		runs[i] = c.current()
	}
	return runs
}

func (c *healthCheck) current() *checkRun {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last != nil {
		select {
		case <-c.last.done:
			if time.Since(c.last.begin) < checkCacheFor {
				return c.last
			}
		default:
			// Still running, perhaps for longer than its context allows: a
			// check that hangs costs one goroutine, not one per probe.
			return c.last
		}
	}
	run := &checkRun{name: c.name, begin: time.Now(), done: make(chan struct{})}
	c.last = run
	go func() {
		// Not the probe's context: the result is shared by all who wait for it.
		ctx, cancel := context.WithTimeout(context.Background(), checkTimeout)
		defer cancel()
		defer close(run.done)
		err := protect(ctx, c.check)
		run.res = CheckResult{Name: c.name, Err: err, Took: time.Since(run.begin)}
	}()
	return run
}

// protect turns a panicking check into a failing one: a probe must not be able
// to end the process it probes.
func protect(ctx context.Context, check func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("check panicked: %v", p)
		}
	}()
	return check(ctx)
}

// result waits for the run's end, its timeout, or ctx.
func (r *checkRun) result(ctx context.Context) CheckResult {
	timer := time.NewTimer(time.Until(r.begin.Add(checkTimeout)))
	defer timer.Stop()
	select {
	case <-r.done:
		return r.res
	default:
	}
	select {
	case <-r.done:
		return r.res
	case <-timer.C:
		return CheckResult{Name: r.name, Err: fmt.Errorf("%w (%s)", ErrCheckTimeout, checkTimeout), Took: time.Since(r.begin)}
	case <-ctx.Done():
		return CheckResult{Name: r.name, Err: context.Cause(ctx), Took: time.Since(r.begin)}
	}
}
