package durability

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
	"github.com/parley-rt/parley/e2e/history"
)

// writableWithin is how soon a room takes publishes again after its journal does (L3).
const writableWithin = 10 * time.Second

// outage is one time that the journal is away.
type outage struct {
	after time.Duration // of traffic
	down  time.Duration
	// paused: its processes are stopped for that long, not killed.
	paused bool
	// again: it is killed once more, that long after it was back, before anybody has settled down.
	again time.Duration
}

func (o outage) String() string {
	if o.paused {
		return fmt.Sprintf("paused for %v", o.down.Round(time.Millisecond))
	}
	if o.again > 0 {
		return fmt.Sprintf("killed for %v, and again %v later", o.down.Round(time.Millisecond), o.again.Round(time.Millisecond))
	}
	return fmt.Sprintf("killed for %v", o.down.Round(time.Millisecond))
}

// each is how many outages have one of every kind.
const each = 7

// outages draws n of them. Of each seven, one is a pause and one lasts longer than a publish may wait for its answer.
func outages(n int, random *rand.Rand) []outage {
	between := func(low, high time.Duration) time.Duration {
		return low + time.Duration(random.Int64N(int64(high-low)))
	}
	plan := make([]outage, 0, n)
	for len(plan) < n {
		seven := make([]outage, each)
		for i := range seven {
			seven[i] = outage{after: between(0, 700*time.Millisecond), down: between(200*time.Millisecond, 4*time.Second)}
			if random.IntN(3) == 0 {
				seven[i].again = between(time.Millisecond, 400*time.Millisecond)
			}
		}
		order := random.Perm(len(seven))
		pause, long := &seven[order[0]], &seven[order[1]]
		pause.paused, pause.again, pause.down = true, 0, between(3*time.Second, 6*time.Second)
		long.down = between(6*time.Second, 8*time.Second)
		plan = append(plan, seven...)
	}
	return plan[:n]
}

// S1 to S5 and L1 to L3 while it is the journal's server that is killed, and paused, under a process that lives on. Publishes are
// answered in time also while it is away, by an error if need be; nobody loses a connection to it; and once it is back
// everything goes on by itself, with nothing lost of what was acknowledged. Readers that lose their connections for another
// reason come back where they were.
//
// PARLEY_E2E_OUTAGES sets how often (default 7), PARLEY_E2E_SEED the random moments.
func TestNothingIsLostWhilePostgresIsAway(t *testing.T) {
	count := environment(t, "PARLEY_E2E_OUTAGES", 7)
	seed := environment(t, "PARLEY_E2E_SEED", int(time.Now().UnixNano()%1_000_000))
	t.Logf("%d outages, seed %d", count, seed)
	cluster := harness.StartCluster(t)
	server := harness.StartDev(t, "--journal", cluster.URL())
	load := startLoad(t, server.WebSocket(), 4, 3)
	travelers := load.travelers(t)
	for _, o := range outages(count, rand.New(rand.NewPCG(uint64(seed), 0))) {
		load.awaitProgress(t)
		wait(t, o.after)
		// Half of them resume while the server goes away, the others while it is away.
		reconnect(travelers[:len(travelers)/2])
		takeAway(t, cluster, o, func() { reconnect(travelers[len(travelers)/2:]) })
		load.recovers(t, o, time.Now())
	}
	load.finish(t)
	for _, s := range load.sessions {
		require.EqualValues(t, 1, s.opened.Load(), "%s lost its connection", s.member)
	}
	for _, r := range travelers {
		require.Greater(t, r.opened.Load(), int64(1), "%s has not travelled", r.member)
	}
	if count >= each {
		require.NotZero(t, load.refused(), "nothing was answered by an error in an outage that is longer than any answer may take")
	}
}

// takeAway returns when the cluster is back; halfway is called in the middle.
func takeAway(t *testing.T, cluster *harness.Cluster, o outage, halfway func()) {
	t.Helper()
	if o.paused {
		cluster.Pause()
	} else {
		cluster.Kill9()
	}
	wait(t, o.down/2)
	halfway()
	wait(t, o.down/2)
	if o.paused {
		cluster.Resume()
		return
	}
	cluster.Start()
	if o.again > 0 {
		wait(t, o.again)
		cluster.Kill9()
		cluster.Start()
	}
}

// travelers are readers that change their connections, one of each room.
func (l *load) travelers(t *testing.T) []*reader {
	t.Helper()
	var list []*reader
	for _, h := range l.histories {
		r := newReader("traveler", l.url, h)
		r.patient = true
		list, l.readers = append(list, r), append(l.readers, r)
		l.read.Go(func() { r.run(t.Context()) })
	}
	return list
}

// refused is how many attempts to publish were answered by an error.
func (l *load) refused() int {
	total := 0
	for _, h := range l.histories {
		for _, c := range h.Record().Chains {
			for _, a := range c.Attempts {
				if a.Outcome == history.Refused {
					total++
				}
			}
		}
	}
	return total
}

func reconnect(readers []*reader) {
	for _, r := range readers {
		r.reconnect()
	}
}

// recovers requires that every room takes publishes again and every reader reaches its head, in time after the journal was
// back, and that nothing wrong has been seen so far.
func (l *load) recovers(t *testing.T, o outage, back time.Time) {
	t.Helper()
	ctx, cancel := context.WithDeadline(t.Context(), back.Add(writableWithin))
	defer cancel()
	heads, nexts := make([]uint64, len(l.histories)), make([]<-chan history.Acked, len(l.histories))
	for i, h := range l.histories {
		heads[i], nexts[i] = h.Highest(), h.Next()
	}
	l.reach(t, heads, back) // what was acknowledged before
	var first, last time.Duration
	for i, h := range l.histories {
		select {
		case a := <-nexts[i]:
			took := a.At - l.clock() + time.Since(back)
			if i == 0 {
				first = took
			}
			first, last = min(first, took), max(last, took)
			heads[i] = a.Seq
		case <-ctx.Done():
			require.FailNow(t, "no publish was acknowledged again in time (L3)", "%s after it was %s", h.Room(), o)
		}
	}
	l.reach(t, heads, back.Add(last))
	t.Logf("%s: rooms writable %v to %v after, readers at the head %v after; %d publishes refused so far", o,
		first.Round(time.Millisecond), last.Round(time.Millisecond), time.Since(back).Round(time.Millisecond), l.refused())
	for _, h := range l.histories {
		require.Empty(t, h.Noted())
	}
}

// reach waits until all readers have the heads, in time after since (L2).
func (l *load) reach(t *testing.T, heads []uint64, since time.Time) {
	t.Helper()
	ctx, cancel := context.WithDeadline(t.Context(), since.Add(answerWithin))
	defer cancel()
	for i, h := range l.histories {
		for _, r := range l.readers {
			if r.h == h {
				require.NoError(t, r.await(ctx, heads[i]), "L2")
			}
		}
	}
}
