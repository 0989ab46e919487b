package router_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/actorkit/actorkittest"
	"github.com/parley-rt/parley/libs/actorkit/router"
)

type (
	pool = router.Pool[string, string]
	job  = router.Job[string, string]
)

// clerk is an actor of a pool. It answers with its number and how many messages it has had, and does what certain messages say.
type clerk struct {
	number, handled int64
	held            []*job
}

func clerks() func() actor.Actor {
	var n atomic.Int64
	return func() actor.Actor { return &clerk{number: n.Add(1)} }
}

func (*clerk) PreStart(*actor.Context) error { return nil }

func (*clerk) PostStop(*actor.Context) error { return nil }

func (c *clerk) Receive(rctx *actor.ReceiveContext) {
	j, ok := rctx.Message().(*job)
	if !ok {
		return
	}
	c.handled++
	switch j.Message {
	case "panic":
		panic("trouble")
	case "hold":
		c.held = append(c.held, j)
	case "let go":
		for _, h := range append(c.held, j) {
			h.Reply(fmt.Sprintf("%d/%d", c.number, c.handled), nil)
		}
		c.held = nil
	default:
		j.Reply(fmt.Sprintf("%d/%d", c.number, c.handled), nil)
		j.Reply("again", nil)
	}
}

func startSystem(t testing.TB) actor.ActorSystem {
	t.Helper()
	sys, err := actorkit.StartLocal(context.Background(), "pool", nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sys.Stop(context.Background())) })
	return sys
}

func newPool(t testing.TB, size int, newActor func() actor.Actor, edit ...func(*router.PoolConfig[string])) *pool {
	t.Helper()
	cfg := router.PoolConfig[string]{Name: "p"}
	for _, e := range edit {
		e(&cfg)
	}
	p, err := router.NewPool[string, string](t.Context(), cfg, startSystem(t), size, newActor)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), actorkittest.Patience)
		defer cancel()
		require.NoError(t, p.Stop(ctx))
	})
	return p
}

func onFailure(f router.OnFailure) func(*router.PoolConfig[string]) {
	return func(cfg *router.PoolConfig[string]) { cfg.OnFailure = f }
}

func askPool(t testing.TB, p *pool, msg string) string {
	t.Helper()
	got, err := p.Ask(t.Context(), msg)
	require.NoError(t, err)
	return got
}

// start asks on goroutines and waits until the pool has taken the messages.
func start(t *testing.T, p *pool, msg string, n int) (errs <-chan error) {
	t.Helper()
	had := inFlight(p)
	all := make(chan error, n)
	for range n {
		go func() {
			_, err := p.Ask(context.WithoutCancel(t.Context()), msg)
			all <- err
		}()
	}
	require.Eventually(t, func() bool { return inFlight(p) == had+n }, waitFor, tick)
	return all
}

func inFlight(p *pool) (n int) {
	for _, s := range p.Inspect() {
		n += s.InFlight
	}
	return n
}

func answer(t *testing.T, errs <-chan error) error {
	t.Helper()
	select {
	case err := <-errs:
		return err
	case <-time.After(waitFor):
		require.Fail(t, "no answer")
		return nil
	}
}

func TestPoolTakesTurns(t *testing.T) {
	t.Parallel()
	p := newPool(t, 3, clerks())
	for round := range 3 {
		for number := range 3 {
			require.Equal(t, fmt.Sprintf("%d/%d", number+1, round+1), askPool(t, p, ""))
		}
	}
	all, err := p.FanOut(t.Context(), "")
	require.NoError(t, err)
	for i, a := range all {
		require.Equal(t, router.Answer[string]{Name: fmt.Sprintf("p-%d", i+1), Reply: fmt.Sprintf("%d/4", i+1)}, a)
	}
}

func TestPoolRestartsAnActorThatPanics(t *testing.T) {
	t.Parallel()
	p := newPool(t, 1, clerks())
	require.Equal(t, "1/1", askPool(t, p, ""))
	for restarts := range uint64(3) { // a supervisor that was lost would show at the second
		held := start(t, p, "hold", 1)
		_, err := p.Ask(t.Context(), "panic")
		require.ErrorIs(t, err, router.ErrPanicked)
		require.ErrorIs(t, answer(t, held), router.ErrEnded)
		require.Eventually(t, func() bool {
			got, err := p.Ask(t.Context(), "")
			return err == nil && got == fmt.Sprintf("%d/1", restarts+2)
		}, waitFor, tick)
		require.Equal(t, restarts+1, p.Inspect()[0].Restarts)
	}
	require.Equal(t, 1, p.Size())
	require.Zero(t, inFlight(p))
}

func TestPoolResumesAnActorThatPanics(t *testing.T) {
	t.Parallel()
	p := newPool(t, 1, clerks(), onFailure(router.Resume))
	for i := range 3 {
		held := start(t, p, "hold", 1)
		_, err := p.Ask(t.Context(), "panic")
		require.ErrorIs(t, err, router.ErrPanicked)
		require.Equal(t, fmt.Sprintf("1/%d", 3*i+3), askPool(t, p, "let go"))
		require.NoError(t, answer(t, held), "what it held outlives the panic")
	}
	require.Zero(t, p.Inspect()[0].Restarts)
}

func TestPoolStopsAnActorThatPanics(t *testing.T) {
	t.Parallel()
	p := newPool(t, 3, clerks(), onFailure(router.Stop))
	for left := 2; left >= 0; left-- {
		_, err := p.Ask(t.Context(), "panic")
		require.ErrorIs(t, err, router.ErrPanicked)
		require.Eventually(t, func() bool { return p.Size() == left }, waitFor, tick)
	}
	_, err := p.Ask(t.Context(), "")
	require.ErrorIs(t, err, router.ErrNoRoutees, "all are dead")
	require.NoError(t, p.Resize(t.Context(), 2))
	require.Equal(t, 2, p.Size())
	require.Equal(t, []string{"p-4", "p-5"}, []string{p.Inspect()[0].Name, p.Inspect()[1].Name})
	askPool(t, p, "")
}

func TestPoolIsBounded(t *testing.T) {
	t.Parallel()
	p := newPool(t, 2, clerks(), func(cfg *router.PoolConfig[string]) { cfg.Limit = 3 })
	held := start(t, p, "hold", 6)
	_, err := p.Ask(t.Context(), "")
	require.ErrorIs(t, err, router.ErrFull)
	all, err := p.FanOut(t.Context(), "let go")
	require.NoError(t, err)
	require.ErrorIs(t, all[0].Err, router.ErrFull)

	// Who gives up leaves its message where it is.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = p.Ask(ctx, "")
	require.ErrorIs(t, err, router.ErrFull)
	require.NoError(t, p.Resize(t.Context(), 3))
	require.Equal(t, "3/1", askPool(t, p, ""))
	stop, end := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer end()
	require.NoError(t, p.Stop(stop))
	for range 6 {
		require.ErrorIs(t, answer(t, held), router.ErrClosed)
	}
}

// Resizing under load loses nothing, and ends where it should.
func TestPoolResizesWhileItIsBusy(t *testing.T) {
	t.Parallel()
	for _, strategy := range []router.Strategy{router.RoundRobin, router.ConsistentHash} {
		t.Run(fmt.Sprint(strategy), func(t *testing.T) {
			t.Parallel()
			var handled atomic.Int64
			p := newPool(t, 2, router.Worker(func(_ context.Context, msg string) (string, error) {
				handled.Add(1)
				return msg, nil
			}), func(cfg *router.PoolConfig[string]) {
				cfg.Strategy, cfg.Key = strategy, func(m string) string { return m }
			})
			end := make(chan struct{})
			var group sync.WaitGroup
			var asked atomic.Int64
			for i := range 8 {
				group.Go(func() {
					msg := fmt.Sprint(i)
					for {
						select {
						case <-end:
							return
						default:
						}
						got, err := p.Ask(context.Background(), msg)
						if err != nil || got != msg {
							t.Errorf("%q: %q, %v", msg, got, err)
							return
						}
						asked.Add(1)
					}
				})
			}
			for _, size := range []int{5, 1, 4, 2, 2, 7, 3} {
				before := asked.Load()
				require.NoError(t, p.Resize(t.Context(), size))
				require.Equal(t, size, p.Size())
				require.Len(t, p.Inspect(), size)
				require.Eventually(t, func() bool { return asked.Load() > before+20 }, waitFor, tick)
			}
			var resizes sync.WaitGroup
			for range 4 {
				resizes.Go(func() {
					if err := p.Resize(t.Context(), 6); err != nil {
						t.Error(err)
					}
				})
			}
			resizes.Wait()
			require.Equal(t, 6, p.Size())
			close(end)
			group.Wait()
			require.Equal(t, asked.Load(), handled.Load(), "each was handled once")
		})
	}
}

// An actor that is taken out finishes what it has, if it may.
func TestPoolShrinksBehindWhatIsInFlight(t *testing.T) {
	t.Parallel()
	open := make(chan struct{})
	p := newPool(t, 2, router.Worker(func(_ context.Context, msg string) (string, error) { <-open; return msg, nil }))
	busy := start(t, p, "busy", 2)
	shrunk := make(chan error, 1)
	go func() { shrunk <- p.Resize(context.Background(), 1) }()
	require.Eventually(t, func() bool { return p.Size() == 1 }, waitFor, tick)
	require.Empty(t, shrunk, "it waits")
	close(open)
	require.NoError(t, answer(t, busy))
	require.NoError(t, answer(t, busy))
	require.NoError(t, answer(t, shrunk))

	held := newPool(t, 2, clerks())
	waits := start(t, held, "hold", 2)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	require.NoError(t, held.Resize(ctx, 1))
	require.ErrorIs(t, answer(t, waits), router.ErrEnded)
	askPool(t, held, "let go")
	require.NoError(t, answer(t, waits))
	require.ErrorIs(t, held.Resize(t.Context(), 0), router.ErrInvalidConfig)
}

// No worker of the system is held while routees work: there are two or so, and a hundred wait here.
func TestPoolHoldsNoWorker(t *testing.T) {
	t.Parallel()
	open := make(chan struct{})
	p := newPool(t, 100, router.Worker(func(_ context.Context, msg string) (string, error) {
		if msg == "wait" {
			<-open
		}
		return msg, nil
	}), func(cfg *router.PoolConfig[string]) {
		cfg.Strategy, cfg.Within, cfg.Interval = router.TailChopping, waitFor, time.Millisecond
	})
	waits := make(chan error, 1)
	go func() {
		_, err := p.Ask(context.Background(), "wait")
		waits <- err
	}()
	require.Eventually(t, func() bool { return inFlight(p) == 100 }, waitFor, tick)
	require.NoError(t, p.Resize(t.Context(), 101))
	require.Equal(t, "quick", askPool(t, p, "quick"), "by the one that is new")
	close(open)
	require.NoError(t, answer(t, waits))
}

func TestWorkers(t *testing.T) {
	t.Parallel()
	began := make(chan string, 10)
	open := make(chan struct{})
	p := newPool(t, 1, router.Worker(func(ctx context.Context, msg string) (string, error) {
		began <- msg
		switch msg {
		case "panic":
			panic("trouble")
		case "fail":
			return "", errOops
		case "wait":
			select {
			case <-open:
			case <-ctx.Done():
				began <- "given up"
				return "", ctx.Err()
			}
		}
		return msg, nil
	}), onFailure(router.Resume))
	_, err := p.Ask(t.Context(), "fail")
	require.ErrorIs(t, err, errOops)
	_, err = p.Ask(t.Context(), "panic")
	require.ErrorIs(t, err, router.ErrPanicked)
	require.Equal(t, "more", askPool(t, p, "more"))
	require.Equal(t, []string{"fail", "panic", "more"}, []string{<-began, <-began, <-began})

	// Who gives up interrupts the work, and what nobody waits for any more is not begun.
	ctx, cancel := context.WithCancel(t.Context())
	given := make(chan error, 2)
	go func() {
		_, err := p.Ask(ctx, "wait")
		given <- err
	}()
	require.Equal(t, "wait", <-began)
	go func() {
		_, err := p.Ask(ctx, "too late")
		given <- err
	}()
	require.Eventually(t, func() bool { return inFlight(p) == 2 }, waitFor, tick)
	cancel()
	require.ErrorIs(t, answer(t, given), context.Canceled)
	require.ErrorIs(t, answer(t, given), context.Canceled)
	require.Equal(t, "given up", <-began)
	require.Eventually(t, func() bool { return inFlight(p) == 0 }, waitFor, tick)
	require.Empty(t, began)
}

// A pool whose actors do not start says so; one whose actor cannot be replaced tries on.
func TestPoolWhoseActorsDoNotStart(t *testing.T) {
	t.Parallel()
	_, err := router.NewPool[string, string](t.Context(), router.PoolConfig[string]{Name: "bad"}, startSystem(t), 2,
		func() actor.Actor { return &reluctant{err: errOops} })
	require.ErrorIs(t, err, errOops)
	var n atomic.Int64
	p := newPool(t, 1, func() actor.Actor {
		a := &reluctant{}
		if i := n.Add(1); i > 1 && i < 5 {
			a.err = errOops
		}
		return a
	})
	_, err = p.Ask(t.Context(), "panic")
	require.ErrorIs(t, err, router.ErrPanicked)
	require.Eventually(t, func() bool { _, err := p.Ask(t.Context(), ""); return err == nil }, waitFor, tick)
	require.EqualValues(t, 5, n.Load())
	require.EqualValues(t, 4, p.Inspect()[0].Restarts)
	for _, cfg := range []router.PoolConfig[string]{{}, {Name: "p", OnFailure: 9}, {Name: "p", Config: router.Config[string]{Limit: -1}}} {
		_, err := router.NewPool[string, string](t.Context(), cfg, startSystem(t), 1, clerks())
		require.ErrorIs(t, err, router.ErrInvalidConfig)
	}
}

type reluctant struct {
	clerk
	err error
}

func (r *reluctant) PreStart(*actor.Context) error { return r.err }
