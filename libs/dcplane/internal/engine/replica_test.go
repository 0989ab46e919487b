package engine

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/parley-rt/parley/libs/dcplane"
)

func observation(i int, revision uint64) dcplane.Observation {
	n := dcplane.Node{
		Service: "rooms", DC: fmt.Sprint("dc-", i%3), Name: fmt.Sprintf("rooms-%04d", i), Incarnation: "one",
		Host: "127.0.0.1", RemotingPort: 1, State: dcplane.StateReady, Load: float64(revision),
	}
	return dcplane.Observation{Key: n.Key(), Version: dcplane.Version{Generation: 1, Revision: revision}, Node: n}
}

func fullReplica(nodes int) *replica {
	r := newReplica(Timing{}.WithDefaults().cache(false), func() time.Duration { return time.Second }, slog.New(slog.DiscardHandler))
	listing := make([]dcplane.Observation, nodes)
	for i := range listing {
		listing[i] = observation(i, 1)
	}
	r.replace(0, dcplane.Listing{Generation: 1, Observations: listing}, time.Time{})
	return r
}

// TestRenewalWakesNobody: with hundreds of nodes renewing every second, a wake-up each would be a busy loop.
func TestRenewalWakesNobody(t *testing.T) {
	t.Parallel()
	r := fullReplica(3)
	changed, seen := r.changedChan(), r.view.Load()
	o := observation(1, 1)
	o.Version.Revision = 2
	r.Observe(o)
	require.Same(t, seen, r.view.Load())
	select {
	case <-changed:
		require.FailNow(t, "a renewal without news woke the waiters")
	default:
	}
	r.Observe(observation(1, 3))
	<-changed
}

// TestViewFollowsCache: however the changes arrive, one by one or many at once, the view shows what the cache holds.
func TestViewFollowsCache(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := fullReplica(rapid.IntRange(0, 5).Draw(t, "nodes"))
		for revision := range rapid.Uint64Range(0, 30).Draw(t, "events") {
			o := observation(rapid.IntRange(0, 6).Draw(t, "node"), revision+2)
			if rapid.Bool().Draw(t, "delete") {
				o.Deleted, o.Node = true, dcplane.Node{}
			}
			if rapid.Bool().Draw(t, "replace") {
				r.replace(0, dcplane.Listing{Generation: 1, Observations: []dcplane.Observation{o, observation(7, revision+2)}}, time.Time{})
			} else {
				r.Observe(o)
			}
			require.Equal(t, newView(r.cache.Live()), r.view.Load())
		}
	})
}

func BenchmarkNodes(b *testing.B) {
	r := fullReplica(300)
	b.ReportAllocs()
	for b.Loop() {
		r.nodes("dc-1", "rooms")
	}
}

func BenchmarkLookup(b *testing.B) {
	r := fullReplica(300)
	key := observation(100, 1).Key
	b.ReportAllocs()
	for b.Loop() {
		r.lookup(key)
	}
}

// BenchmarkUpdate is what one node's new load costs every other process.
func BenchmarkUpdate(b *testing.B) {
	r := fullReplica(1000)
	b.ReportAllocs()
	revision := uint64(1)
	for b.Loop() {
		revision++
		r.Observe(observation(100, revision))
	}
}
