package chaostest

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/parley-rt/parley/libs/persistence/persistencetest"
)

var (
	duration = flag.Duration("chaos.duration", 10*time.Second, "how long faults happen, in all scenarios together")
	seed     = flag.Uint64("chaos.seed", 0, "of all that is random in load and faults; 0: from the clock")
)

// longRun is from when on a run has all scenarios.
const longRun = time.Minute

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func drawSeed(t *testing.T) uint64 {
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano()) % 1_000_000
	}
	t.Logf("seed %d: repeat with -chaos.seed=%d", s, s)
	return s
}

// TestChaos: whatever happens to servers, network and nodes, what was acknowledged stays, and everybody writes again
// afterwards.
func TestChaos(t *testing.T) {
	seed := drawSeed(t)
	for _, s := range scenarios() {
		if s.long && *duration < longRun {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			r := s.run(t, seed, time.Duration(float64(*duration)*s.share))
			t.Log(r.summary)
			require.Empty(t, r.violations, "seed %d", seed)
			require.Empty(t, r.missed)
		})
	}
}

// result is what came of a scenario.
type result struct {
	summary    string
	violations []persistencetest.Violation
	missed     []string
}

// run lets the scenario happen for d and checks what is left.
func (s scenario) run(t *testing.T, seed uint64, d time.Duration) result {
	t.Helper()
	w := newWorld(t, s.setup)
	var nodes []*node
	for i := range w.ways {
		n, err := w.openNode(t.Context(), i)
		require.NoError(t, err)
		nodes = append(nodes, n)
	}
	l := newLoad(seed, s.sizes, nodes)
	w.load = l
	require.NoError(t, l.start(t.Context()))
	defer l.abandon()
	n := &nemesis{w: w, loops: s.loops, gap: s.gap, seed: seed}
	began := time.Now()
	faultErr := n.run(t.Context(), d)
	lasted := time.Since(began)
	require.NoError(t, w.heal(t.Context()))
	store, err := w.store(t.Context())
	require.NoError(t, err)
	back, violations, err := l.finish(t.Context(), store)
	require.NoError(t, err)
	r := result{violations: violations, missed: n.missed(slices.Concat(s.loops...), d), summary: fmt.Sprintf(
		"%s, %v of faults: %s; %d batches resubmitted / %d appends settled; faults: %s; everybody wrote again after %v; %d violations",
		s.name, lasted.Round(100*time.Millisecond), l.counts.String(), w.counter(resubmittedBatches), w.counter(settledAppends),
		w.faults(), back.Round(time.Millisecond), len(violations))}
	require.NoError(t, w.close())
	require.NoError(t, store.Close(t.Context()))
	require.NoError(t, faultErr)
	return r
}

// faults lists what was hit how often.
func (w *world) faults() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []string
	for _, name := range slices.Sorted(maps.Keys(w.hits)) {
		list = append(list, fmt.Sprintf("%s %d", name, w.hits[name]))
	}
	return strings.Join(list, ", ")
}
