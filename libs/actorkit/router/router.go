package router

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const defaultLimit = 64

// Routee takes messages and answers them. Ask ends, with an error, soon after its context does. It is called from many goroutines.
//
// An error is a failure to answer, upon which others may be asked; what is an answer, if only a refusal, belongs into R.
type Routee[M, R any] interface {
	Ask(ctx context.Context, msg M) (R, error)
}

// Func is a routee made of a function.
type Func[M, R any] func(ctx context.Context, msg M) (R, error)

// Ask calls f.
func (f Func[M, R]) Ask(ctx context.Context, msg M) (R, error) { return f(ctx, msg) }

// Member is a routee by its name, which is unique within a router.
type Member[M, R any] struct {
	Name   string
	Routee Routee[M, R]
}

// Strategy says who is asked.
type Strategy int

const (
	// RoundRobin asks one after the other in turns.
	RoundRobin Strategy = iota
	// Random asks any one.
	Random
	// ConsistentHash asks the one that the message's key belongs to. A key moves only when its routee leaves or a new one takes it over:
	// of n routees one more or less moves about 1/n of the keys.
	ConsistentHash
	// TailChopping asks the first, the next as soon as one has failed or Config.Interval has passed, and so on. The first answer counts.
	TailChopping
	// ScatterGatherFirst asks all at once. The first answer counts.
	ScatterGatherFirst
)

// Config describes a router. Zero values mean the default named at each field.
type Config[M any] struct {
	// Strategy of Ask. Default RoundRobin.
	Strategy Strategy
	// Key is what a message belongs to, for ConsistentHash, which requires it.
	Key func(msg M) string
	// Within bounds Ask and FanOut, beside their contexts. Default: nothing; required for TailChopping and ScatterGatherFirst.
	Within time.Duration
	// Interval is how long TailChopping, which requires it, waits for an answer before it asks the next.
	Interval time.Duration
	// InOrder lets TailChopping ask in the order of the members; otherwise it is random, so that the load is spread.
	InOrder bool
	// Limit is how many messages a routee may have that it has not answered. Default 64.
	Limit int
}

func (c Config[M]) validate() error {
	var problems []error
	if c.Strategy < RoundRobin || c.Strategy > ScatterGatherFirst {
		problems = append(problems, fmt.Errorf("strategy %d is not known", c.Strategy))
	}
	if c.Strategy == ConsistentHash && c.Key == nil {
		problems = append(problems, errors.New("consistent hash without a key"))
	}
	if c.Strategy == TailChopping && c.Interval <= 0 {
		problems = append(problems, errors.New("tail chopping without an interval"))
	}
	if (c.Strategy == TailChopping || c.Strategy == ScatterGatherFirst) && c.Within <= 0 {
		problems = append(problems, errors.New("strategy asks several and has no bound in time"))
	}
	if c.Limit < 0 || c.Within < 0 || c.Interval < 0 {
		problems = append(problems, errors.New("negative limit or time"))
	}
	if len(problems) > 0 {
		return fmt.Errorf("%w: %w", ErrInvalidConfig, errors.Join(problems...))
	}
	return nil
}

// Router routes messages to a set of routees. Safe for concurrent use.
type Router[M, R any] struct {
	cfg  Config[M]
	view atomic.Pointer[view[M, R]]
	turn atomic.Uint64

	ctx    context.Context // the router's own lifetime
	cancel context.CancelCauseFunc

	mu     sync.Mutex
	closed bool
	asks   sync.WaitGroup // asks under way, also those that nobody waits for any more
}

// view is the set as of some time; it is replaced as a whole.
type view[M, R any] struct {
	members []Member[M, R]
	ring    *ring
}

// New makes a router without routees.
func New[M, R any](cfg Config[M]) (*Router[M, R], error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Limit == 0 {
		cfg.Limit = defaultLimit
	}
	r := &Router[M, R]{cfg: cfg}
	r.ctx, r.cancel = context.WithCancelCause(context.Background())
	r.show(nil)
	return r, nil
}

// Set replaces the routees. Those that stay, by name, keep what they have; what others are doing goes on.
func (r *Router[M, R]) Set(members []Member[M, R]) error {
	seen := map[string]bool{}
	for _, m := range members {
		if m.Name == "" || m.Routee == nil || seen[m.Name] {
			return fmt.Errorf("%w: routee %q has no name or function, or is there twice", ErrInvalidConfig, m.Name)
		}
		seen[m.Name] = true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	old := map[string]*bounded[M, R]{}
	for _, m := range r.view.Load().members {
		if b, ok := m.Routee.(*bounded[M, R]); ok {
			old[m.Name] = b
		}
	}
	shown := make([]Member[M, R], len(members))
	for i, m := range members {
		b := &bounded[M, R]{routee: m.Routee, limit: int64(r.cfg.Limit), count: new(count)}
		if before := old[m.Name]; before != nil {
			b.count = before.count
		}
		shown[i] = Member[M, R]{Name: m.Name, Routee: b}
	}
	r.show(shown)
	return nil
}

// show makes members what messages are routed to. The lock is held, or nobody else has the router.
func (r *Router[M, R]) show(members []Member[M, R]) {
	v := &view[M, R]{members: members}
	if r.cfg.Strategy == ConsistentHash {
		v.ring = newRing(members)
	}
	r.view.Store(v)
}

// Status is what a routee is doing.
type Status struct {
	Name string
	// InFlight are messages that it has not answered.
	InFlight int
	// Answered and Failed count those that it answered, and those that ended with an error or a panic.
	Answered, Failed uint64
	// Restarts counts its actor's replacements; only of a Pool.
	Restarts uint64
}

type inspected interface{ status() Status }

// Inspect tells what each routee is doing.
func (r *Router[M, R]) Inspect() []Status {
	members := r.view.Load().members
	all := make([]Status, len(members))
	for i, m := range members {
		if s, ok := m.Routee.(inspected); ok {
			all[i] = s.status()
		}
		all[i].Name = m.Name
	}
	return all
}

// Close takes no more messages, lets those on their way be answered until ctx ends, and ends the rest with ErrClosed. It returns when
// no routee is at work any more.
func (r *Router[M, R]) Close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	idle := make(chan struct{})
	go func() {
		r.asks.Wait()
		close(idle)
	}()
	defer r.cancel(ErrClosed)
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
	}
	r.cancel(ErrClosed)
	<-idle
	return nil
}

// enter counts an ask under way; leave it with asks.Done.
func (r *Router[M, R]) enter() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	r.asks.Add(1)
	return nil
}

// count is what a routee has done; it outlives changes of the set.
type count struct {
	inFlight         atomic.Int64
	answered, failed atomic.Uint64
}

func (c *count) status() Status {
	return Status{InFlight: int(c.inFlight.Load()), Answered: c.answered.Load(), Failed: c.failed.Load()}
}

// bounded is a routee that takes a limited number of messages, and whose panics are errors.
type bounded[M, R any] struct {
	routee Routee[M, R]
	limit  int64
	*count
}

func (b *bounded[M, R]) Ask(ctx context.Context, msg M) (reply R, err error) {
	if b.inFlight.Add(1) > b.limit {
		b.inFlight.Add(-1)
		return reply, ErrFull
	}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %v", ErrPanicked, v)
		}
		b.inFlight.Add(-1)
		if err == nil {
			b.answered.Add(1)
		} else {
			b.failed.Add(1)
		}
	}()
	return b.routee.Ask(ctx, msg)
}
