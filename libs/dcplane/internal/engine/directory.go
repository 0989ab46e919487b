package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/parley-rt/parley/libs/dcplane"
)

// Config is what Open needs.
type Config struct {
	Timing        Timing               // zero fields get defaults
	Logger        *slog.Logger         // nil discards
	MeterProvider metric.MeterProvider // nil counts nothing
	// ServerLeases says that the store's leases are the control plane's own (see dcplane.CacheConfig).
	ServerLeases bool
	// Now is the monotonic clock, nil for the real one; Wall is the time of day for display and for first claims.
	Now  func() time.Duration
	Wall func() time.Time
	// Manual starts no goroutines: the owner calls Step, and calls to an unreachable store are not retried.
	Manual bool
}

// Directory implements dcplane.Directory over a Store.
type Directory struct {
	store   Store
	timing  Timing
	logger  *slog.Logger
	now     func() time.Duration
	wall    func() time.Time
	manual  bool
	replica *replica
	metrics *metrics

	// life is the context of everything in the background; it ends in shutdown.
	life context.Context
	end  context.CancelFunc
	wg   sync.WaitGroup
	kick chan struct{} // refresh now

	// Owned by the loop (or by Open before it, Step instead of it, and shutdown after it).
	watch     Watch
	forced    bool
	notBefore time.Duration
	away      bool // as the log has it
	told      bool // the log has a reason other than that time was up

	// failure is why the last refresh failed, nil when it did not.
	failure atomic.Pointer[error]

	mu            sync.Mutex
	closed        bool
	registrations map[dcplane.Key]*registration
}

// Start returns a directory at once; its cache fills in the background as soon as the store answers, however long that
// takes. Problem says what is in the way. It fails only for a bad cfg. It owns store from the start, also when it fails.
func Start(store Store, cfg Config) (*Directory, error) {
	d, err := newDirectory(store, cfg)
	if err != nil {
		return nil, fmt.Errorf("open node directory: %w", err)
	}
	if !d.manual {
		d.kick <- struct{}{}
		d.wg.Go(d.loop)
	}
	return d, nil
}

// Open is Start that waits until the cache is complete for the first time. When ctx ends first, the error wraps
// ErrUnavailable, ctx's error and the last failure. In manual mode it tries once.
func Open(ctx context.Context, store Store, cfg Config) (*Directory, error) {
	d, err := Start(store, cfg)
	if err != nil {
		return nil, err
	}
	if d.manual {
		if err = d.refresh(ctx); err != nil {
			err = fmt.Errorf("%w: %w", dcplane.ErrUnavailable, err)
		}
	} else {
		err = dcplane.AwaitReady(ctx, d)
	}
	if err != nil {
		d.Abandon()
		return nil, fmt.Errorf("open node directory: %w", err)
	}
	return d, nil
}

func newDirectory(store Store, cfg Config) (*Directory, error) {
	d := &Directory{
		store: store, timing: cfg.Timing.WithDefaults(), logger: cfg.Logger, now: cfg.Now, wall: cfg.Wall, manual: cfg.Manual,
		kick: make(chan struct{}, 1), registrations: make(map[dcplane.Key]*registration),
	}
	if err := d.timing.Validate(); err != nil {
		store.Close()
		return nil, err
	}
	if d.logger == nil {
		d.logger = slog.New(slog.DiscardHandler)
	}
	if d.now == nil {
		origin := time.Now()
		d.now = func() time.Duration { return time.Since(origin) }
	}
	if d.wall == nil {
		d.wall = time.Now
	}
	d.replica = newReplica(d.timing.cache(cfg.ServerLeases), d.now, d.logger)
	var err error
	if d.metrics, err = newMetrics(cfg.MeterProvider, d.replica); err != nil {
		store.Close()
		return nil, err
	}
	d.life, d.end = context.WithCancel(context.Background())
	return d, nil
}

// loop is the only goroutine that refreshes.
func (d *Directory) loop() {
	ticker := time.NewTicker(d.timing.tick())
	defer ticker.Stop()
	for {
		var ended <-chan struct{}
		if d.watch != nil {
			ended = d.watch.Done()
		}
		select {
		case <-d.life.Done():
			return
		case <-ticker.C:
		case <-d.kick:
			d.forced, d.notBefore = true, 0
		case <-ended:
			d.watch.Stop()
			d.watch, d.forced = nil, true
		}
		d.stepCache()
	}
}

// stepCache notices what time has done to the cache and refreshes it when that is due.
func (d *Directory) stepCache() {
	if due := d.replica.refreshDue(); (due || d.forced) && d.now() >= d.notBefore {
		_ = d.refresh(d.life) // told by its log line, Age and Ready; the next step tries again
	}
}

// refresh replaces the cache's content and its watch. The old watch is followed until the new listing is complete.
func (d *Directory) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.timing.sync())
	defer cancel()
	began := d.now()
	listing, watch, err := d.store.Sync(ctx)
	if err != nil {
		d.notBefore = d.now() + jittered(2*d.timing.retry())
		if d.life.Err() == nil {
			d.fail(err)
		}
		return err
	}
	if d.watch != nil {
		d.watch.Stop()
	}
	d.watch, d.forced = watch, false
	d.failure.Store(nil)
	d.replica.replace(began, listing, d.wall())
	watch.Follow(d.replica)
	if d.away {
		d.away, d.told = false, false
		d.logger.Info("control plane answering again")
	}
	return nil
}

// fail keeps and logs why a refresh failed. That nothing answered in time says less than a reason given before or after.
func (d *Directory) fail(err error) {
	telling := !errors.Is(err, context.DeadlineExceeded)
	if d.failure.Load() == nil || telling {
		d.failure.Store(&err)
	}
	if !d.away || telling && !d.told {
		d.away, d.told = true, telling
		d.logger.Warn("control plane not answering", "err", err)
	}
}

// Kick makes the directory refresh and renew now, because the control plane may just have come back. Never blocks.
func (d *Directory) Kick() {
	select {
	case d.kick <- struct{}{}:
	default:
	}
	for _, r := range d.registered() {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// StepRenewals renews what is due; StepCache does one turn of the loop. For manual mode, one caller at a time.
func (d *Directory) StepRenewals() {
	for _, r := range d.registered() {
		if r.due <= d.now() {
			r.renew(d.life)
		}
	}
}

// StepCache is described at StepRenewals.
func (d *Directory) StepCache() { d.stepCache() }

// Register implements dcplane.Directory.
func (d *Directory) Register(ctx context.Context, n dcplane.Node) (dcplane.Registration, error) {
	if err := n.Validate(); err != nil {
		return nil, fmt.Errorf("register node: %w", err)
	}
	r := newRegistration(d, n)
	if err := d.remember(r); err != nil {
		return nil, fmt.Errorf("register node %s: %w", r.key, err)
	}
	if err := r.persist(ctx, r.write); err != nil {
		r.end(dcplane.ErrDeregistered)
		return nil, fmt.Errorf("register node %s: %w", r.key, err)
	}
	if !d.manual && !d.start(r) {
		return nil, fmt.Errorf("register node %s: %w", r.key, dcplane.ErrClosed)
	}
	d.logger.Info("node registered", "node", n.Name, "dc", n.DC, "service", n.Service, "incarnation", n.Incarnation)
	return r, nil
}

func (d *Directory) remember(r *registration) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return dcplane.ErrClosed
	}
	if _, taken := d.registrations[r.key]; taken {
		return dcplane.ErrAlreadyRegistered
	}
	d.registrations[r.key] = r
	return nil
}

// start begins renewing; false when the directory was closed meanwhile.
func (d *Directory) start(r *registration) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	ctx, stop := context.WithCancel(d.life)
	r.mu.Lock()
	r.stop = stop
	r.mu.Unlock()
	d.wg.Go(func() { r.run(ctx) })
	return true
}

func (d *Directory) forget(r *registration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.registrations[r.key] == r {
		delete(d.registrations, r.key)
	}
}

func (d *Directory) registered() []*registration {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]*registration, 0, len(d.registrations))
	for _, r := range d.registrations {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b *registration) int { return cmp.Compare(a.key.String(), b.key.String()) })
	return all
}

// Nodes and the methods after it implement dcplane.Directory.
func (d *Directory) Nodes(dc, service string) []dcplane.Node { return d.replica.nodes(dc, service) }

func (d *Directory) Lookup(dc, service, name string) (dcplane.Node, bool) {
	return d.replica.lookup(dcplane.Key{DC: dc, Service: service, Name: name})
}

func (d *Directory) Changed() <-chan struct{} { return d.replica.changedChan() }
func (d *Directory) Age() time.Duration       { return d.replica.age() }
func (d *Directory) Ready() bool              { return d.replica.isReady() }
func (d *Directory) LastRefresh() time.Time   { return d.replica.refreshedAt() }

// Problem implements dcplane.Directory.
func (d *Directory) Problem() error {
	age, synced, ready := d.replica.state()
	if ready {
		return nil
	}
	silence := fmt.Sprintf("no answer for %v", age.Round(time.Second))
	if !synced {
		silence = fmt.Sprintf("not reached since the start %v ago", age.Round(time.Second))
	}
	if reason := d.failure.Load(); reason != nil {
		return fmt.Errorf("%w: %s: %w", dcplane.ErrUnavailable, silence, *reason)
	}
	return fmt.Errorf("%w: %s", dcplane.ErrUnavailable, silence)
}

// Close implements dcplane.Directory.
func (d *Directory) Close(ctx context.Context) error {
	if !d.refuse() {
		return nil
	}
	all := d.registered()
	problems := make([]error, len(all))
	var wg sync.WaitGroup
	for i, r := range all {
		wg.Go(func() { problems[i] = r.deregister(ctx, dcplane.ErrClosed) })
	}
	wg.Wait()
	d.shutdown()
	return errors.Join(problems...)
}

// Abandon stops everything without deregistering, as a crash of the process would.
func (d *Directory) Abandon() {
	if !d.refuse() {
		return
	}
	d.end()
	for _, r := range d.registered() {
		r.end(dcplane.ErrClosed)
	}
	d.shutdown()
}

// refuse makes later calls fail with ErrClosed; false when they already did.
func (d *Directory) refuse() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	first := !d.closed
	d.closed = true
	return first
}

func (d *Directory) shutdown() {
	d.end()
	d.wg.Wait()
	if d.watch != nil {
		d.watch.Stop()
		d.watch = nil
	}
	d.metrics.close()
	d.store.Close()
}
