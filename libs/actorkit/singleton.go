package actorkit

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tochemey/goakt/v4/actor"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"

	"github.com/parley-rt/parley/libs/persistence"
)

const (
	defaultSingletonTTL = 2500 * time.Millisecond
	minSingletonTTL     = 100 * time.Millisecond
	defaultStopTimeout  = 10 * time.Second
	// A lease is renewed ttl/renewals after it was last.
	renewals = 5
	// What a node still has of its lease when it begins to stop its actor: ttl/spares.
	spares = 6
	// Who waits for a lease asks for it every ttl/asks, a quarter more or less.
	asks = 12
	// An actor that does not start or ends of itself is tried again, on whatever node, after minSingletonPause, the next time after
	// twice as long, up to maxSingletonPause.
	minSingletonPause = 100 * time.Millisecond
	maxSingletonPause = 10 * time.Second
)

// SingletonConfig describes a singleton. Zero values mean the default named at each field.
type SingletonConfig struct {
	// Name is the lease's: those who compete give the same. Required.
	Name string
	// Node is this node's name. Required.
	Node string
	// Incarnation is random per process life, so that two nodes that were given the same name do not take each other's lease for
	// their own. Without '@'. Default: random.
	Incarnation string
	// TTL is how long the lease lasts: a holder that was killed is replaced within 1.1 times that, one that is frozen too, and one
	// that cannot reach the journal for two thirds of it may lose it. At least 100 ms. Default 2.5 s.
	TTL time.Duration
	// StopTimeout is what PostStop gets. Default 10 s.
	StopTimeout time.Duration
	// Logger is told of terms that begin and end. Default: discard.
	Logger *slog.Logger
	// MeterProvider gets the singleton's instruments. Default: none.
	MeterProvider metric.MeterProvider
}

func (c SingletonConfig) withDefaults() SingletonConfig {
	if c.Incarnation == "" {
		c.Incarnation = rand.Text()
	}
	if c.TTL == 0 {
		c.TTL = defaultSingletonTTL
	}
	if c.StopTimeout == 0 {
		c.StopTimeout = defaultStopTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.MeterProvider == nil {
		c.MeterProvider = metricnoop.NewMeterProvider()
	}
	return c
}

func (c SingletonConfig) validate() error {
	var problems []error
	if c.Node == "" {
		problems = append(problems, errors.New("no node"))
	}
	if strings.Contains(c.Incarnation, "@") {
		problems = append(problems, fmt.Errorf("incarnation %q: want no '@'", c.Incarnation))
	}
	if c.TTL < minSingletonTTL {
		problems = append(problems, fmt.Errorf("ttl %v: want at least %v", c.TTL, minSingletonTTL))
	}
	if c.StopTimeout < 0 {
		problems = append(problems, fmt.Errorf("stop timeout %v: want a positive one", c.StopTimeout))
	}
	if err := persistence.ValidateLease(c.Name, c.owner(), defaultSingletonTTL); err != nil {
		problems = append(problems, err)
	}
	if len(problems) > 0 {
		return fmt.Errorf("%w: singleton %q: %w", ErrInvalidConfig, c.Name, errors.Join(problems...))
	}
	return nil
}

// owner is what the lease says.
func (c SingletonConfig) owner() string { return c.Node + "@" + c.Incarnation }

// Singleton runs one actor on one of the nodes that compete for a lease in the journal. A node holds it for a term:
//
//	               lease acquired          actor runs
//	┌─────────┐     (epoch e)    ┌────────┐         ┌───────┐
//	│competing│ ───────────────► │starting│ ──────► │holding│ ◄─┐ renewed
//	└─────────┘                  └────────┘         └───────┘ ──┘
//	     ▲                            │ PreStart        │ lease taken, or not renewed in time by this node's own clock;
//	     │ after a pause if the       │ failed          │ the actor ended; Stop
//	     │ actor was the reason       ▼                 ▼
//	     └───────────────────────── stopping: PostStop, then the lease is released
//
// What makes it safe is not the lease. A node that was frozen, or whose clock is wrong, may believe that it holds the lease after
// another one took it. So its actor claims the streams that it writes to with Term.Guard: such a claim is refused once the lease has
// changed hands, and the next holder's claim of a stream fences all that came before it. Nothing that reaches the journal in a
// term comes after anything of a later term in the same stream. Elsewhere (messages to others) two terms may overlap for
// as long as a node was frozen or its clock is wrong, and who is told must be able to tell: Term.Epoch rises from term to term.
//
// Safe for concurrent use.
type Singleton struct {
	cfg     SingletonConfig
	sys     actor.ActorSystem
	leases  persistence.LeaseStore
	actor   func(*Term) actor.Actor
	metrics *singletonMetrics

	ctx    context.Context // the singleton's own lifetime
	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	leader Leader
	// seen is when leader was known to hold the lease, before the journal was asked.
	seen time.Time
	// term is the leader's if it is this node.
	term *Term

	current atomic.Pointer[running]
}

type running struct {
	term *Term
	pid  *actor.PID
}

// Leader is the node that holds a singleton.
type Leader struct {
	Node, Incarnation string
	// Epoch of its term.
	Epoch uint64
	// Here: it is this node. Its actor may still be starting: see Actor.
	Here bool
}

// StartSingleton begins to compete for the lease in leases and, while it holds it, runs the actor that newActor makes in sys, a system
// of StartLocal. Each term has a new actor, spawned with SpawnOptions and a name that none had before.
//
// PreStart runs beside the renewal of the lease and may take its time, up to the system's limit of 30 s; it ends when its term
// does: see Term.Context. ctx bounds nothing but the start itself; end the singleton with Stop, before the system.
func StartSingleton(ctx context.Context, cfg SingletonConfig, leases persistence.LeaseStore, sys actor.ActorSystem, newActor func(*Term) actor.Actor) (*Singleton, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if leases == nil || sys == nil || newActor == nil {
		return nil, fmt.Errorf("%w: singleton %q: no leases, system or actor", ErrInvalidConfig, cfg.Name)
	}
	s := &Singleton{cfg: cfg, sys: sys, leases: leases, actor: newActor, done: make(chan struct{})}
	var err error
	if s.metrics, err = newSingletonMetrics(s); err != nil {
		return nil, fmt.Errorf("start singleton %s: %w", cfg.Name, err)
	}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go s.run()
	return s, nil
}

// Stop stops the actor, if it runs here, releases the lease, so that another node takes it within a twelfth of the TTL or so, and ends the
// competition. It returns ctx's error if that takes longer than ctx lives; it goes on nevertheless.
func (s *Singleton) Stop(ctx context.Context) error {
	s.cancel()
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop singleton %s: %w", s.cfg.Name, ctx.Err())
	}
}

// Leader tells which node holds the singleton, as far as this one knows: what it says is at most a TTL old. False: nobody holds it, or
// the journal cannot be asked. The node it names may have lost it in between and answers for itself.
func (s *Singleton) Leader() (Leader, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.leader.Node != ""
	if s.term != nil {
		known = s.term.Err() == nil
	} else {
		known = known && time.Since(s.seen) < s.cfg.TTL
	}
	if !known {
		return Leader{}, false
	}
	return s.leader, true
}

// Actor returns the singleton's actor while it runs here. False: it does not, or this node's term is over by its own clock.
func (s *Singleton) Actor() (*actor.PID, *Term, bool) {
	r := s.current.Load()
	if r == nil || r.term.Err() != nil {
		return nil, nil, false
	}
	return r.pid, r.term, true
}

// setLeader remembers who had the lease when the journal was asked; term is this node's, if it has it.
func (s *Singleton) setLeader(owner string, epoch uint64, seen time.Time, term *Term) {
	at := strings.LastIndexByte(owner, '@')
	l := Leader{Node: owner, Epoch: epoch, Here: term != nil}
	if at >= 0 {
		l.Node, l.Incarnation = owner[:at], owner[at+1:]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leader, s.seen, s.term = l, seen, term
}

// forgetLeader is called when a term of this node is over.
func (s *Singleton) forgetLeader() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leader, s.term = Leader{}, nil
}
