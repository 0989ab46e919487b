package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tochemey/goakt/v4/actor"
)

const (
	// An actor that ended is replaced after minRestartPause, the next time after twice as long, up to maxRestartPause; one that lived for
	// maxRestartPause begins anew.
	minRestartPause = 10 * time.Millisecond
	maxRestartPause = 5 * time.Second
	stopTimeout     = 10 * time.Second
)

// OnFailure is what happens to an actor of a pool that panics or reports an error. The message it had ends with ErrPanicked.
type OnFailure int

const (
	// Restart replaces it by a new actor. What it had besides ends with ErrEnded.
	Restart OnFailure = iota
	// Resume lets it live on with its state and with what waits for it.
	Resume
	// Stop lets it end; the pool is smaller then. What it had besides ends with ErrEnded.
	Stop
)

// PoolConfig describes a pool. Zero values mean the default named at each field.
type PoolConfig[M any] struct {
	Config[M]
	// Name begins the names of the actors, which GoAkt restricts to letters, digits, '-', '_' and '.'. Unique within the system, also
	// among pools that were stopped. Required.
	Name string
	// OnFailure is the supervision of the actors. Default Restart.
	OnFailure OnFailure
	// Logger is told of actors that failed. Default: discard.
	Logger *slog.Logger
}

// Pool is a Router over actors that it spawns in a local system. Each gets *Job messages, at most Config.Limit of which it has not
// answered, in the order in which they were asked, beside whatever GoAkt and the actor itself send it. Safe for concurrent use.
type Pool[M, R any] struct {
	*Router[M, R]
	cfg  PoolConfig[M]
	sys  actor.ActorSystem
	make func() actor.Actor

	// resizing is held while the pool changes its size on purpose.
	resizing sync.Mutex
	// The router's lock guards slots. They are in the order of their numbers, which are never used twice.
	slots  []*slot[M, R]
	number int
	// activations counts actors, for their names.
	activations atomic.Uint64
	restarting  sync.WaitGroup
}

// NewPool spawns size actors, each made by newActor, in a system of actorkit.StartLocal. Stop the pool before the system.
func NewPool[M, R any](ctx context.Context, cfg PoolConfig[M], sys actor.ActorSystem, size int, newActor func() actor.Actor) (*Pool[M, R], error) {
	if cfg.Name == "" || sys == nil || newActor == nil || cfg.OnFailure < Restart || cfg.OnFailure > Stop {
		return nil, fmt.Errorf("%w: pool %q: no name, system or actor, or supervision not known", ErrInvalidConfig, cfg.Name)
	}
	r, err := New[M, R](cfg.Config)
	if err != nil {
		return nil, fmt.Errorf("pool %s: %w", cfg.Name, err)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Pool[M, R]{Router: r, cfg: cfg, sys: sys, make: newActor}
	if err := p.Resize(ctx, size); err != nil {
		return nil, errors.Join(err, p.Stop(ctx))
	}
	return p, nil
}

// Size is how many actors there are, those that are being replaced included.
func (p *Pool[M, R]) Size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.slots)
}

// Resize makes the pool that large, whatever has happened to it: it ends at size unless an actor cannot be spawned or, with OnFailure Stop,
// ends meanwhile. Actors too many get no more messages at once, finish what they have until ctx ends, and are stopped; the
// oldest stay. At least 1. Errors: ErrInvalidConfig, ErrClosed, what newActor's PreStart says.
func (p *Pool[M, R]) Resize(ctx context.Context, size int) error {
	if size < 1 {
		return fmt.Errorf("%w: pool %s of %d actors", ErrInvalidConfig, p.cfg.Name, size)
	}
	p.resizing.Lock()
	defer p.resizing.Unlock()
	for {
		p.mu.Lock()
		missing, closed := size-len(p.slots), p.closed
		var surplus []*slot[M, R]
		if missing < 0 && !closed {
			surplus = append(surplus, p.slots[size:]...)
			p.slots = p.slots[:size:size]
			p.showSlots()
		}
		p.mu.Unlock()
		switch {
		case closed:
			return fmt.Errorf("resize pool %s: %w", p.cfg.Name, ErrClosed)
		case missing <= 0:
			p.retire(ctx, surplus)
			return nil
		}
		if err := p.add(ctx); err != nil {
			return fmt.Errorf("resize pool %s: %w", p.cfg.Name, err)
		}
	}
}

// add spawns one more actor.
func (p *Pool[M, R]) add(ctx context.Context) error {
	p.number++
	s := &slot[M, R]{pool: p, name: p.cfg.Name + "-" + strconv.Itoa(p.number)}
	if err := p.spawn(ctx, s); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.gone.Load() {
		return fmt.Errorf("routee %s: %w", s.name, ErrEnded)
	}
	p.slots = append(p.slots, s)
	p.showSlots()
	return nil
}

// retire stops actors once they have answered what they have.
func (p *Pool[M, R]) retire(ctx context.Context, slots []*slot[M, R]) {
	for _, s := range slots {
		s.retire()
	}
	for _, s := range slots {
		select {
		case <-s.idle():
		case <-ctx.Done():
		}
		p.shutdown(s)
	}
}

// Stop takes no more messages, lets the actors answer what they have until ctx ends, and stops them. What is not answered
// ends with ErrClosed.
func (p *Pool[M, R]) Stop(ctx context.Context) error {
	err := p.Close(ctx)
	p.resizing.Lock()
	defer p.resizing.Unlock()
	p.mu.Lock()
	slots := p.slots
	p.slots = nil
	p.show(nil)
	p.mu.Unlock()
	for _, s := range slots {
		s.retire()
	}
	p.restarting.Wait()
	for _, s := range slots {
		p.shutdown(s)
	}
	return err
}

// showSlots routes to the slots. The lock is held.
func (p *Pool[M, R]) showSlots() {
	members := make([]Member[M, R], len(p.slots))
	for i, s := range p.slots {
		members[i] = Member[M, R]{Name: s.name, Routee: s}
	}
	p.show(members)
}

// Set is of no use to a Pool, which names its routees itself. ErrInvalidConfig.
func (p *Pool[M, R]) Set([]Member[M, R]) error {
	return fmt.Errorf("%w: a pool has its own routees", ErrInvalidConfig)
}

// remove takes a slot whose actor ended out of the set.
func (p *Pool[M, R]) remove(s *slot[M, R]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.gone.Store(true)
	for i, other := range p.slots {
		if other == s {
			p.slots = append(p.slots[:i:i], p.slots[i+1:]...)
			p.showSlots()
			return
		}
	}
}

func (p *Pool[M, R]) shutdown(s *slot[M, R]) {
	pid := s.running()
	if pid == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := pid.Shutdown(ctx); err != nil {
		p.cfg.Logger.Warn("routee did not stop cleanly", slog.String("routee", s.name), slog.Any("err", err))
	}
}
