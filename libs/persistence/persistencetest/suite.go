package persistencetest

import (
	"testing"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
)

// Store is one opened, empty store.
type Store struct {
	Backend persistence.Backend
	// Crash returns the store as a power cut at this moment would leave it, opened anew; the backend it came from is
	// closed without a chance to tidy up, and acknowledged work must be there. Nil with Options.Volatile.
	Crash func() Store
}

// Options say how to open stores and what they can do.
type Options struct {
	// Open opens an empty store whose clock is now. The suite closes its backend.
	Open func(t testing.TB, now func() time.Time) Store
	// OpenCrashable is Open for the tests that call Crash, where opening a store that can crash costs more. Nil: Open.
	OpenCrashable func(t testing.TB, now func() time.Time) Store
	// Crashables is how many stores of OpenCrashable may be open at once. 0: as many as tests run in parallel.
	Crashables int
	// Lanes is how many lanes the store has. 0: 1.
	Lanes int
	// Volatile: the store forgets everything when it is closed, so its Crash is nil.
	Volatile bool
	// OwnClock: the store has a clock that Open cannot replace. The suite then waits for expiries in real time.
	OwnClock bool
}

// Exercise runs the suite. Everything in it is promised to callers by the comments of package persistence.
func Exercise(t *testing.T, opts Options) {
	type group struct {
		name  string
		tests []namedTest
	}
	groups := []group{
		{"Claim", claimTests},
		{"Append", appendTests},
		{"AppendAsync", asyncTests()},
		{"Limits", limitTests},
		{"Read", readTests},
		{"Snapshot", snapshotTests},
		{"Recovery", recoveryTests},
		{"Peek", peekTests},
		{"Takeovers", takeoverTests},
		{"Incarnation", incarnationTests},
		{"Feed", feedTests},
		{"Checkpoint", checkpointTests},
		{"Retention", retentionTests},
		{"Restored", restoredTests},
		{"Session", sessionTests},
		{"Lease", leaseTests},
		{"Block", blockTests},
		{"Concurrency", concurrencyTests},
		{"Mass", massTests},
		{"Lifecycle", lifecycleTests},
	}
	for _, group := range groups {
		t.Run(group.name, func(t *testing.T) {
			t.Parallel()
			for _, test := range group.tests {
				t.Run(test.name, func(t *testing.T) {
					t.Parallel()
					test.run(newBench(t, opts, opts.Open))
				})
			}
		})
	}
	crashables := newCrashables(opts)
	if !opts.Volatile {
		t.Run("Durability", func(t *testing.T) {
			t.Parallel()
			for _, test := range durabilityTests {
				t.Run(test.name, func(t *testing.T) {
					t.Parallel()
					crashables.take(t)
					test.run(newBench(t, opts, crashables.open))
				})
			}
		})
	}
	t.Run("Model", func(t *testing.T) {
		t.Parallel()
		crashables.take(t)
		checkModel(t, crashables.open)
	})
}

// opener opens an empty store.
type opener func(t testing.TB, now func() time.Time) Store

// crashables bounds the stores of Options.OpenCrashable.
type crashables struct {
	open opener
	free chan struct{} // nil: no bound
}

func newCrashables(opts Options) crashables {
	c := crashables{open: opts.OpenCrashable}
	if c.open == nil {
		c.open = opts.Open
	}
	if opts.Crashables > 0 {
		c.free = make(chan struct{}, opts.Crashables)
	}
	return c
}

// take waits until one more store may be open, until the test and all that it cleans up has ended.
func (c crashables) take(t *testing.T) {
	if c.free == nil {
		return
	}
	c.free <- struct{}{}
	t.Cleanup(func() { <-c.free })
}

type namedTest struct {
	name string
	run  func(*bench)
}
