package roomhost

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/services/rooms/internal/room"
)

// Rooms that were handed over go first, then those that clients ask for, in the order in which they were asked for.
func TestStartQueue(t *testing.T) {
	t.Parallel()
	var q startQueue
	slots := map[string]*slot{}
	push := func(id string, u urgency) {
		slots[id] = &slot{roomID: id}
		q.push(slots[id], u)
	}
	push("heard-1", subscribedOnly)
	push("heard-2", subscribedOnly)
	push("asked-1", askedFor)
	push("asked-2", askedFor)
	push("given", givenFirst)
	q.raise(slots["heard-2"], askedFor)
	q.raise(slots["given"], subscribedOnly)
	require.Equal(t, 5, q.len())
	for i, want := range []string{"given", "asked-1", "asked-2", "heard-2", "heard-1"} {
		if i > 0 {
			require.NotEqual(t, givenFirst, q.first())
		} else {
			require.Equal(t, givenFirst, q.first())
		}
		s := q.pop()
		require.Equal(t, want, s.roomID)
		s.state = starting
	}
	require.Nil(t, q.pop())
	require.Zero(t, q.len())
}

func TestWarmStoreIsBounded(t *testing.T) {
	t.Parallel()
	now := time.Now()
	w := newWarmStore(3, 100, time.Second)
	admit := func(id string, weight int64) bool {
		_, ok := w.admit(id, weight, now)
		return ok
	}
	require.True(t, admit("a", 40))
	require.True(t, admit("a", 40), "it is there")
	require.True(t, admit("b", 60))
	require.False(t, admit("c", 1), "no more bytes")
	require.Nil(t, w.take("b"), "not read yet")
	require.True(t, admit("c", 0))
	require.True(t, admit("d", 0))
	require.False(t, admit("e", 0), "no more rooms")

	// What was taken or dropped while it waited is not read.
	first := w.next()
	require.Equal(t, "a", first.roomID)
	w.ready(first, &room.Warm{}, now)
	require.Equal(t, "c", w.next().roomID)
	require.NotNil(t, w.take("a"))
	require.Nil(t, w.take("a"), "once")

	// What nobody comes for is forgotten.
	d := w.next()
	w.ready(d, &room.Warm{}, now)
	w.expire(now.Add(999 * time.Millisecond))
	require.Contains(t, w.rooms, "d")
	w.expire(now.Add(time.Second))
	require.NotContains(t, w.rooms, "d")
	require.Contains(t, w.rooms, "c", "it is still being read")
	w.expire(now.Add(2 * time.Second))
	require.Empty(t, w.rooms)
	require.Zero(t, w.bytes)
}

func TestPacer(t *testing.T) {
	t.Parallel()
	p := newPacer(32)
	require.Equal(t, 4, p.places(1000, 0))
	for range 1000 {
		p.took(time.Millisecond)
	}
	require.Equal(t, 32, p.places(1000, 0), "short pauses, many at a time")
	for range 32 {
		p.took(time.Second)
	}
	require.Equal(t, 16, p.places(1000, 0), "one step for those that paused together")
	for range 200 {
		p.took(time.Second)
	}
	require.Equal(t, 1, p.places(1000, 0), "long pauses, one after the other")
	require.Equal(t, 20, p.places(100, 5*time.Second), "unless there is no time for that (L5)")
	require.Equal(t, 32, p.places(10_000, time.Second))
}

func ready(names ...string) []dcplane.Node {
	nodes := make([]dcplane.Node, len(names))
	for i, n := range names {
		nodes[i] = dcplane.Node{Service: "rooms", DC: "dc-a", Name: n, Incarnation: "1", State: dcplane.StateReady}
	}
	return nodes
}

func TestSettling(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := newSettling(10 * time.Second)
	require.False(t, s.settled(now), "nothing was seen yet")
	both := ready("a", "b")
	s.observe(now, both)
	require.False(t, s.settled(now.Add(9*time.Second)))
	require.True(t, s.settled(now.Add(10*time.Second)))
	require.True(t, s.trusted("b", now.Add(10*time.Second)))
	for name, changed := range map[string][]dcplane.Node{
		"left":      ready("a"),
		"joined":    ready("a", "b", "c"),
		"drains":    {both[0], {Service: "rooms", DC: "dc-a", Name: "b", Incarnation: "1", State: dcplane.StateDraining}},
		"restarted": {both[0], {Service: "rooms", DC: "dc-a", Name: "b", Incarnation: "2", State: dcplane.StateReady}},
	} {
		s := newSettling(10 * time.Second)
		s.observe(now, both)
		s.observe(now.Add(20*time.Second), both)
		require.True(t, s.settled(now.Add(20*time.Second)), "the same again is no change")
		s.observe(now.Add(21*time.Second), changed)
		require.False(t, s.settled(now.Add(30*time.Second)), name)
		require.True(t, s.settled(now.Add(31*time.Second)), name)
	}
}

// A node that keeps leaving is trusted later and later, and as before once it has stayed.
func TestSettlingDistrustsNodesThatKeepLeaving(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := newSettling(10 * time.Second)
	s.observe(now, ready("a", "b"))
	for n, wait := range []time.Duration{20, 40, 80, 160, 300, 300} {
		now = now.Add(time.Second)
		s.observe(now, ready("a"))
		now = now.Add(time.Second)
		s.observe(now, ready("a", "b"))
		require.False(t, s.trusted("b", now.Add(wait*time.Second-time.Millisecond)), fmt.Sprint(n))
		require.True(t, s.trusted("b", now.Add(wait*time.Second)), fmt.Sprint(n))
		require.True(t, s.trusted("a", now.Add(10*time.Second)))
	}
	now = now.Add(departureKept + 10*time.Second)
	s.observe(now, ready("a", "b"))
	require.True(t, s.trusted("b", now))
	require.Empty(t, s.left)
	require.False(t, s.trusted("c", now), "nobody")
}
