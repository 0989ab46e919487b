package chaos

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/history"
)

var (
	flagDuration = flag.Duration("chaos.duration", 15*time.Second, "how long faults go on to happen")
	flagSeed     = flag.Uint64("chaos.seed", 0, "seed of faults and load; 0: a new one, which is printed")
	flagPlane    = flag.String("chaos.control-plane", "nats", "nats or etcd")
	flagNetwork  = flag.String("chaos.network", "namespaces", "namespaces (takes root), or loopback: then no wires are cut")
	flagRooms    = flag.Int("chaos.rooms", 24, "rooms that are written to all the time, with six or seven members each")
	flagSilent   = flag.Int("chaos.silent", 8, "rooms that are written to only just before a fault")
	flagPace     = flag.Duration("chaos.pace", 250*time.Millisecond, "mean time between two publishes of a producer")
	flagOnly     = flag.String("chaos.only", "", "comma-separated classes of faults; empty: all")
	flagSingle   = flag.Bool("chaos.single", false, "one fault at a time, to measure what each costs")
)

// S1 to S5, S7, L1 to L3 and L6 over a datacenter of real processes, while a seeded nemesis kills, freezes, drains and cuts.
func TestChaos(t *testing.T) {
	seed := theSeed()
	tr := begin(t, Deployment{}, Load{Seed: seed, Rooms: *flagRooms, Silent: *flagSilent, Pace: *flagPace})
	plan := tr.plan(seed)
	plan.Duration, plan.Single = *flagDuration, *flagSingle
	if *flagOnly != "" {
		plan.Only = strings.Split(*flagOnly, ",")
	}
	episodes := Schedule(plan)
	t.Logf("-chaos.seed=%d -chaos.duration=%v -chaos.control-plane=%s: %d episodes, %d clients in %d rooms",
		seed, *flagDuration, *flagPlane, len(episodes), tr.world.clientCount(), len(tr.world.recorders))
	require.NoError(t, tr.nemesis.run(t.Context(), episodes))
	records, violations := tr.end(t)
	outages := Outages(tr.nemesis.strikes, records, names(tr.world.gateways))
	t.Logf("time without an acknowledgement, by fault:\n%s", Table(append(Calm(tr.nemesis.healings, records), outages...)))
	violations = append(violations, Overdue(outages)...)
	show(t, violations)
	dump(t, records, violations)
}

// The same with rooms nodes that write on after they were overtaken: a check that finds nothing then would prove nothing. Their
// writes take long, so the one that is frozen comes back with some under way.
func TestChaosFindsARemovedFence(t *testing.T) {
	seed := theSeed()
	tr := begin(t, Deployment{RoomsCommand: "services/rooms/roomstest/cmd/rooms-unfenced"}, Load{Seed: seed, Rooms: 12, Pace: 50 * time.Millisecond})
	node := tr.busiest(t)
	require.NoError(t, tr.nemesis.run(t.Context(), []Episode{{{Class: "rooms frozen", Action: Freeze, Target: node, For: 6 * time.Second}}}))
	_, violations := tr.end(t)
	found := make(map[string]int)
	for _, v := range violations {
		found[v.Promise]++
	}
	t.Logf("-chaos.seed=%d: violations found, by promise: %v", seed, found)
	safety := found["S1"] + found["S2"] + found["S3"] + found["S4"] + found["S5"]
	require.NotZero(t, safety, "a writer that nobody stops breaks no promise of safety: is it looked for?")
}

func theSeed() uint64 {
	if *flagSeed != 0 {
		return *flagSeed
	}
	return uint64(time.Now().UnixNano()%1_000_000) + 1
}

// trial is a world under load.
type trial struct {
	world   *World
	nemesis *nemesis
	sampler *sampler
	stop    context.CancelFunc
	sampled chan struct{}
}

// begin starts two gateways and three rooms nodes, and lets the clients in.
func begin(t *testing.T, d Deployment, l Load) *trial {
	t.Helper()
	keepLogs(t)
	d.Gateways, d.Rooms, d.ControlPlane, d.Namespaces = 2, 3, *flagPlane, *flagNetwork == "namespaces"
	began := time.Now()
	w := startWorld(t, d)
	t.Logf("all nodes are ready after %v", time.Since(began).Round(time.Millisecond))
	w.startLoad(l)
	t.Cleanup(w.endLoad)
	tr := &trial{
		world: w, nemesis: &nemesis{w: w, logf: t.Logf}, sampled: make(chan struct{}),
		sampler: &sampler{url: w.postgres.URL(), clock: w.clock, claims: make(map[string][]history.Claim)},
	}
	var sampling context.Context
	sampling, tr.stop = context.WithCancel(t.Context())
	go func() {
		defer close(tr.sampled)
		tr.sampler.run(sampling)
	}()
	t.Cleanup(func() { tr.stop(); <-tr.sampled })
	w.awaitTraffic(t)
	return tr
}

// busiest is the rooms node that writes the most rooms.
func (tr *trial) busiest(t *testing.T) string {
	t.Helper()
	claims, err := claimsOf(t.Context(), tr.world.postgres.URL())
	require.NoError(t, err)
	owned := make(map[string]int)
	for _, c := range claims {
		owned[c.Owner]++
	}
	return slices.MaxFunc(names(tr.world.rooms), func(a, b string) int { return cmp.Compare(owned[a], owned[b]) })
}

func (tr *trial) plan(seed uint64) Plan {
	return Plan{Seed: seed, Gateways: names(tr.world.gateways), Rooms: names(tr.world.rooms), Cuts: tr.world.network != nil}
}

// end stops the load and returns what was recorded, and what is wrong with it.
func (tr *trial) end(t *testing.T) ([]*history.Record, []history.Violation) {
	t.Helper()
	tr.stop()
	<-tr.sampled
	records, err := tr.world.finish(t.Context(), tr.sampler.claims, tr.nemesis)
	require.NoError(t, err)
	tr.world.endLoad()
	violations := slices.Clone(tr.nemesis.broken)
	var total counts
	for _, r := range records {
		violations = append(violations, history.Check(r, history.DefaultBounds())...)
		total.add(r)
	}
	t.Logf("%v, %d violations", total, len(violations))
	return records, violations
}

// counts say how much there was to check.
type counts struct{ stored, acked, refused, unanswered, received int }

func (c *counts) add(r *history.Record) {
	c.stored += len(r.Content)
	for _, chain := range r.Chains {
		for _, a := range chain.Attempts {
			switch a.Outcome {
			case history.Stored:
				c.acked++
			case history.Unanswered:
				c.unanswered++
			default:
				c.refused++
			}
		}
	}
	for _, s := range r.Streams {
		for _, e := range s.Events {
			if e.Kind == history.Received {
				c.received++
			}
		}
	}
}

func (c counts) String() string {
	return fmt.Sprintf("%d messages stored, %d acknowledgements, %d refusals, %d attempts without an answer, %d deliveries",
		c.stored, c.acked, c.refused, c.unanswered, c.received)
}

// dump writes what happened in the rooms of the violations to where the logs are.
func dump(t *testing.T, records []*history.Record, violations []history.Violation) {
	t.Helper()
	for _, r := range records {
		if !slices.ContainsFunc(violations, func(v history.Violation) bool { return v.Room == r.Room }) {
			continue
		}
		out, err := os.Create(filepath.Join(os.Getenv(logsVariable), r.Room+".history"))
		require.NoError(t, err)
		require.NoError(t, r.Dump(out))
		require.NoError(t, out.Close())
	}
}

// show fails the test with the first violations.
func show(t *testing.T, violations []history.Violation) {
	t.Helper()
	const shown = 40
	for i, v := range violations {
		if i == shown {
			t.Errorf("and %d more", len(violations)-shown)
			return
		}
		t.Error(v)
	}
}

// logsVariable names the directory in which the harness keeps what processes print.
const logsVariable = "PARLEY_E2E_LOGS"

// keepLogs keeps what all processes print when the test fails, unless it is told where to keep it anyway.
func keepLogs(t *testing.T) {
	t.Helper()
	if os.Getenv(logsVariable) != "" {
		return
	}
	dir, err := os.MkdirTemp("", "parley-chaos-logs-") //nolint:usetesting // it outlives a test that fails
	require.NoError(t, err)
	t.Setenv(logsVariable, dir)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("all output is in %s", filepath.Clean(dir))
			return
		}
		require.NoError(t, os.RemoveAll(dir))
	})
}

// awaitTraffic returns when every busy room is written to.
func (w *World) awaitTraffic(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, r := range w.recorders {
		if w.silent[r.Room()] != nil {
			continue
		}
		for r.Acks() < 5 {
			require.True(t, pause(ctx, tick), "%s is not written to", r.Room())
		}
	}
}
