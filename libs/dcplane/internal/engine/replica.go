package engine

import (
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-rt/parley/libs/dcplane"
)

// replica makes a dcplane.Cache safe for concurrent use: one writer at a time, readers never wait.
type replica struct {
	now    func() time.Duration
	logger *slog.Logger

	mu          sync.Mutex
	cache       *dcplane.Cache
	changed     chan struct{}
	ready       bool
	lastRefresh time.Time

	view atomic.Pointer[view]
}

func newReplica(cfg dcplane.CacheConfig, now func() time.Duration, logger *slog.Logger) *replica {
	r := &replica{now: now, logger: logger, cache: dcplane.NewCache(cfg), changed: make(chan struct{})}
	r.view.Store(newView(nil))
	return r
}

// Observe implements Follower.
func (r *replica) Observe(o dcplane.Observation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.publish(r.cache.Observe(r.now(), o))
}

// Contact implements Follower.
func (r *replica) Contact() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cache.Contact(r.now())
	r.publish(nil)
}

func (r *replica) replace(began time.Duration, listing dcplane.Listing, wall time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastRefresh = wall
	r.publish(r.cache.Replace(began, r.now(), listing))
}

// refreshDue also notices that time alone made the cache stale.
func (r *replica) refreshDue() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.publish(nil)
	return r.cache.RefreshDue(r.now())
}

// publish makes changes visible and wakes waiters, in that order, so that a waiter which took its channel before reading
// cannot miss them. Called with mu held.
func (r *replica) publish(changes []dcplane.Change) {
	ready := r.cache.Ready(r.now())
	if len(changes) == 0 && ready == r.ready {
		return
	}
	if ready != r.ready {
		r.ready = ready
		if ready {
			r.logger.Info("node directory ready")
		} else {
			r.logger.Warn("node directory stale", "age", r.cache.Age(r.now()))
		}
	}
	for _, c := range changes {
		r.log(c)
	}
	switch len(changes) {
	case 0:
	case 1: // by far the most frequent: one node reports its load
		r.view.Store(r.view.Load().with(changes[0]))
	default:
		r.view.Store(newView(r.cache.Live()))
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

// log tells of nodes coming, going and changing state; a new load alone is no news.
func (r *replica) log(c dcplane.Change) {
	if c.Kind == dcplane.NodeUpdated {
		old, _ := r.lookup(c.Node.Key())
		if old.Load = c.Node.Load; old == c.Node {
			return
		}
	}
	r.logger.Info("node changed", "change", string(c.Kind), "dc", c.Node.DC, "service", c.Node.Service,
		"node", c.Node.Name, "incarnation", c.Node.Incarnation, "state", string(c.Node.State))
}

func (r *replica) nodes(dc, service string) []dcplane.Node {
	return slices.Clone(r.view.Load().groups[group{dc, service}])
}

func (r *replica) lookup(key dcplane.Key) (dcplane.Node, bool) {
	nodes := r.view.Load().groups[group{key.DC, key.Service}]
	i, ok := find(nodes, key.Name)
	if !ok {
		return dcplane.Node{}, false
	}
	return nodes[i], true
}

func (r *replica) changedChan() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

func (r *replica) age() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cache.Age(r.now())
}

func (r *replica) isReady() bool {
	_, _, ready := r.state()
	return ready
}

func (r *replica) state() (age time.Duration, synced, ready bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	return r.cache.Age(now), r.cache.Synced(), r.cache.Ready(now)
}

func (r *replica) refreshedAt() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lastRefresh
}
