// Package storm sends a herd of clients to a gateway at once and watches those who are there already.
package storm

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
)

var (
	herd   = flag.Int("storm.clients", 1500, "how many clients lose their gateway at once; 10,000 for figures worth comparing")
	stayed = flag.Int("storm.stayed", 200, "how many publish through the other gateway meanwhile, each in a room of its own that the herd is spread over")
	pace   = flag.Duration("storm.pace", time.Second, "how often each of them publishes")
	calm   = flag.Duration("storm.calm", 10*time.Second, "how long to measure before the storm and after it")
)

// patience bounds every wait, on a machine that builds and tests other things at the same time.
const patience = 5 * time.Minute

// TestStorm: a gateway is killed, and its clients all go to the other one. All of them resume, no message is missed or
// repeated (S5), and those who were there already get every publish answered in time (L1) and keep their connections.
func TestStorm(t *testing.T) {
	r := run(t)
	t.Log(r)
}

// BenchmarkStorm is the same with figures: go test ./e2e/storm -run '^$' -bench Storm -benchtime 1x -storm.clients 10000.
func BenchmarkStorm(b *testing.B) {
	for range b.N {
		r := run(b)
		b.Log(r)
		b.ReportMetric(milliseconds(r.before.at(0.99)), "p99-before-ms")
		b.ReportMetric(milliseconds(r.during.at(0.99)), "p99-storm-ms")
		b.ReportMetric(milliseconds(r.during.at(0.99))/milliseconds(r.before.at(0.99)), "p99-ratio")
		b.ReportMetric(r.back.at(0.99).Seconds(), "p99-back-s")
	}
}

// result is what a run measured.
type result struct {
	before, during, after, back times
	messages                    int64
}

func (r *result) String() string {
	return fmt.Sprintf("publishes of %d who stayed: before %s; during the storm %s; after %s. %d clients were back after %s; %d messages reached them",
		*stayed, &r.before, &r.during, &r.after, *herd, &r.back, r.messages)
}

func run(tb testing.TB) *result {
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	postgres := harness.StartCluster(tb)
	harness.Migrate(tb, postgres.URL())
	nats := harness.NewNATS(tb)
	nats.Start()
	d := &harness.Deployment{JournalURL: postgres.URL(), ControlPlaneURL: nats.URL()}
	gateways, rooms := d.NewNodes(tb, harness.Gateway, 2), d.NewNodes(tb, harness.Rooms, 2)
	for _, n := range append(rooms, gateways...) {
		n.Start()
	}
	for _, n := range append(rooms, gateways...) {
		require.NoError(tb, n.AwaitReady(ctx))
	}

	publishers := make([]*publisher, *stayed)
	var err error
	for i := range publishers {
		publishers[i], err = newPublisher(ctx, tb, gateways[1].WebSocket(), roomName(i))
		require.NoError(tb, err)
	}
	members := gather(ctx, tb, gateways[0].WebSocket(), gateways[1].WebSocket())
	tb.Logf("%d clients are in %d rooms", len(members), *stayed)

	r := &result{}
	measuring, stop := context.WithCancel(ctx)
	defer stop()
	var phase atomic.Pointer[times]
	phase.Store(&times{})
	var all sync.WaitGroup
	for i, p := range publishers {
		all.Go(func() { p.run(measuring, time.Duration(i)**pace/time.Duration(*stayed), &phase) })
	}
	sleep(ctx, *calm/2) // until everything is warm
	phase.Store(&r.before)
	sleep(ctx, *calm)
	phase.Store(&r.during)
	begun := time.Now()
	gateways[0].Kill9()
	for _, m := range members {
		require.NoError(tb, m.awaitReturn(ctx, begun))
		r.back.add(m.returned)
	}
	sleep(ctx, time.Until(begun.Add(3*time.Second)))
	phase.Store(&r.after)
	sleep(ctx, *calm)
	phase.Store(&times{})
	stop()
	all.Wait()

	last := map[string]uint64{}
	for _, p := range publishers {
		require.NoError(tb, p.failed, "of one who stayed")
		require.Less(tb, p.slowest, 5*time.Second, "L1")
		require.Zero(tb, p.lost.Load(), "one who stayed lost its connection")
		last[p.room.ID()] = p.last
	}
	for _, m := range members {
		require.NoError(tb, m.caughtUp(ctx, last[m.room.ID()]), "S5")
		r.messages += m.got.Load()
	}
	return r
}

func roomName(i int) string { return fmt.Sprintf("room-%d", i) }

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

var errRepeat = errors.New("a gap or a repeat")
