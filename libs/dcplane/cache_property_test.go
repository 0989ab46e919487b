package dcplane

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// world simulates nodes that renew every second, a control plane that can be cut off from everybody, lose its content
// and drop watches, and one reader that looks every tick unless it is paused.
type world struct {
	t     *rapid.T
	now   time.Duration
	cache *Cache

	up         bool
	generation uint64
	revision   uint64
	records    map[Key]Observation // deletion markers included

	watching bool
	paused   int           // ticks the reader sleeps
	pending  []Observation // what the watch holds for the paused reader

	alive    map[string]*liveNode
	observed map[Key]time.Duration // last renewal the reader saw, or its last grace
	contact  time.Duration
	lives    int
}

type liveNode struct {
	node Node
	due  time.Duration
	seen bool // by the reader, at least once
}

const worldTick = 250 * time.Millisecond

func (w *world) write(o Observation) {
	w.revision++
	o.Version = Version{w.generation, w.revision}
	w.records[o.Key] = o
	if w.watching {
		w.pending = append(w.pending, o)
	}
}

func (w *world) act(action string) {
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
		if alive && w.up {
			w.write(Observation{Key: n.node.Key(), Deleted: true})
			delete(w.alive, name)
		}
	case "cut":
		w.up, w.watching = false, false
	case "heal":
		w.up = true
	case "heal empty":
		if !w.up {
			w.up, w.records, w.revision = true, make(map[Key]Observation), 0
			w.generation++
		}
	case "drop watch":
		w.watching = false
	case "pause":
		w.paused = rapid.IntRange(1, 40).Draw(w.t, "ticks")
	}
}

// tick moves time and lets nodes and reader do what is due.
func (w *world) tick() {
	w.now += worldTick
	for _, name := range []string{"a", "b", "c"} {
		if n, ok := w.alive[name]; ok && w.up && n.due <= w.now {
			w.write(Observation{Key: n.node.Key(), Node: n.node})
			n.due = w.now + time.Second
		}
	}
	if w.paused > 0 {
		w.paused--
		return
	}
	for _, o := range w.pending {
		w.note(o)
		w.check(w.cache.Observe(w.now, o))
	}
	w.pending = nil
	if w.cache.RefreshDue(w.now) && w.up {
		listing := make([]Observation, 0, len(w.records))
		for _, o := range w.records {
			listing = append(listing, o)
			w.note(o)
		}
		if len(w.records) == 0 {
			w.grace()
		}
		w.check(w.cache.Replace(w.now, w.now, Listing{w.generation, listing}))
		w.watching = true
	}
	for name, n := range w.alive {
		_, live := w.find(n.node)
		n.seen = n.seen || live
		require.Equal(w.t, n.seen, live, "%v: living node %s was seen and is gone", w.now, name)
	}
}

// grace follows the rule that silence longer than Outage restarts every lease.
func (w *world) grace() {
	if w.now-w.contact > testCacheConfig.Outage {
		for k := range w.observed {
			w.observed[k] = w.now
		}
	}
	w.contact = w.now
}

func (w *world) note(o Observation) {
	w.grace()
	if w.lastVersion(o.Key).Compare(o.Version) < 0 {
		w.observed[o.Key] = w.now
	}
}

func (w *world) lastVersion(k Key) Version {
	if e, ok := w.cache.entries[k]; ok {
		return e.version
	}
	return Version{}
}

// check holds every expiry against the lease and the node's real life.
func (w *world) check(changes []Change) {
	for _, c := range changes {
		if c.Kind != NodeExpired {
			continue
		}
		n, alive := w.alive[c.Node.Name]
		require.False(w.t, alive && n.node == c.Node, "%v: living node %s expired", w.now, c.Node.Name)
		require.Greater(w.t, w.now-w.observed[c.Node.Key()], testCacheConfig.Lease, "%v: %s expired early", w.now, c.Node.Name)
	}
}

func (w *world) find(n Node) (Node, bool) {
	live := w.cache.Live()
	i := slices.Index(live, n)
	if i < 0 {
		return Node{}, false
	}
	return live[i], true
}

// TestCacheProperties: living nodes stay, dead ones go no sooner than their lease, and a healthy control plane makes the
// cache equal to the truth within a lease.
func TestCacheProperties(t *testing.T) {
	t.Parallel()
	actions := []string{"start", "start", "crash", "deregister", "cut", "heal", "heal empty", "drop watch", "pause"}
	rapid.Check(t, func(t *rapid.T) {
		w := &world{
			t: t, cache: NewCache(testCacheConfig), up: true, generation: 1, records: make(map[Key]Observation),
			alive: make(map[string]*liveNode), observed: make(map[Key]time.Duration),
		}
		for range rapid.IntRange(1, 40).Draw(t, "actions") {
			w.act(rapid.SampledFrom(actions).Draw(t, "action"))
			for range rapid.IntRange(0, 30).Draw(t, "ticks") {
				w.tick()
			}
		}
		w.up, w.paused = true, 0
		for range int((testCacheConfig.Lease + 3*time.Second) / worldTick) {
			w.tick()
		}
		var truth []Node
		for _, n := range w.alive {
			truth = append(truth, n.node)
		}
		require.ElementsMatch(t, truth, w.cache.Live())
	})
}

// TestCacheOrder: whatever the order and repetition in which observations arrive, the newest of each key counts.
func TestCacheOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := NewCache(testCacheConfig)
		newest := make(map[Key]Observation)
		for range rapid.IntRange(0, 50).Draw(t, "events") {
			n := testNode(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "node"))
			generation, revision := rapid.Uint64Range(1, 2).Draw(t, "generation"), rapid.Uint64Range(1, 20).Draw(t, "revision")
			n.Load = float64(100*generation + revision) // one revision has one content
			o := put(n, generation, revision)
			if (generation+revision)%3 == 0 {
				o = deletion(n, generation, revision)
			}
			c.Observe(0, o)
			if old, ok := newest[o.Key]; !ok || old.Version.Compare(o.Version) < 0 {
				newest[o.Key] = o
			}
		}
		var want []Node
		for _, o := range newest {
			if !o.Deleted {
				want = append(want, o.Node)
			}
		}
		require.ElementsMatch(t, want, c.Live())
	})
}
