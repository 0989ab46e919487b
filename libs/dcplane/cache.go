package dcplane

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Version orders the writes of one key as the control plane numbered them.
type Version struct {
	// Generation is raised by the reader whenever it finds that the control plane lost its content and numbers from the
	// beginning again.
	Generation uint64
	// Revision is the control plane's own number, rising with every write.
	Revision uint64
}

// Compare returns -1, 0 or 1.
func (v Version) Compare(o Version) int {
	return cmp.Or(cmp.Compare(v.Generation, o.Generation), cmp.Compare(v.Revision, o.Revision))
}

// Observation is one key as the control plane showed it: a record, the marker of its deletion, or its end.
type Observation struct {
	Key     Key
	Version Version
	// Deleted is a node that deregistered.
	Deleted bool
	// Lapsed is a record that the control plane removed because its lease ran out. Only with CacheConfig.ServerLeases.
	Lapsed bool
	Node   Node // zero when Deleted or Lapsed
}

// Listing is everything a control plane held at one moment.
type Listing struct {
	// Generation is that of all the observations; another one than before says that the control plane lost its content.
	Generation   uint64
	Observations []Observation
}

// CacheConfig has the durations a Cache measures with. All must be positive.
type CacheConfig struct {
	// Lease is how long a node lives after its last observed renewal.
	Lease time.Duration
	// ServerLeases says that the control plane keeps the leases itself: a renewal shows nothing, what is listed is alive,
	// and what has lapsed is removed by it.
	ServerLeases bool
	// Quiet is the silence after which Tick asks for a refresh. Below Outage.
	Quiet time.Duration
	// Outage is the silence after which the control plane counts as having been away. Below Lease.
	Outage time.Duration
	// RefreshEvery is the period of full replaces.
	RefreshEvery time.Duration
	// MaxStaleness is the Age up to which the cache is Ready.
	MaxStaleness time.Duration
}

// ChangeKind says why an entry changed.
type ChangeKind string

const (
	NodeAppeared ChangeKind = "appeared"
	NodeUpdated  ChangeKind = "updated"
	// NodeReplaced is another incarnation under the same name.
	NodeReplaced     ChangeKind = "replaced"
	NodeDeregistered ChangeKind = "deregistered"
	NodeExpired      ChangeKind = "expired"
)

// Change is one visible change of a Cache. Node is the new content, or the last one of a node that left.
type Change struct {
	Kind ChangeKind
	Node Node
}

// Cache decides which nodes are alive from what a reader saw of the control plane. It is pure: it does no I/O, reads no
// clock and is not safe for concurrent use. Every time given to it is a reading of the reader's own monotonic clock
// since an arbitrary origin, never less than the one before; nothing in it is ever compared with a time written by
// another machine.
//
// The life of an entry:
//
//	           put                      replace begun > lease after the
//	(absent) ───────► live ───┐ put     last renewal shows the same version
//	    ▲               │ ▲   │ renews  ───────────────► expired
//	    │ replace       │ └───┘                             │ put with a
//	    │ lacks it      │ delete                            │ newer version
//	    └── deleted ◄───┘          live ◄───────────────────┘
//
// Two rules keep a sick control plane from taking nodes away. First, only a full replace expires an entry: silence of a
// watch is no evidence, it may be the watch that died. Second, when nothing was heard from the control plane for Outage,
// the next sign of life gives every entry a whole new lease, since the nodes could not renew either. For the same reason
// a key that a replace lacks is not deleted but left to its lease: the control plane may have come back empty.
//
// With ServerLeases every sign of life renews all entries but the lapsed ones. An entry lapses when the control plane says
// that its lease ran out; then it is expired by the next replace that lacks it, unless an outage ended less than a lease
// ago, in which nodes could not renew. It lapses too when a replace lacks it and nobody said why; then it has a lease left.
type Cache struct {
	cfg     CacheConfig
	entries map[Key]*cacheEntry
	// contact is when the control plane last proved to be answering with everything it has.
	contact time.Duration
	// recovered is when the last outage ended, or the first sync came.
	recovered  time.Duration
	generation uint64 // of the last listing
	// replaced is when the last full replace was applied.
	replaced time.Duration
	synced   bool
}

type cacheEntry struct {
	node    Node
	version Version
	renewed time.Duration
	// lapsed says that the control plane no longer vouches for the entry; with ServerLeases only.
	lapsed bool
	// gone marks an expired or deleted entry. It is kept until the next replace, so that the same or an older record,
	// seen late, does not bring the node back.
	gone bool
}

// NewCache returns an empty cache that has not been synced.
func NewCache(cfg CacheConfig) *Cache {
	return &Cache{cfg: cfg, entries: make(map[Key]*cacheEntry)}
}

// Observe applies one event of a watch, seen at now.
func (c *Cache) Observe(now time.Duration, o Observation) []Change {
	c.touch(now)
	return c.apply(nil, now, o)
}

// Contact takes in a sign of life, seen at now, that brings no news: the control plane answers and the watch missed nothing.
func (c *Cache) Contact(now time.Duration) { c.touch(now) }

// Replace applies a complete listing of the control plane that was asked for at began and complete at now.
func (c *Cache) Replace(began, now time.Duration, l Listing) []Change {
	vouched := c.contact
	c.touch(now)
	if !c.synced || l.Generation != c.generation {
		c.recover(now)
	}
	c.synced, c.replaced, c.generation = true, now, l.Generation
	var changes []Change
	listed := make(map[Key]struct{}, len(l.Observations))
	for _, o := range l.Observations {
		listed[o.Key] = struct{}{}
		changes = c.apply(changes, now, o)
	}
	for key, e := range c.entries {
		_, inListing := listed[key]
		if c.cfg.ServerLeases && !inListing && !e.gone && !e.lapsed {
			e.lapsed, e.renewed = true, max(vouched, c.recovered)
		}
		switch {
		case !e.gone && c.leaseOver(e, began) && !(c.cfg.ServerLeases && inListing):
			e.gone = true
			changes = append(changes, Change{NodeExpired, e.node})
			if !inListing {
				delete(c.entries, key)
			}
		case e.gone && !inListing:
			delete(c.entries, key)
		}
	}
	slices.SortFunc(changes, func(a, b Change) int { return compareKeys(a.Node.Key(), b.Node.Key()) })
	return changes
}

// leaseOver says that nothing renewed the entry for longer than a lease.
func (c *Cache) leaseOver(e *cacheEntry, at time.Duration) bool {
	return (e.lapsed || !c.cfg.ServerLeases) && at-e.renewed > c.cfg.Lease
}

// touch records a sign of life and ends an outage.
func (c *Cache) touch(now time.Duration) {
	if now-c.contact > c.cfg.Outage {
		c.recover(now)
	}
	c.contact = now
}

// recover gives every entry a whole lease, because nodes could not renew or because the control plane lost what they did.
func (c *Cache) recover(now time.Duration) {
	c.recovered = now
	for _, e := range c.entries {
		e.renewed = now
	}
}

// apply takes in one observation if it is newer than what is known of its key.
func (c *Cache) apply(changes []Change, now time.Duration, o Observation) []Change {
	e, known := c.entries[o.Key]
	if known && o.Version.Compare(e.version) <= 0 {
		// Listed again although it was missing: the listing that lacked it was asked for before it was written.
		e.lapsed = e.lapsed && o.Version != e.version
		return changes
	}
	switch {
	case o.Lapsed && known:
		e.version, e.lapsed, e.renewed = o.Version, true, c.recovered
		return changes
	case o.Lapsed:
		return changes
	case o.Deleted && known && !e.gone:
		changes = append(changes, Change{NodeDeregistered, e.node})
	case o.Deleted:
	case !known || e.gone:
		changes = append(changes, Change{NodeAppeared, o.Node})
	case e.node.Incarnation != o.Node.Incarnation:
		changes = append(changes, Change{NodeReplaced, o.Node})
	case e.node != o.Node:
		changes = append(changes, Change{NodeUpdated, o.Node})
	}
	c.entries[o.Key] = &cacheEntry{node: o.Node, version: o.Version, renewed: now, gone: o.Deleted}
	return changes
}

// RefreshDue says whether a full replace should be fetched now: never synced, the period is over, the control plane has
// been silent, or a lease has run out and wants confirming.
func (c *Cache) RefreshDue(now time.Duration) bool {
	if !c.synced || now-c.replaced >= c.cfg.RefreshEvery || now-c.contact >= c.cfg.Quiet {
		return true
	}
	for _, e := range c.entries {
		if !e.gone && c.leaseOver(e, now) {
			return true
		}
	}
	return false
}

// Age is the time since the cache was last known to be complete; before the first sync, since the clock's origin.
func (c *Cache) Age(now time.Duration) time.Duration {
	if !c.synced {
		return now
	}
	return now - c.contact
}

// Synced says that the cache was complete once.
func (c *Cache) Synced() bool { return c.synced }

// Ready says that the cache was synced once and is at most MaxStaleness old.
func (c *Cache) Ready(now time.Duration) bool {
	return c.synced && c.Age(now) <= c.cfg.MaxStaleness
}

// Live returns the live nodes, sorted by DC, service and name.
func (c *Cache) Live() []Node {
	var nodes []Node
	for _, key := range slices.SortedFunc(maps.Keys(c.entries), compareKeys) {
		if e := c.entries[key]; !e.gone {
			nodes = append(nodes, e.node)
		}
	}
	return nodes
}
