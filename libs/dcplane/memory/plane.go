package memory

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/libs/dcplane/internal/engine"
)

// Plane is one control plane in memory. Its methods may be called from any goroutine, except that Advance must not run
// twice at a time.
type Plane struct {
	manual bool
	now    atomic.Int64 // the manual clock, read while mu is held too

	mu         sync.Mutex
	down       bool
	generation uint64
	revision   uint64
	records    map[dcplane.Key]engine.Stored
	// deleted has the revision at which each name was last deregistered, for readers that missed it. It grows with the
	// number of different names.
	deleted     map[dcplane.Key]uint64
	watches     map[*watch]struct{}
	directories []*Directory
}

// NewPlane returns a plane that runs in real time.
func NewPlane() *Plane {
	return &Plane{
		records: make(map[dcplane.Key]engine.Stored), deleted: make(map[dcplane.Key]uint64),
		watches: make(map[*watch]struct{}), generation: 1,
	}
}

// NewManualPlane returns a plane whose clock stands still until Advance.
func NewManualPlane() *Plane {
	p := NewPlane()
	p.manual = true
	return p
}

// step is how far the manual clock moves between two looks at what is due. It divides the default lease tick.
const step = 50 * time.Millisecond

// Advance moves a manual plane's clock by d, rounded up to 50 ms, renewing and expiring on the way. It panics on a plane
// that runs in real time, where it could only confuse.
func (p *Plane) Advance(d time.Duration) {
	if !p.manual {
		panic("memory: Advance on a plane that runs in real time")
	}
	for ; d > 0; d -= step {
		p.now.Add(int64(step))
		p.mu.Lock()
		open := slices.Clone(p.directories)
		p.mu.Unlock()
		for _, dir := range open {
			dir.engine.StepRenewals()
		}
		for _, dir := range open {
			dir.engine.StepCache()
		}
	}
}

// Stop makes every call to the plane fail and every watch fall silent, as a lost control plane would.
func (p *Plane) Stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = true
	clear(p.watches)
}

// Start ends Stop. With empty the plane has lost everything and numbers its writes from the beginning again.
func (p *Plane) Start(empty bool) {
	p.mu.Lock()
	p.down = false
	if empty {
		clear(p.records)
		clear(p.deleted)
		p.generation, p.revision = p.generation+1, 0
	}
	open := slices.Clone(p.directories)
	p.mu.Unlock()
	if !p.manual {
		for _, dir := range open {
			dir.engine.Kick()
		}
	}
}

// DropWatches makes the open watches fall silent without an error, as a lost subscription would; calls still work.
func (p *Plane) DropWatches() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.watches)
}

// clock is the manual clock's reading.
func (p *Plane) clock() time.Duration {
	return time.Duration(p.now.Load())
}

// Open returns a directory on the plane. While the plane is stopped it waits for it, until ctx ends; on a manual plane it
// fails at once.
func (p *Plane) Open(ctx context.Context, cfg Config) (*Directory, error) {
	return p.open(cfg, func(s engine.Store, ec engine.Config) (*engine.Directory, error) { return engine.Open(ctx, s, ec) })
}

// OpenAtOnce returns a directory that waits for a stopped plane in the background. Not for manual planes.
func (p *Plane) OpenAtOnce(cfg Config) (*Directory, error) {
	return p.open(cfg, engine.Start)
}

func (p *Plane) open(cfg Config, open func(engine.Store, engine.Config) (*engine.Directory, error)) (*Directory, error) {
	ec := engine.Config{
		Timing: engine.Timing{Lease: cfg.Lease, RefreshEvery: cfg.RefreshEvery, MaxStaleness: cfg.MaxCacheStaleness},
		Logger: cfg.Logger, MeterProvider: cfg.MeterProvider, Manual: p.manual,
	}
	if p.manual {
		ec.Now = p.clock
		ec.Wall = func() time.Time { return time.UnixMilli(0).Add(p.clock()) }
	}
	e, err := open(&store{plane: p}, ec)
	if err != nil {
		return nil, err
	}
	dir := &Directory{plane: p, engine: e, Directory: e}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.directories = append(p.directories, dir)
	return dir, nil
}

func (p *Plane) forget(dir *Directory) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.directories = slices.DeleteFunc(p.directories, func(d *Directory) bool { return d == dir })
}
