package router

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Ask routes a message by the router's strategy and returns the answer. Errors: ErrFull, ErrNoRoutees, ErrTimeout, ErrAllFailed,
// ErrClosed, ctx's, and what the routee says.
func (r *Router[M, R]) Ask(ctx context.Context, msg M) (R, error) {
	reply, err := r.route(ctx, msg)
	if err != nil {
		return reply, fmt.Errorf("route: %w", err)
	}
	return reply, nil
}

func (r *Router[M, R]) route(ctx context.Context, msg M) (none R, err error) {
	ctx, end, err := r.begin(ctx)
	if err != nil {
		return none, err
	}
	defer end()
	v := r.view.Load()
	n := len(v.members)
	if n == 0 {
		return none, ErrNoRoutees
	}
	var reply R
	switch r.cfg.Strategy {
	case RoundRobin:
		reply, err = askFrom(ctx, v.members, int((r.turn.Add(1)-1)%uint64(n)), msg)
	case Random:
		reply, err = askFrom(ctx, v.members, rand.IntN(n), msg)
	case ConsistentHash:
		reply, err = v.members[v.ring.owner(r.cfg.Key(msg))].Routee.Ask(ctx, msg)
	case TailChopping:
		members := v.members
		if !r.cfg.InOrder {
			members = slices.Clone(members)
			rand.Shuffle(n, func(i, j int) { members[i], members[j] = members[j], members[i] })
		}
		reply, err = r.first(ctx, members, r.cfg.Interval, msg)
	case ScatterGatherFirst:
		reply, err = r.first(ctx, v.members, 0, msg)
	}
	return reply, withCause(ctx, err)
}

// withCause adds to the error of who was interrupted why.
func withCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(err, cause) {
		return errors.Join(cause, err)
	}
	return err
}

// Answer is what one routee said.
type Answer[R any] struct {
	Name  string
	Reply R
	Err   error
}

// FanOut asks all routees at once and returns what each said, in their order; the error of who did not answer in time is ErrTimeout
// or ctx's. Its own errors: ErrNoRoutees and ErrClosed.
func (r *Router[M, R]) FanOut(ctx context.Context, msg M) ([]Answer[R], error) {
	ctx, end, err := r.begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("fan out: %w", err)
	}
	defer end()
	members := r.view.Load().members
	if len(members) == 0 {
		return nil, fmt.Errorf("fan out: %w", ErrNoRoutees)
	}
	results := make(chan indexed[R], len(members))
	all := make([]Answer[R], len(members))
	for i, m := range members {
		all[i] = Answer[R]{Name: m.Name, Err: errNotAnswered}
		r.launch(ctx, m, i, msg, results)
	}
	for range members {
		select {
		case got := <-results:
			all[got.i].Reply, all[got.i].Err = got.reply, got.err
		case <-ctx.Done():
			for i := range all {
				if errors.Is(all[i].Err, errNotAnswered) {
					all[i].Err = context.Cause(ctx)
				}
			}
			return all, nil
		}
	}
	return all, nil
}

var errNotAnswered = errors.New("not answered")

// begin makes the context of an ask: it ends with the router, and after Config.Within.
func (r *Router[M, R]) begin(ctx context.Context) (context.Context, func(), error) {
	if err := r.enter(); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(r.ctx, func() { cancel(ErrClosed) })
	release := func() {}
	if r.cfg.Within > 0 {
		ctx, release = context.WithTimeoutCause(ctx, r.cfg.Within, ErrTimeout)
	}
	return ctx, func() {
		stop()
		release()
		cancel(context.Canceled)
		r.asks.Done()
	}, nil
}

// askFrom asks the member at start or the next one that takes the message.
func askFrom[M, R any](ctx context.Context, members []Member[M, R], start int, msg M) (reply R, err error) {
	full := false
	for i := range members {
		reply, err = members[(start+i)%len(members)].Routee.Ask(ctx, msg)
		switch {
		case errors.Is(err, ErrFull):
			full = true
		case !errors.Is(err, errNotTaken):
			return reply, err
		}
	}
	if full {
		return reply, ErrFull
	}
	return reply, ErrNoRoutees
}

type indexed[R any] struct {
	i     int
	reply R
	err   error
}

// launch asks a member on a goroutine, which the router waits for when it is closed. results has room for all.
func (r *Router[M, R]) launch(ctx context.Context, m Member[M, R], i int, msg M, results chan<- indexed[R]) {
	r.asks.Add(1) // the caller's own ask is under way, so the count is not zero
	go func() {
		defer r.asks.Done()
		reply, err := m.Routee.Ask(ctx, msg)
		results <- indexed[R]{i, reply, withCause(ctx, err)}
	}()
}

// first asks the first member, and the next whenever one failed or the interval has passed; all at once if it is zero. It returns the
// first answer that is no error; those that still work see their context end.
func (r *Router[M, R]) first(ctx context.Context, members []Member[M, R], interval time.Duration, msg M) (none R, err error) {
	results := make(chan indexed[R], len(members))
	asked := 0
	next := func() {
		r.launch(ctx, members[asked], asked, msg, results)
		asked++
	}
	next()
	for interval == 0 && asked < len(members) {
		next()
	}
	var tick <-chan time.Time
	if interval > 0 {
		t := time.NewTicker(interval)
		defer t.Stop()
		tick = t.C
	}
	var errs []error
	for {
		select {
		case got := <-results:
			if got.err == nil {
				return got.reply, nil
			}
			errs = append(errs, fmt.Errorf("%s: %w", members[got.i].Name, got.err))
			if len(errs) == len(members) {
				return none, allFailed(errs)
			}
		case <-tick:
		case <-ctx.Done():
			return none, errors.Join(append(errs, context.Cause(ctx))...)
		}
		if asked < len(members) {
			next()
		}
	}
}

// allFailed says ErrFull or ErrNoRoutees only when nobody has taken the message.
func allFailed(errs []error) error {
	full := 0
	for _, err := range errs {
		switch {
		case errors.Is(err, ErrFull):
			full++
		case !errors.Is(err, errNotTaken):
			return fmt.Errorf("%w: %w", ErrAllFailed, errors.Join(errs...))
		}
	}
	if full > 0 {
		return ErrFull
	}
	return ErrNoRoutees
}
