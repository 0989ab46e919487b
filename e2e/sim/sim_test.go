package sim

import (
	"bytes"
	"flag"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// Under the race detector, which has nothing to find in runs that have one goroutine each, fewer seeds are the default.
var (
	seedsFlag = flag.Int("sim.seeds", defaultSeeds, "how many seeds TestSim runs")
	seedFlag  = flag.Uint64("sim.seed", 1, "the first of them")
	traceFlag = flag.Bool("sim.trace", false, "print everything that happens in the first run that fails, or in the only one")
	// withoutFlag is for looking what a protection is worth.
	withoutFlag = flag.String("sim.without", "", "fields of Without, separated by commas: what the protocol goes without")
)

// S1 to S5, L1 to L3, L6: the protocol as it is built keeps what it promises under every seed.
func TestSim(t *testing.T) {
	without := parseWithout(t, *withoutFlag)
	results := runSeeds(*seedFlag, *seedsFlag, without, func(Result) bool { return false })
	var total Stats
	failed := 0
	for i, r := range results {
		total.add(r.Stats)
		if len(r.Violations) == 0 {
			continue
		}
		if failed++; failed <= 3 {
			report(t, *seedFlag+uint64(i), without, r)
		}
	}
	t.Logf("%d seeds, %d failed: %+v", len(results), failed, total)
	if *seedsFlag == 1 && *traceFlag && failed == 0 {
		t.Log(traceOf(*seedFlag, without))
	}
	if len(results) >= 100 && failed == 0 {
		requireWorth(t, total)
	}
}

// report says what a run broke and how to see it again.
func report(t *testing.T, seed uint64, without Without, r Result) {
	t.Helper()
	var text strings.Builder
	for _, v := range r.Violations {
		fmt.Fprintln(&text, " ", v)
	}
	trace := strings.Split(traceOf(seed, without), "\n")
	if !*traceFlag { // what led to the first
		for i, line := range trace {
			if strings.Contains(line, "!!!") {
				trace = trace[max(0, i-30) : i+1]
				break
			}
		}
	}
	replay := fmt.Sprintf("go test ./e2e/sim -run 'TestSim$' -v -sim.seeds=1 -sim.seed=%d -sim.trace", seed)
	if *withoutFlag != "" {
		replay += " -sim.without=" + *withoutFlag
	}
	t.Errorf("seed %d broke promises:\n%s\n%s\n\nreplay: %s", seed, text.String(), strings.Join(trace, "\n"), replay)
}

func parseWithout(t *testing.T, fields string) (w Without) {
	t.Helper()
	if fields == "" {
		return w
	}
	for _, name := range strings.Split(fields, ",") {
		f := reflect.ValueOf(&w).Elem().FieldByName(name)
		require.True(t, f.IsValid(), "Without has no field %q", name)
		f.SetBool(true)
	}
	return w
}

func traceOf(seed uint64, w Without) string {
	var trace bytes.Buffer
	Run(Options{Seed: seed, Without: w, Trace: &trace})
	return trace.String()
}

// runSeeds runs seeds on all cores, each run on one goroutine, and returns their results in order. It stops early once enough
// says that it has seen what it wanted; runs that were not made have no events.
func runSeeds(first uint64, n int, w Without, enough func(Result) bool) []Result {
	results := make([]Result, n)
	var next atomic.Int64
	var stop atomic.Bool
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for !stop.Load() {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				results[i] = Run(Options{Seed: first + uint64(i), Without: w})
				if enough(results[i]) {
					stop.Store(true)
				}
			}
		})
	}
	workers.Wait()
	return results
}

func (s *Stats) add(o Stats) {
	sum, part := reflect.ValueOf(s).Elem(), reflect.ValueOf(o)
	for i := range sum.NumField() {
		sum.Field(i).SetInt(sum.Field(i).Int() + part.Field(i).Int())
	}
}

// requireWorth: everything that the protocol is there for has happened.
func requireWorth(t *testing.T, total Stats) {
	t.Helper()
	v := reflect.ValueOf(total)
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if slices.Contains([]string{"Gaps", "Behind", "Former", "Strikes"}, name) {
			continue // what only happens when two other protections have failed, or once in hundreds of runs
		}
		require.Positive(t, v.Field(i).Int(), "no run had any %s", name)
	}
}

// A seed is a run: the same one goes the same way, to the letter.
func TestSeedsReplay(t *testing.T) {
	t.Parallel()
	for seed := range uint64(10) {
		require.Equal(t, traceOf(seed, Without{}), traceOf(seed, Without{}), "seed %d", seed)
	}
	require.NotEqual(t, traceOf(1, Without{}), traceOf(2, Without{}))
}

// Every siege is laid by some seed.
func TestSiegesHappen(t *testing.T) {
	t.Parallel()
	laid := map[string]bool{}
	for _, r := range runSeeds(1, 300, Without{}, func(Result) bool { return false }) {
		laid[r.Siege] = true
	}
	for _, s := range sieges {
		require.True(t, laid[s.name], s.name)
	}
	require.True(t, laid[""], "storms")
}
