package storm

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
	"github.com/parley-rt/parley/sdk/go"
)

const (
	// watching is how many only listen, half of them at each gateway; churnRounds is how often a tenth of the crowd leaves and comes.
	watching, churnRounds = 20, 5
	// presenceIn is how soon presence is right after a change; slack is for a busy machine.
	presenceIn, slack = 5 * time.Second, 5 * time.Second
	// framesAReport is how many frames about comings a room causes at most, twice a second, and namedAReport how many it names.
	framesAReport, namedAReport = 25_000, 200
)

// BenchmarkFullRoom has everybody in one room that tells who comes and goes, over two gateways. A tenth of them leave and join
// again, five times; then one gateway is killed. Nobody may be flooded, presence must be right at both gateways in time, and
// publishes in the room must be answered (L1), with nothing missed or repeated (S5). See docs/benchmarks.md.
func BenchmarkFullRoom(b *testing.B) {
	for range b.N {
		r := runFull(b)
		b.Log(r)
		b.ReportMetric(milliseconds(r.before.took.at(0.99)), "p99-before-ms")
		b.ReportMetric(milliseconds(r.during.took.at(0.99)), "p99-churn-ms")
		b.ReportMetric(float64(r.peak.frames), "peak-events/s")
		b.ReportMetric(float64(r.peak.bytes), "peak-B/s")
		b.ReportMetric(r.counted.Seconds(), "all-back-s")
	}
}

// fullResult is what a run measured.
type fullResult struct {
	members                 int
	gathered, churned       time.Duration
	before, during, fault   phase
	churn                   []told // each watcher
	peak                    told   // the most in a second
	right                   [2]time.Duration
	fell, counted, newcomer time.Duration
	back                    times
	calmCores, churnCores   [2]float64 // of gateways and rooms
}

func (r *fullResult) String() string {
	of := func(p *phase) string {
		return fmt.Sprintf("%s (p99 of a sync of the disk %s, of the publisher's own delay %s)", &p.took, round(p.disk.at(0.99)), round(p.late.at(0.99)))
	}
	w := r.churn[0]
	return fmt.Sprintf("%d members, all there after %s\npublishes before: %s\nin the churn of %s: %s\nin the fault: %s\n"+
		"a watcher in the churn: %d events, %d B; %d joined and %d left by them; at most %d events and %d B in a second\n"+
		"presence right after the churn: %s and %s; half of them, after the kill: %s; all again: %s; at the gateway that came back: %s\n"+
		"clients were back: %s\ncores before and in the churn: gateways %.2f, %.2f, rooms %.2f, %.2f",
		r.members, round(r.gathered), of(&r.before), round(r.churned), of(&r.during), of(&r.fault),
		w.frames, w.bytes, w.joined, w.left, r.peak.frames, r.peak.bytes,
		round(r.right[0]), round(r.right[1]), round(r.fell), round(r.counted), round(r.newcomer), &r.back,
		r.calmCores[0], r.churnCores[0], r.calmCores[1], r.churnCores[1])
}

func runFull(tb testing.TB) *fullResult {
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	gateways, rooms := deploy(ctx, tb)
	p, err := newPublisher(ctx, tb, gateways[1].WebSocket(), fullRoom)
	require.NoError(tb, err)
	tellWhoComes(ctx, tb, rooms[0])
	// The event of that is not in the chain of prev_seq, which begins here for everybody.
	_, err = p.room.Publish(ctx, "hello", parley.PublishOptions{})
	require.NoError(tb, err)
	asker := [2]*watcher{newWatcher(tb, gateways[0]), newWatcher(tb, gateways[1])}
	var watchers listeners
	for i := range watching {
		watchers = append(watchers, newWatcher(tb, gateways[i%2]))
	}
	others := len(asker) + watching + 1

	r := &fullResult{members: *clients + others}
	begun := time.Now()
	h := startHerd(tb, gateways[0].WebSocket()+","+gateways[1].WebSocket(), fullVariable+"=1")
	require.Equal(tb, *clients, h.report().Gathered)
	r.gathered = time.Since(begun)
	for _, w := range asker {
		w.sees(tb, r.members, "all are there", presenceIn+slack)
	}

	measuring, stop := context.WithCancel(ctx)
	defer stop()
	var now atomic.Pointer[phase]
	now.Store(&phase{})
	var all sync.WaitGroup
	all.Go(func() { p.run(measuring, 0, &now) })
	all.Go(func() {
		if err := watchDisk(measuring, now.Load); err != nil {
			tb.Errorf("write to the disk: %v", err)
		}
	})
	sleep(ctx, *calm/2) // until everything is warm
	usage := func() (used [2]float64) {
		for i := range 2 {
			used[0] += cpu(tb, gateways[i]).Seconds()
			used[1] += cpu(tb, rooms[i]).Seconds()
		}
		return used
	}
	cores := func(then [2]float64, took time.Duration) (busy [2]float64) {
		for i, used := range usage() {
			busy[i] = (used - then[i]) / took.Seconds()
		}
		return busy
	}
	watchers.take()
	now.Store(&r.before)
	used := usage()
	begun = time.Now()
	sleep(ctx, *calm)
	r.calmCores = cores(used, time.Since(begun))
	_, most := watchers.take()
	require.Zero(tb, most.frames, "nobody came or went")

	now.Store(&r.during)
	used, begun = usage(), time.Now()
	quiet, listened := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(listened)
		r.churn, r.peak = watchers.listen(quiet)
	}()
	h.tell(order{Churn: max(*clients/10, 1), Rounds: churnRounds})
	h.report()
	r.churned = time.Since(begun)
	r.churnCores = cores(used, r.churned)
	for i, w := range asker {
		r.right[i] = w.sees(tb, r.members, "after the churn", presenceIn+slack)
	}
	now.Store(&phase{})
	sleep(ctx, 2*time.Second) // until the last of them is told, half a second later at most
	close(quiet)
	<-listened
	reports := 2*int(r.churned.Seconds()+3) + 1
	for i, t := range r.churn {
		require.Equal(tb, t.joined, t.left, "watcher %d: everybody came back", i)
		require.LessOrEqual(tb, t.frames, reports*max(min(framesAReport/r.members, namedAReport), 2), "watcher %d is flooded", i)
	}

	now.Store(&r.fault)
	begun = time.Now()
	gateways[0].Kill9()
	h.tell(order{Storm: begun.UnixNano(), Half: true})
	remain := 1 + 1 + watching/2 + *clients - *clients/2
	r.fell = asker[1].sees(tb, remain, "half of them are gone", presenceIn+slack)
	r.back.add(h.report().Back...)
	asker[1].sees(tb, remain+*clients/2, "all are back", presenceIn+slack)
	r.counted = time.Since(begun)
	now.Store(&phase{})
	gateways[0].Start()
	require.NoError(tb, gateways[0].AwaitReady(ctx))
	r.newcomer = newWatcher(tb, gateways[0]).sees(tb, remain+*clients/2+1, "at the gateway that came back", presenceIn+slack)

	stop()
	all.Wait()
	require.NoError(tb, p.failed)
	require.Less(tb, p.slowest, 5*time.Second, "L1")
	require.Zero(tb, p.lost.Load(), "the publisher lost its connection")
	h.tell(order{CatchUp: map[string]uint64{fullRoom: p.last}})
	h.report()
	return r
}

// tellWhoComes turns the room's events on.
func tellWhoComes(ctx context.Context, tb testing.TB, n *harness.Node) {
	tb.Helper()
	body := strings.NewReader(fmt.Sprintf(`{"room_id":%q,"presence_events":true}`, fullRoom))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.URL()+"/parley.admin.v1.RoomService/UpdateSettings", body)
	require.NoError(tb, err)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	require.NoError(tb, err)
	require.NoError(tb, res.Body.Close())
	require.Equal(tb, http.StatusOK, res.StatusCode)
}
