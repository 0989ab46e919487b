package dcplane

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var leaseCacheConfig = CacheConfig{
	Lease: 4 * time.Second, ServerLeases: true, Quiet: time.Second, Outage: 1500 * time.Millisecond,
	RefreshEvery: 10 * time.Second, MaxStaleness: 30 * time.Second,
}

func lapse(n Node, generation, revision uint64) Observation {
	return Observation{Key: n.Key(), Version: Version{generation, revision}, Lapsed: true}
}

func TestCacheWithServerLeases(t *testing.T) {
	t.Parallel()
	a, b := testNode("a"), testNode("b")
	type step struct {
		at      float64
		contact bool
		observe []Observation
		replace *Listing
		changes []ChangeKind
		live    []Node
	}
	both := listing(put(a, 1, 1), put(b, 1, 2))
	onlyA, none := listing(put(a, 1, 1)), listing()
	start := step{at: 10, replace: &both, changes: []ChangeKind{NodeAppeared, NodeAppeared}, live: []Node{a, b}}
	// healthy is a time without outage, in which everybody renews.
	healthy := func(from, to float64, live ...Node) (steps []step) {
		for at := from; at < to; at++ {
			steps = append(steps, step{at: at, contact: true, live: live})
		}
		return steps
	}
	for name, steps := range map[string][]step{
		"what is listed lives": slices.Concat([]step{start}, healthy(11, 30, a, b), []step{{at: 30, replace: &both, live: []Node{a, b}}}),
		"what has lapsed is gone with the next replace": slices.Concat([]step{start}, healthy(11, 20, a, b), []step{
			{at: 20, observe: []Observation{lapse(b, 1, 3)}, live: []Node{a, b}},
			{at: 20, replace: &onlyA, changes: []ChangeKind{NodeExpired}, live: []Node{a}},
			{at: 20, observe: []Observation{put(b, 1, 2)}, changes: []ChangeKind{NodeAppeared}, live: []Node{a, b}}, // forgotten
		}),
		"a listing asked for before the lapse does not show it": slices.Concat([]step{start}, healthy(11, 20, a, b), []step{
			{at: 20, observe: []Observation{lapse(b, 1, 3)}, live: []Node{a, b}},
			{at: 20, replace: &both, live: []Node{a, b}},
			{at: 20.1, replace: &onlyA, changes: []ChangeKind{NodeExpired}, live: []Node{a}},
		}),
		"an unknown node may lapse": {
			{at: 10, replace: &onlyA, changes: []ChangeKind{NodeAppeared}, live: []Node{a}},
			{at: 10, observe: []Observation{lapse(b, 1, 3)}, live: []Node{a}},
		},
		"a node that comes back has not lapsed": slices.Concat([]step{start}, healthy(11, 20, a, b), []step{
			{at: 20, observe: []Observation{lapse(b, 1, 3), put(b, 1, 4)}, live: []Node{a, b}},
			{at: 20, replace: &both, live: []Node{a, b}},
		}, healthy(21, 30, a, b)),
		"within a lease after the first sync a lapse waits": slices.Concat([]step{start,
			{at: 10.5, observe: []Observation{lapse(b, 1, 3)}, live: []Node{a, b}}}, healthy(11, 14, a, b), []step{
			{at: 14, replace: &onlyA, live: []Node{a, b}},
			{at: 14.1, replace: &onlyA, changes: []ChangeKind{NodeExpired}, live: []Node{a}},
		}),
		"so it does after an outage": slices.Concat([]step{start}, healthy(11, 20, a, b), []step{
			{at: 40, observe: []Observation{lapse(a, 1, 3), lapse(b, 1, 4)}, live: []Node{a, b}},
			{at: 40.1, replace: &none, live: []Node{a, b}},
			{at: 41, observe: []Observation{put(a, 1, 5)}, live: []Node{a, b}},
		}, healthy(42, 45, a, b), []step{
			{at: 45, replace: &Listing{1, []Observation{put(a, 1, 5)}}, changes: []ChangeKind{NodeExpired}, live: []Node{a}},
		}),
		"what is missing for no known reason has a lease left": slices.Concat([]step{start}, healthy(11, 20, a, b), []step{
			{at: 20, replace: &onlyA, live: []Node{a, b}},
		}, healthy(21, 24, a, b), []step{
			{at: 24.1, replace: &onlyA, changes: []ChangeKind{NodeExpired}, live: []Node{a}},
		}),
		"missing in a listing that was asked for before it was written": slices.Concat([]step{start}, healthy(11, 20, a, b), []step{
			{at: 20, replace: &onlyA, live: []Node{a, b}},
			{at: 20, observe: []Observation{put(b, 1, 2)}, live: []Node{a, b}}, // the watch repeats it
		}, healthy(21, 30, a, b), []step{{at: 30, replace: &both, live: []Node{a, b}}}),
		"content that was lost gives everybody a new lease": slices.Concat([]step{start}, healthy(11, 20, a, b), []step{
			{at: 20, observe: []Observation{lapse(a, 1, 3), lapse(b, 1, 4)}, live: []Node{a, b}},
			{at: 20.1, replace: &Listing{Generation: 2}, live: []Node{a, b}},
			{at: 21, observe: []Observation{put(a, 2, 1)}, live: []Node{a, b}},
		}, healthy(22, 24, a, b), []step{
			{at: 24, replace: &Listing{2, []Observation{put(a, 2, 1)}}, live: []Node{a, b}},
			{at: 24.2, replace: &Listing{2, []Observation{put(a, 2, 1)}}, changes: []ChangeKind{NodeExpired}, live: []Node{a}},
		}),
		"deregistering is at once, and its marker may lapse": {start,
			{at: 10.5, observe: []Observation{deletion(b, 1, 3)}, changes: []ChangeKind{NodeDeregistered}, live: []Node{a}},
			{at: 11, observe: []Observation{lapse(b, 1, 4)}, live: []Node{a}},
			{at: 11, replace: &onlyA, live: []Node{a}},
			{at: 11.5, observe: []Observation{put(b, 1, 5)}, changes: []ChangeKind{NodeAppeared}, live: []Node{a, b}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := NewCache(leaseCacheConfig)
			for i, s := range steps {
				var changes []Change
				if s.contact {
					c.Contact(seconds(s.at))
				}
				if s.replace != nil {
					changes = c.Replace(seconds(s.at), seconds(s.at), *s.replace)
				}
				for _, o := range s.observe {
					changes = append(changes, c.Observe(seconds(s.at), o)...)
				}
				var kinds []ChangeKind
				for _, change := range changes {
					kinds = append(kinds, change.Kind)
				}
				require.Equal(t, s.changes, kinds, "step %d at %v", i, s.at)
				require.Equal(t, s.live, c.Live(), "step %d at %v", i, s.at)
			}
		})
	}
}

func TestCacheAsksForRefreshAfterALapse(t *testing.T) {
	t.Parallel()
	c := NewCache(leaseCacheConfig)
	a := testNode("a")
	c.Replace(seconds(10), seconds(10), listing(put(a, 1, 1)))
	for s := 10.5; s < 20; s += 0.5 {
		c.Contact(seconds(s))
		require.False(t, c.RefreshDue(seconds(s)), "contact is enough at %v", s)
	}
	require.True(t, c.RefreshDue(seconds(20)), "the period is over")
	c.Replace(seconds(20), seconds(20), listing(put(a, 1, 1)))
	require.False(t, c.RefreshDue(seconds(20.9)))
	require.True(t, c.RefreshDue(seconds(21)), "silence")
	c.Contact(seconds(21))
	c.Observe(seconds(21), lapse(a, 1, 2))
	require.True(t, c.RefreshDue(seconds(21)), "a lapse wants confirming")
	c.Observe(seconds(21), put(a, 1, 3))
	require.False(t, c.RefreshDue(seconds(21)), "it came back")

	c.Replace(seconds(22), seconds(22), listing())
	c.Observe(seconds(22), put(a, 1, 3))
	for s := 22.5; s < 30; s += 0.5 {
		c.Contact(seconds(s))
		require.False(t, c.RefreshDue(seconds(s)), "it was written before the listing was asked for")
	}
}

// leaseWorld simulates nodes that keep leases alive every second at a server that removes what is not, and can be cut off
// from everybody, stand still, lose its content and drop watches; and one reader that looks every tick unless it is paused.
type leaseWorld struct {
	t     *rapid.T
	now   time.Duration
	cache *Cache

	reachable, frozen bool
	healed            time.Duration
	generation        uint64
	revision          uint64
	records           map[Key]*leaseRecord

	watching bool
	paused   int           // ticks the reader sleeps
	pending  []Observation // what the watch holds for the paused reader
	probed   time.Duration

	alive   map[string]*liveNode
	renewed map[Key]time.Duration // last renewal at the server
	lives   int
}

type leaseRecord struct {
	o       Observation
	expires time.Duration
}

func (w *leaseWorld) event(o Observation) Observation {
	w.revision++
	o.Version = Version{w.generation, w.revision}
	if w.watching {
		w.pending = append(w.pending, o)
	}
	return o
}

func (w *leaseWorld) act(action string) {
	name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(w.t, "node")
	n, alive := w.alive[name]
	switch action {
	case "start":
		if !alive {
			w.lives++
			fresh := testNode(name)
			fresh.Incarnation = fmt.Sprint(w.lives)
			w.alive[name] = &liveNode{node: fresh, due: w.now}
		}
	case "crash":
		delete(w.alive, name)
	case "deregister":
		if r, stored := w.records[testNode(name).Key()]; alive && w.up() && stored {
			r.o = w.event(Observation{Key: n.node.Key(), Deleted: true})
			delete(w.alive, name)
		}
	case "update":
		if r, stored := w.records[testNode(name).Key()]; alive && w.up() && stored && !r.o.Deleted {
			n.node.Load++
			n.seen = false
			r.o = w.event(Observation{Key: n.node.Key(), Node: n.node})
		}
	case "cut":
		if w.steady() {
			w.reachable, w.watching = false, false
		}
	case "freeze":
		if w.steady() {
			w.frozen = true
		}
	case "heal":
		w.heal()
	case "heal empty":
		w.heal()
		w.watching = false
		w.lose()
	case "wipe": // by hand, on a server that goes on
		if w.up() {
			for _, r := range w.records {
				w.event(Observation{Key: r.o.Key, Lapsed: true})
			}
			w.records = make(map[Key]*leaseRecord)
			w.generation++ // its identity is gone as well; the next to look writes another
		}
	case "drop watch":
		w.watching = false
	case "pause":
		w.paused = rapid.IntRange(1, 40).Draw(w.t, "ticks")
	}
}

// steady says that the nodes had time to renew since the last outage. An etcd that comes and goes faster costs leases.
func (w *leaseWorld) steady() bool { return w.up() && w.now-w.healed > 2*time.Second }

func (w *leaseWorld) heal() {
	if w.up() {
		return
	}
	w.reachable, w.frozen, w.healed = true, false, w.now
	for _, name := range []string{"a", "b", "c"} { // it takes them a while to notice
		if n, ok := w.alive[name]; ok && n.due <= w.now {
			n.due = w.now + time.Duration(rapid.IntRange(0, 3).Draw(w.t, "reconnecting"))*worldTick
		}
	}
}

func (w *leaseWorld) lose() {
	w.records, w.revision, w.pending = make(map[Key]*leaseRecord), 0, nil
	w.generation++
}

func (w *leaseWorld) up() bool { return w.reachable && !w.frozen }

func (w *leaseWorld) tick() {
	w.now += worldTick
	if !w.frozen {
		for key, r := range w.records {
			if r.expires < w.now {
				delete(w.records, key)
				w.event(Observation{Key: key, Lapsed: true})
			}
		}
	}
	for _, name := range []string{"a", "b", "c"} {
		if n, ok := w.alive[name]; ok && w.up() && n.due <= w.now {
			w.renew(n)
		}
	}
	if w.paused > 0 {
		w.paused--
		return
	}
	w.read()
	for name, n := range w.alive {
		live := slices.Contains(w.cache.Live(), n.node)
		n.seen = n.seen || live
		require.Equal(w.t, n.seen, live, "%v: living node %s was seen and is gone", w.now, name)
	}
}

func (w *leaseWorld) renew(n *liveNode) {
	key := n.node.Key()
	n.due, w.renewed[key] = w.now+time.Second, w.now
	r, ok := w.records[key]
	if !ok || r.o.Node != n.node {
		r = &leaseRecord{o: w.event(Observation{Key: key, Node: n.node})}
		w.records[key] = r
	}
	r.expires = w.now + leaseCacheConfig.Lease
}

func (w *leaseWorld) read() {
	if w.frozen {
		return // what is pending is still at the server
	}
	for _, o := range w.pending {
		w.check(w.cache.Observe(w.now, o))
	}
	w.pending = nil
	if w.watching && w.now-w.probed >= 500*time.Millisecond {
		w.probed = w.now
		w.cache.Contact(w.now)
	}
	if w.cache.RefreshDue(w.now) && w.up() {
		l := Listing{Generation: w.generation}
		for _, r := range w.records {
			l.Observations = append(l.Observations, r.o)
		}
		w.check(w.cache.Replace(w.now, w.now, l))
		w.watching = true
	}
}

// check holds every expiry against the lease and the node's real life.
func (w *leaseWorld) check(changes []Change) {
	for _, c := range changes {
		if c.Kind != NodeExpired {
			continue
		}
		n, alive := w.alive[c.Node.Name]
		require.False(w.t, alive && n.node == c.Node, "%v: living node %s expired", w.now, c.Node.Name)
		require.Greater(w.t, w.now-w.renewed[c.Node.Key()], leaseCacheConfig.Lease, "%v: %s expired early", w.now, c.Node.Name)
	}
}

// TestCachePropertiesWithServerLeases: living nodes stay, dead ones go no sooner than their lease, and a healthy control
// plane makes the cache equal to the truth within two leases: its own, and the one that an outage gives everybody.
func TestCachePropertiesWithServerLeases(t *testing.T) {
	t.Parallel()
	actions := []string{
		"start", "start", "crash", "deregister", "update", "cut", "freeze", "heal", "heal empty", "wipe", "drop watch", "pause",
	}
	rapid.Check(t, func(t *rapid.T) {
		w := &leaseWorld{
			t: t, cache: NewCache(leaseCacheConfig), reachable: true, generation: 1, records: make(map[Key]*leaseRecord),
			alive: make(map[string]*liveNode), renewed: make(map[Key]time.Duration),
		}
		for range rapid.IntRange(1, 40).Draw(t, "actions") {
			w.act(rapid.SampledFrom(actions).Draw(t, "action"))
			for range rapid.IntRange(0, 30).Draw(t, "ticks") {
				w.tick()
			}
		}
		w.heal()
		w.paused = 0
		for range int((2*leaseCacheConfig.Lease + 3*time.Second) / worldTick) {
			w.tick()
		}
		var truth []Node
		for _, n := range w.alive {
			truth = append(truth, n.node)
		}
		require.ElementsMatch(t, truth, w.cache.Live())
	})
}
