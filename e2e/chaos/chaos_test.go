package chaos

import (
	"context"
	"flag"
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
	flagDuration = flag.Duration("chaos.duration", 25*time.Second, "how long faults go on to happen")
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
	seed := *flagSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano() % 1_000_000)
	}
	keepLogs(t)
	w := startWorld(t, Deployment{Gateways: 2, Rooms: 3, ControlPlane: *flagPlane, Namespaces: *flagNetwork == "namespaces"})
	plan := Plan{
		Seed: seed, Duration: *flagDuration, Gateways: names(w.gateways), Rooms: names(w.rooms), Cuts: w.network != nil, Single: *flagSingle,
	}
	if *flagOnly != "" {
		plan.Only = strings.Split(*flagOnly, ",")
	}
	episodes := Schedule(plan)
	w.startLoad(Load{Seed: seed, Rooms: *flagRooms, Silent: *flagSilent, Pace: *flagPace})
	t.Cleanup(w.endLoad)
	t.Logf("-chaos.seed=%d -chaos.duration=%v -chaos.control-plane=%s: %d episodes, %d clients in %d rooms",
		seed, *flagDuration, *flagPlane, len(episodes), w.clientCount(), len(w.recorders))

	s := &sampler{url: w.postgres.URL(), clock: w.clock, claims: make(map[string][]history.Claim)}
	sampling, stop := context.WithCancel(t.Context())
	sampled := make(chan struct{})
	go func() {
		defer close(sampled)
		s.run(sampling)
	}()
	t.Cleanup(func() { stop(); <-sampled })
	w.awaitTraffic(t)
	n := &nemesis{w: w, logf: t.Logf}
	err := n.run(t.Context(), episodes)
	require.Empty(t, n.broken)
	require.NoError(t, err)
	stop()
	<-sampled
	records, err := w.finish(t.Context(), s.claims, n.healings)
	require.NoError(t, err)
	w.endLoad()
	violations := append([]history.Violation(nil), n.broken...)
	stored, acked, refused, received := 0, 0, 0, 0
	for _, r := range records {
		violations = append(violations, history.Check(r, history.DefaultBounds())...)
		stored += len(r.Content)
		for _, c := range r.Chains {
			for _, a := range c.Attempts {
				switch a.Outcome {
				case history.Stored:
					acked++
				case history.Refused:
					refused++
				}
			}
		}
		for _, s := range r.Streams {
			for _, e := range s.Events {
				if e.Kind == history.Received {
					received++
				}
			}
		}
	}
	t.Logf("%d messages stored, %d acknowledgements, %d refusals, %d deliveries, %d violations", stored, acked, refused, received, len(violations))
	t.Logf("time without an acknowledgement, by fault:\n%s", Table(Outages(n.strikes, records, names(w.gateways))))
	show(t, violations)
	dump(t, records, violations)
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
