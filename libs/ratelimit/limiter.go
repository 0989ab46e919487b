package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

// Config of a Limiter. Zero values mean the default named at each field.
type Config struct {
	// Node is unique among those that use the same store. Required with a store.
	Node string
	// Nodes says how many there are; less than 1 counts as 1. It must not block. Default: always 1.
	Nodes func() int
	// Keys a Shared or Direct scope remembers at most. Default 100,000.
	Keys int
	// Every is how often keys in use are reported. Default 100 ms.
	Every time.Duration
	// Soon is how soon a key is after a pause, and how often that happens at most. Default 10 ms.
	Soon time.Duration
	// SyncWithin is how long the store may take to answer up to 4,096 reports; then it is away. Default 250 ms.
	SyncWithin time.Duration
	// AskWithin is how long it may take to answer a Direct decision. Three in a row that took longer, and it is away. Default
	// 20 ms.
	AskWithin time.Duration
	// RetryEvery is how often a store that is away is looked for. Default 250 ms.
	RetryEvery time.Duration
	// Now tells the time. Default time.Now.
	Now func() time.Time
	// Logger; nil discards.
	Logger *slog.Logger
	// MeterProvider; nil: none.
	MeterProvider metric.MeterProvider
}

const (
	// syncAtOnce is how many reports are one request to a store.
	syncAtOnce = 4096
	// missesUntilAway is how many Direct decisions in a row a store may fail to answer in time.
	missesUntilAway = 3
	// sweepEvery is how often a part of the idle keys is forgotten while nothing else is to do.
	sweepEvery = 500 * time.Millisecond
)

func (c Config) withDefaults() Config {
	dur := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	dur(&c.Every, 100*time.Millisecond)
	dur(&c.Soon, 10*time.Millisecond)
	dur(&c.SyncWithin, 250*time.Millisecond)
	dur(&c.AskWithin, 20*time.Millisecond)
	dur(&c.RetryEvery, 250*time.Millisecond)
	if c.Keys == 0 {
		c.Keys = 100_000
	}
	if c.Nodes == nil {
		c.Nodes = func() int { return 1 }
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.MeterProvider == nil {
		c.MeterProvider = noop.NewMeterProvider()
	}
	return c
}

func (c Config) validate(store Store) error {
	var problems []error
	if store != nil && c.Node == "" {
		problems = append(problems, errors.New("node is empty"))
	}
	for _, n := range []struct {
		name  string
		value int64
	}{
		{"keys", int64(c.Keys)}, {"every", int64(c.Every)}, {"soon", int64(c.Soon)}, {"sync within", int64(c.SyncWithin)},
		{"ask within", int64(c.AskWithin)}, {"retry every", int64(c.RetryEvery)},
	} {
		if n.value < 0 {
			problems = append(problems, fmt.Errorf("%s is negative", n.name))
		}
	}
	return errors.Join(problems...)
}

// Limiter makes the decisions of one node. Its scopes are made first, then it is started, and closed once.
type Limiter struct {
	cfg   Config
	store Store // nil: there is one node, or each has all of the limit

	shared []*Shared
	direct []*Direct
	own    []*Own

	away     atomic.Bool   // the store does not answer
	misses   atomic.Int32  // Direct decisions in a row that it did not answer
	urgent   atomic.Bool   // a key is in use after a pause
	news     chan struct{} // there is something to do
	lost     atomic.Uint64 // how often the store went away
	synced   atomic.Uint64 // reports that arrived
	cancel   context.CancelFunc
	done     sync.WaitGroup
	unlisten func()

	// The goroutine's own.
	last    time.Time // that it reported
	swept   time.Time
	next    int // shard to sweep
	flights []flight
}

// New returns a limiter for scopes. With store nil it decides by itself; else the store stays the caller's, to be closed after it.
func New(cfg Config, store Store) (*Limiter, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(store); err != nil {
		return nil, fmt.Errorf("rate limits: %w", err)
	}
	return &Limiter{cfg: cfg, store: store, news: make(chan struct{}, 1)}, nil
}

// Shared adds a scope whose keys all nodes count together. The name is part of the keys in the store and of metrics.
func (l *Limiter) Shared(scope string, limit Limit) *Shared {
	s := l.newShared(scope, limit, true)
	l.shared = append(l.shared, s)
	return s
}

// Direct adds a scope whose keys the store decides about.
func (l *Limiter) Direct(scope string, limit Limit) *Direct {
	d := newDirect(l.newShared(scope, limit, false))
	l.direct = append(l.direct, d)
	return d
}

// Own adds a scope whose keys nobody else counts.
func (l *Limiter) Own(scope string, limit Limit) *Own {
	o := &Own{scope: scope, limit: limit}
	l.own = append(l.own, o)
	return o
}

// Start begins to look after the scopes. It does not wait for the store: until that has answered, each node has a part of the limit.
func (l *Limiter) Start() error {
	if err := l.observe(); err != nil {
		return fmt.Errorf("rate limits: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	if l.store != nil {
		l.away.Store(true) // not seen yet
		l.poke(true)
	}
	l.done.Go(func() { l.run(ctx) })
	return nil
}

// Close ends what runs. Decisions can still be made. What was used since the last report is not reported any more.
func (l *Limiter) Close() {
	if l.cancel != nil {
		l.cancel()
		l.done.Wait()
		l.unlisten()
	}
}

// Away says that there is a store and that it does not answer.
func (l *Limiter) Away() bool { return l.away.Load() }

// part is this node's part of a limit as long as it does not know what the others do: two parts of as many as there are nodes.
// Most keys are used on one node only, and the others' parts of it lie idle.
func (l *Limiter) part() float64 { return min(1, 2/float64(max(1, l.cfg.Nodes()))) }

// poke has the goroutine do something. urgent: soon.
func (l *Limiter) poke(urgent bool) {
	if urgent && l.urgent.Swap(true) {
		return // it knows
	}
	select {
	case l.news <- struct{}{}:
	default:
	}
}

// missed notes that the store did not answer a Direct decision.
func (l *Limiter) missed(err error) {
	if l.misses.Add(1) >= missesUntilAway {
		l.goneAway(err)
		l.poke(true)
	}
}

// goneAway notes that the store is away, and says so once.
func (l *Limiter) goneAway(err error) {
	if !l.away.Swap(true) {
		l.lost.Add(1)
		l.cfg.Logger.Warn("rate limit store is away: each node limits by itself until it is back", slog.Any("err", err))
	}
}
