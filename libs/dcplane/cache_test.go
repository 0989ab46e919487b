package dcplane

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var testCacheConfig = CacheConfig{
	Lease: 4 * time.Second, Quiet: time.Second, Outage: 2 * time.Second, RefreshEvery: 10 * time.Second, MaxStaleness: 30 * time.Second,
}

func testNode(name string) Node {
	return Node{
		Service: "rooms", DC: "dc-a", Name: name, Incarnation: "one", Host: "127.0.0.1", RemotingPort: 4000, State: StateReady,
	}
}

func put(n Node, generation, revision uint64) Observation {
	return Observation{Key: n.Key(), Version: Version{generation, revision}, Node: n}
}

func deletion(n Node, generation, revision uint64) Observation {
	return Observation{Key: n.Key(), Version: Version{generation, revision}, Deleted: true}
}

// listing has the generation of its first observation.
func listing(o ...Observation) Listing {
	l := Listing{Generation: 1, Observations: o}
	if len(o) > 0 {
		l.Generation = o[0].Version.Generation
	}
	return l
}

// seconds makes the tables below readable.
func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func TestCache(t *testing.T) {
	t.Parallel()
	a, b := testNode("a"), testNode("b")
	a2 := a
	a2.Incarnation = "two"
	full := a
	full.Load = 1

	type step struct {
		at      float64
		observe []Observation
		replace []Observation // nil: no replace
		changes []ChangeKind
		live    []Node
	}
	none := []Observation{}
	for name, steps := range map[string][]step{
		"put and delete": {
			{at: 0, replace: none},
			{at: 1, observe: []Observation{put(a, 1, 1)}, changes: []ChangeKind{NodeAppeared}, live: []Node{a}},
			{at: 1, observe: []Observation{put(a, 1, 2)}, live: []Node{a}},
			{at: 1, observe: []Observation{put(full, 1, 3)}, changes: []ChangeKind{NodeUpdated}, live: []Node{full}},
			{at: 1, observe: []Observation{deletion(a, 1, 4)}, changes: []ChangeKind{NodeDeregistered}},
			{at: 1, observe: []Observation{deletion(b, 1, 5)}},
		},
		"older and repeated events change nothing": {
			{at: 0, replace: none},
			{at: 1, observe: []Observation{put(full, 1, 5)}, changes: []ChangeKind{NodeAppeared}, live: []Node{full}},
			{at: 1, observe: []Observation{put(a, 1, 4), put(a, 1, 5), deletion(a, 1, 3)}, live: []Node{full}},
			{at: 1, observe: []Observation{deletion(a, 1, 9), put(a, 1, 8)}, changes: []ChangeKind{NodeDeregistered}},
			{at: 1, observe: []Observation{put(a, 1, 10)}, changes: []ChangeKind{NodeAppeared}, live: []Node{a}},
		},
		"a new generation is newer whatever its revisions": {
			{at: 0, replace: []Observation{put(full, 1, 1000)}, changes: []ChangeKind{NodeAppeared}, live: []Node{full}},
			{at: 1, observe: []Observation{put(a, 2, 1)}, changes: []ChangeKind{NodeUpdated}, live: []Node{a}},
			{at: 1, observe: []Observation{put(full, 1, 1001)}, live: []Node{a}},
		},
		"a new incarnation replaces at once": {
			{at: 0, replace: []Observation{put(a, 1, 1)}, changes: []ChangeKind{NodeAppeared}, live: []Node{a}},
			{at: 1, observe: []Observation{put(a2, 1, 2)}, changes: []ChangeKind{NodeReplaced}, live: []Node{a2}},
		},
		"only a replace expires, and only past the lease": {
			{at: 0, replace: []Observation{put(a, 1, 1), put(b, 1, 2)}, changes: []ChangeKind{NodeAppeared, NodeAppeared}, live: []Node{a, b}},
			{at: 1.5, observe: []Observation{put(b, 1, 3)}, live: []Node{a, b}},
			{at: 3, observe: []Observation{put(b, 1, 4)}, live: []Node{a, b}},
			{at: 4, replace: []Observation{put(a, 1, 1), put(b, 1, 4)}, live: []Node{a, b}},
			{at: 4.1, observe: []Observation{put(b, 1, 5)}, live: []Node{a, b}},
			{at: 4.2, replace: []Observation{put(a, 1, 1), put(b, 1, 5)}, changes: []ChangeKind{NodeExpired}, live: []Node{b}},
			{at: 4.3, replace: []Observation{put(a, 1, 1), put(b, 1, 5)}, live: []Node{b}},
			{at: 4.4, observe: []Observation{put(a, 1, 1)}, live: []Node{b}},
			{at: 4.5, observe: []Observation{put(a, 1, 6)}, changes: []ChangeKind{NodeAppeared}, live: []Node{a, b}},
		},
		"a replace renews": {
			{at: 0, replace: []Observation{put(a, 1, 1)}, changes: []ChangeKind{NodeAppeared}, live: []Node{a}},
			{at: 1.5, replace: []Observation{put(a, 1, 1)}, live: []Node{a}},
			{at: 3, replace: []Observation{put(a, 1, 1)}, live: []Node{a}},
			{at: 5, replace: []Observation{put(a, 1, 2)}, live: []Node{a}},
			{at: 7, replace: []Observation{put(a, 1, 2)}, live: []Node{a}},
			{at: 9, replace: []Observation{put(a, 1, 2)}, live: []Node{a}},
			{at: 9.1, replace: []Observation{put(a, 1, 2)}, changes: []ChangeKind{NodeExpired}},
		},
		"a replace shows missed deletions, but absence is left to the lease": {
			{at: 0, replace: []Observation{put(a, 1, 1), put(b, 1, 2)}, changes: []ChangeKind{NodeAppeared, NodeAppeared}, live: []Node{a, b}},
			{at: 1, replace: []Observation{deletion(a, 1, 3)}, changes: []ChangeKind{NodeDeregistered}, live: []Node{b}},
			{at: 2.5, replace: none, live: []Node{b}},
			{at: 4, replace: none, live: []Node{b}},
			{at: 4.1, replace: none, changes: []ChangeKind{NodeExpired}},
		},
		"an outage gives everybody a new lease": {
			{at: 0, replace: []Observation{put(a, 1, 1)}, changes: []ChangeKind{NodeAppeared}, live: []Node{a}},
			{at: 100, replace: []Observation{put(a, 1, 1)}, live: []Node{a}},
			{at: 102, replace: []Observation{put(a, 1, 1)}, live: []Node{a}},
			{at: 104, replace: []Observation{put(a, 1, 1)}, live: []Node{a}},
			{at: 104.1, replace: []Observation{put(a, 1, 1)}, changes: []ChangeKind{NodeExpired}},
		},
		"so does an outage after which everything is gone": {
			{at: 0, replace: []Observation{put(a, 1, 1)}, changes: []ChangeKind{NodeAppeared}, live: []Node{a}},
			{at: 100, replace: none, live: []Node{a}},
			{at: 101, observe: []Observation{put(a, 2, 1)}, live: []Node{a}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := NewCache(testCacheConfig)
			for i, s := range steps {
				var changes []Change
				if s.replace != nil {
					changes = c.Replace(seconds(s.at), seconds(s.at), listing(s.replace...))
				}
				for _, o := range s.observe {
					changes = append(changes, c.Observe(seconds(s.at), o)...)
				}
				var kinds []ChangeKind
				for _, change := range changes {
					kinds = append(kinds, change.Kind)
				}
				require.Equal(t, s.changes, kinds, "step %d", i)
				require.Equal(t, s.live, c.Live(), "step %d", i)
			}
		})
	}
}

// TestCacheCountsFromTheQuestion: a listing asked for before the lease ran out proves nothing about its end, however
// late it arrives.
func TestCacheCountsFromTheQuestion(t *testing.T) {
	t.Parallel()
	c := NewCache(testCacheConfig)
	a := testNode("a")
	c.Replace(0, 0, listing(put(a, 1, 1)))
	c.Replace(seconds(2), seconds(2), listing(put(a, 1, 1)))
	require.Empty(t, c.Replace(seconds(3.9), seconds(4), listing(put(a, 1, 1))))
	require.Len(t, c.Live(), 1)
	require.Len(t, c.Replace(seconds(4.1), seconds(5), listing(put(a, 1, 1))), 1)
}

func TestCacheAsksForRefresh(t *testing.T) {
	t.Parallel()
	c := NewCache(testCacheConfig)
	a, b := testNode("a"), testNode("b")
	require.True(t, c.RefreshDue(0), "never synced")
	c.Replace(0, 0, listing(put(a, 1, 1), put(b, 1, 2)))
	require.False(t, c.RefreshDue(seconds(0.9)))
	require.True(t, c.RefreshDue(seconds(1)), "silence")
	revision := uint64(2)
	for s := 0.5; s <= 4; s += 0.5 {
		revision++
		c.Observe(seconds(s), put(b, 1, revision))
	}
	require.False(t, c.RefreshDue(seconds(4)))
	require.True(t, c.RefreshDue(seconds(4.1)), "the lease of a has run out")
	c.Replace(seconds(4.1), seconds(4.1), listing(put(a, 1, 1), put(b, 1, revision)))
	require.False(t, c.RefreshDue(seconds(4.1)))
	for s := 4.5; s <= 14; s += 0.5 {
		revision++
		c.Observe(seconds(s), put(b, 1, revision))
	}
	require.False(t, c.RefreshDue(seconds(14)))
	require.True(t, c.RefreshDue(seconds(14.1)), "the period is over")
}

func TestCacheAge(t *testing.T) {
	t.Parallel()
	c := NewCache(testCacheConfig)
	require.False(t, c.Ready(0))
	require.Equal(t, seconds(3), c.Age(seconds(3)))
	c.Replace(seconds(3), seconds(4), listing())
	require.Zero(t, c.Age(seconds(4)))
	c.Observe(seconds(5), put(testNode("a"), 1, 1))
	require.True(t, c.Ready(seconds(35)))
	require.Equal(t, seconds(30), c.Age(seconds(35)))
	require.False(t, c.Ready(seconds(35.1)))
}
