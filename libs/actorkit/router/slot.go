package router

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tochemey/goakt/v4/actor"
	"github.com/tochemey/goakt/v4/supervisor"

	"github.com/parley-rt/parley/libs/actorkit"
)

var errNotTaken = fmt.Errorf("%w: it is being replaced", ErrNoRoutees)

// slot is a routee of a pool: one actor at a time.
type slot[M, R any] struct {
	pool *Pool[M, R]
	name string
	gone atomic.Bool // taken out of the pool by its end

	count
	restarts atomic.Uint64

	mu sync.Mutex
	// current is the newest actor. pid is it while it takes jobs, nil while there is none. pending are the jobs that it has not answered.
	current  *routee[M, R]
	pid      *actor.PID
	broken   bool // it has panicked and is about to end
	pending  map[*Job[M, R]]struct{}
	retiring bool
	waiting  chan struct{} // closed when nothing is pending
	pause    time.Duration // before the last replacement
}

// Ask gives a job to the actor and waits for the answer.
func (s *slot[M, R]) Ask(ctx context.Context, msg M) (none R, err error) {
	j := &Job[M, R]{Message: msg, ctx: ctx, answer: make(chan indexed[R], 1)}
	j.settle = func(failed bool) { s.settle(j, failed) }
	if err := s.take(j); err != nil {
		return none, err
	}
	select {
	case a := <-j.answer:
		return a.reply, a.err
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}

// take puts a job into the actor's mailbox. The lock makes the order of the mailbox that of the asks.
func (s *slot[M, R]) take(j *Job[M, R]) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.pid == nil || s.broken || s.retiring:
		return errNotTaken
	case len(s.pending) >= s.pool.Router.cfg.Limit:
		return ErrFull
	}
	if err := s.pid.Tell(context.WithoutCancel(j.ctx), s.pid, j); err != nil {
		return errNotTaken // GoAkt refuses it because the actor is ending
	}
	s.pending[j] = struct{}{}
	s.inFlight.Add(1)
	return nil
}

// settle is called once for each job, when it was answered.
func (s *slot[M, R]) settle(j *Job[M, R], failed bool) {
	if failed {
		s.failed.Add(1)
	} else {
		s.answered.Add(1)
	}
	s.inFlight.Add(-1)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pending, j)
	if len(s.pending) == 0 && s.waiting != nil {
		close(s.waiting)
		s.waiting = nil
	}
}

// idle is closed when nothing is pending.
func (s *slot[M, R]) idle() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting != nil {
		return s.waiting
	}
	idle := make(chan struct{})
	if len(s.pending) == 0 {
		close(idle)
	} else {
		s.waiting = idle
	}
	return idle
}

func (s *slot[M, R]) retire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retiring = true
}

func (s *slot[M, R]) running() *actor.PID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pid
}

func (s *slot[M, R]) status() Status {
	st := s.count.status()
	st.Restarts = s.restarts.Load()
	return st
}

// spawn starts a slot's actor, under a name that none had.
func (p *Pool[M, R]) spawn(ctx context.Context, s *slot[M, R]) error {
	directive := supervisor.StopDirective
	if p.cfg.OnFailure == Resume {
		directive = supervisor.ResumeDirective
	}
	name := "routee-" + p.cfg.Name + "-" + strconv.FormatUint(p.activations.Add(1), 10)
	a := &routee[M, R]{Actor: p.make(), slot: s, born: time.Now()}
	s.mu.Lock()
	s.current = a
	s.mu.Unlock()
	pid, err := p.sys.Spawn(ctx, name, a, actorkit.SpawnOptions(
		actor.WithSupervisor(supervisor.NewSupervisor(supervisor.WithAnyErrorDirective(directive))))...)
	if err != nil {
		return fmt.Errorf("spawn routee %s: %w", name, err)
	}
	s.mu.Lock()
	if s.current == a { // else it has ended already, and may have been replaced
		s.pid, s.pending, s.broken = pid, map[*Job[M, R]]struct{}{}, a.broken.Load()
	}
	stop := s.retiring
	s.mu.Unlock()
	if stop {
		p.shutdown(s)
	}
	return nil
}

// ended is called when the slot's actor has ended, for whatever reason.
func (s *slot[M, R]) ended(a *routee[M, R]) {
	s.mu.Lock()
	jobs, expected := s.pending, s.retiring
	s.current, s.pid, s.pending = nil, nil, nil
	s.pause = min(max(2*s.pause, minRestartPause), maxRestartPause)
	if time.Since(a.born) > maxRestartPause {
		s.pause = minRestartPause
	}
	pause := s.pause
	s.mu.Unlock()
	for j := range jobs {
		var none R
		j.Reply(none, ErrEnded)
	}
	if expected {
		return
	}
	p := s.pool
	p.cfg.Logger.Warn("routee ended", slog.String("routee", s.name))
	if p.cfg.OnFailure == Stop {
		p.remove(s)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.restarting.Add(1)
		go p.restart(s, pause)
	}
}

// restart replaces a slot's actor until that succeeds.
func (p *Pool[M, R]) restart(s *slot[M, R], pause time.Duration) {
	defer p.restarting.Done()
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-time.After(pause):
		}
		s.mu.Lock()
		retiring := s.retiring
		s.mu.Unlock()
		if retiring {
			return
		}
		s.restarts.Add(1)
		err := p.spawn(p.ctx, s)
		if err == nil {
			return
		}
		p.cfg.Logger.Warn("routee was not replaced", slog.String("routee", s.name), slog.Any("err", err))
		pause = min(2*pause, maxRestartPause)
	}
}

// routee is the pool's part of an actor. What panics while it has a job fails the job, and is then the supervisor's business.
type routee[M, R any] struct {
	actor.Actor
	slot *slot[M, R]
	born time.Time
	once sync.Once
	// broken: it panicked and is not resumed. GoAkt stops it some time later.
	broken atomic.Bool
}

func (r *routee[M, R]) Receive(rctx *actor.ReceiveContext) {
	if r.broken.Load() {
		return // what it does not answer ends with it
	}
	defer func() {
		if v := recover(); v != nil {
			r.panicked(rctx.Message(), v)
			panic(v)
		}
	}()
	r.Actor.Receive(rctx)
}

func (r *routee[M, R]) panicked(msg, value any) {
	if r.slot.pool.cfg.OnFailure != Resume {
		r.broken.Store(true)
		r.slot.mu.Lock()
		r.slot.broken = r.slot.current == r
		r.slot.mu.Unlock()
	}
	j, ok := msg.(*Job[M, R])
	if done, of := msg.(*workDone[M, R]); of {
		j, ok = done.job, true
	}
	if ok {
		var none R
		j.Reply(none, fmt.Errorf("%w: %v", ErrPanicked, value))
	}
}

func (r *routee[M, R]) PostStop(ctx *actor.Context) error {
	defer r.once.Do(func() { r.slot.ended(r) })
	return r.Actor.PostStop(ctx)
}
