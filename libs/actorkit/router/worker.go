package router

import (
	"context"

	"github.com/tochemey/goakt/v4/actor"
)

// Worker makes actors for a Pool that answer by a function, one job after the other. It runs in a task, so it may wait; its context
// ends when nobody waits for the answer any more. A job whose context is over when its turn comes is not begun. A panic of the
// function is one of the actor.
func Worker[M, R any](work func(ctx context.Context, msg M) (R, error)) func() actor.Actor {
	return func() actor.Actor { return &worker[M, R]{work: work} }
}

type worker[M, R any] struct {
	work func(ctx context.Context, msg M) (R, error)
	// queue is bounded by what the pool lets a routee have.
	queue []*Job[M, R]
	busy  bool
}

// workDone says that the function has returned, or panicked over a job.
type workDone[M, R any] struct {
	job      *Job[M, R]
	panicked any
}

type goOn struct{}

func (*worker[M, R]) PreStart(*actor.Context) error { return nil }

func (*worker[M, R]) PostStop(*actor.Context) error { return nil }

func (w *worker[M, R]) Receive(rctx *actor.ReceiveContext) {
	switch m := rctx.Message().(type) {
	case *actor.PostStart:
	case *Job[M, R]:
		w.queue = append(w.queue, m)
		w.next(rctx)
	case *workDone[M, R]:
		w.busy = false
		if m.panicked == nil {
			w.next(rctx)
			return
		}
		// Should the supervisor resume the actor, it goes on.
		_ = rctx.Self().Tell(rctx.Context(), rctx.Self(), goOn{}) // fails when the actor is being stopped
		panic(m.panicked)
	case goOn:
		w.next(rctx)
	default:
		rctx.Unhandled()
	}
}

// next begins the next job.
func (w *worker[M, R]) next(rctx *actor.ReceiveContext) {
	for !w.busy && len(w.queue) > 0 {
		j := w.queue[0]
		w.queue = w.queue[1:]
		if err := j.ctx.Err(); err != nil {
			var none R
			j.Reply(none, context.Cause(j.ctx))
			continue
		}
		w.busy = true
		rctx.PipeTo(rctx.Self(), func() (any, error) { return w.run(j), nil })
	}
}

func (w *worker[M, R]) run(j *Job[M, R]) (done *workDone[M, R]) {
	done = &workDone[M, R]{job: j}
	defer func() { done.panicked = recover() }()
	j.Reply(w.work(j.ctx, j.Message))
	return done
}
