// Package storm sends a herd of clients to a gateway at once and watches those who are there already.
package storm

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
)

// TestStorm: a gateway is killed, and its clients all go to the other one. All of them resume, no message is missed or
// repeated (S5), and those who were there already get every publish answered in time (L1) and keep their connections.
func TestStorm(t *testing.T) { t.Log(run(t)) }

// BenchmarkStorm is the same with figures: see docs/benchmarks.md.
func BenchmarkStorm(b *testing.B) {
	for range b.N {
		r := run(b)
		b.Log(r)
		b.ReportMetric(milliseconds(r.before.took.at(0.99)), "p99-before-ms")
		b.ReportMetric(milliseconds(r.during.took.at(0.99)), "p99-storm-ms")
		b.ReportMetric(milliseconds(r.during.took.at(0.99))/milliseconds(r.before.took.at(0.99)), "p99-ratio")
		b.ReportMetric(milliseconds(r.during.late.at(0.99)), "p99-late-storm-ms")
		b.ReportMetric(r.back.at(0.99).Seconds(), "p99-back-s")
		b.ReportMetric(r.perReturn(r.gatewayCPU), "gateway-µs/return")
		b.ReportMetric(r.perReturn(r.roomsCPU), "rooms-µs/return")
	}
}

// result is what a run measured.
type result struct {
	before, during, after         phase
	back                          times
	messages                      int64
	stormed                       time.Duration
	gatewayCPU, roomsCPU, herdCPU time.Duration // during the storm, beyond what the same time before took
}

func (r *result) perReturn(cpu time.Duration) float64 {
	return float64(cpu.Microseconds()) / float64(*clients)
}

func (r *result) String() string {
	return fmt.Sprintf("publishes of %d who stayed: before %s; during the storm of %s %s; after %s. %d clients were back after %s; "+
		"%d messages reached them. CPU per return: gateway %.0f µs, rooms %.0f µs, clients %.0f µs",
		*stayed, &r.before, round(r.stormed), &r.during, &r.after, *clients, &r.back,
		r.messages, r.perReturn(r.gatewayCPU), r.perReturn(r.roomsCPU), r.perReturn(r.herdCPU))
}

func run(tb testing.TB) *result {
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	gateways, rooms := deploy(ctx, tb)
	publishers := make([]*publisher, *stayed)
	var err error
	for i := range publishers {
		publishers[i], err = newPublisher(ctx, tb, gateways[1].WebSocket(), roomName(i))
		require.NoError(tb, err)
	}
	h := startHerd(tb, gateways[0].WebSocket()+","+gateways[1].WebSocket())
	require.Equal(tb, *clients, h.report().Gathered)

	r := &result{}
	measuring, stop := context.WithCancel(ctx)
	defer stop()
	var now atomic.Pointer[phase]
	now.Store(&phase{})
	var all sync.WaitGroup
	for i, p := range publishers {
		all.Go(func() { p.run(measuring, time.Duration(i)**pace/time.Duration(*stayed), &now) })
	}
	all.Go(func() {
		if err := watchDisk(measuring, now.Load); err != nil {
			tb.Errorf("write to the disk: %v", err)
		}
	})
	// Each phase begins where the one before ends.
	var gatewayStages, journalStages histogram
	stages := func(ended *phase) {
		g, j := histogramOf(ctx, tb, gatewayStage, gateways[1]), histogramOf(ctx, tb, journalStage, rooms...)
		ended.gateway, ended.journal = g.since(gatewayStages), j.since(journalStages)
		gatewayStages, journalStages = g, j
	}
	sleep(ctx, *calm/2) // until everything is warm
	usage := func() (gateway, rest time.Duration) {
		return cpu(tb, gateways[1]), cpu(tb, rooms[0]) + cpu(tb, rooms[1])
	}
	gatewayBegan, roomsBegan := usage()
	stages(&phase{})
	now.Store(&r.before)
	sleep(ctx, *calm)

	gatewayThen, roomsThen := usage()
	stages(&r.before)
	now.Store(&r.during)
	begun := time.Now()
	gateways[0].Kill9()
	h.tell(order{Storm: begun.UnixNano()})
	storm := h.report()
	r.stormed = time.Since(begun)
	gatewayNow, roomsNow := usage()
	stages(&r.during)
	share := r.stormed.Seconds() / calm.Seconds()
	beyond := func(began, then, end time.Duration) time.Duration {
		return end - then - time.Duration(share*float64(then-began))
	}
	r.gatewayCPU, r.roomsCPU = beyond(gatewayBegan, gatewayThen, gatewayNow), beyond(roomsBegan, roomsThen, roomsNow)
	r.herdCPU = storm.CPU
	r.back.add(storm.Back...)

	now.Store(&r.after)
	sleep(ctx, *calm)
	stages(&r.after)
	now.Store(&phase{})
	stop()
	all.Wait()
	last := map[string]uint64{}
	for _, p := range publishers {
		require.NoError(tb, p.failed, "of one who stayed")
		require.Less(tb, p.slowest, 5*time.Second, "L1")
		require.Zero(tb, p.lost.Load(), "one who stayed lost its connection")
		last[p.room.ID()] = p.last
	}
	h.tell(order{CatchUp: last})
	r.messages = h.report().Messages
	return r
}

// deploy starts two gateways and two rooms nodes on Postgres and NATS.
func deploy(ctx context.Context, tb testing.TB) (gateways, rooms []*harness.Node) {
	tb.Helper()
	postgres := harness.StartCluster(tb)
	harness.Migrate(tb, postgres.URL())
	nats := harness.NewNATS(tb)
	nats.Start()
	d := &harness.Deployment{JournalURL: postgres.URL(), ControlPlaneURL: nats.URL()}
	gateways, rooms = d.NewNodes(tb, harness.Gateway, 2, strings.Fields(*setting)...), d.NewNodes(tb, harness.Rooms, 2)
	nodes := append(append([]*harness.Node(nil), rooms...), gateways...)
	for _, n := range nodes {
		n.Start()
	}
	for _, n := range nodes {
		require.NoError(tb, n.AwaitReady(ctx))
	}
	return gateways, rooms
}

// herdProcess is the herd, from outside.
type herdProcess struct {
	tb  testing.TB
	in  io.WriteCloser
	out *json.Decoder
}

func startHerd(tb testing.TB, addresses string, environment ...string) *herdProcess {
	tb.Helper()
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(append(os.Environ(), herdVariable+"="+addresses), environment...)
	var said bytes.Buffer
	cmd.Stderr = &said
	in, err := cmd.StdinPipe()
	require.NoError(tb, err)
	out, err := cmd.StdoutPipe()
	require.NoError(tb, err)
	require.NoError(tb, cmd.Start())
	tb.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
		if tb.Failed() {
			tb.Logf("the herd said:\n%s", said.String())
		}
	})
	return &herdProcess{tb, in, json.NewDecoder(out)}
}

func (h *herdProcess) tell(o order) {
	h.tb.Helper()
	require.NoError(h.tb, json.NewEncoder(h.in).Encode(o))
}

func (h *herdProcess) report() (r report) {
	h.tb.Helper()
	require.NoError(h.tb, h.out.Decode(&r))
	require.Empty(h.tb, r.Error)
	return r
}

// cpu is what a process has used.
func cpu(tb testing.TB, n *harness.Node) time.Duration {
	tb.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.PID()))
	require.NoError(tb, err)
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+2:]))
	const utime, stime, tick = 11, 12, 10 * time.Millisecond // after pid and name; USER_HZ is 100 everywhere
	var total time.Duration
	for _, f := range []string{fields[utime], fields[stime]} {
		n, err := strconv.ParseInt(f, 10, 64)
		require.NoError(tb, err)
		total += time.Duration(n) * tick
	}
	return total
}
