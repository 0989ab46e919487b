package dcplanetest

import (
	"testing"
	"time"

	"github.com/parley-rt/parley/libs/dcplane"
)

// Timing is the clockwork directories are opened with. A backend must honour it.
type Timing struct {
	Lease, RefreshEvery, MaxCacheStaleness time.Duration
}

// Plane is one control plane under test. Its methods fail the test themselves when they cannot do their work.
type Plane interface {
	// Open returns a directory at once, also while the control plane is stopped. It is closed when the test ends, unless it
	// was before.
	Open(t *testing.T, timing Timing) dcplane.Directory
	// Stop makes the control plane unreachable for everybody.
	Stop(t *testing.T)
	// Start ends Stop; with empty the control plane has lost all it knew.
	Start(t *testing.T, empty bool)
	// Crash ends a directory without deregistering, as kill -9 of its process would.
	Crash(t *testing.T, d dcplane.Directory)
	// DropWatches makes the directories' watches fall silent while calls still work.
	DropWatches(t *testing.T)
}

// Exercise runs the whole suite. open returns a fresh control plane that ends with the test it is given.
func Exercise(t *testing.T, open func(t *testing.T) Plane) {
	t.Helper()
	run(t, open, map[string]func(*testing.T, *bench){
		"register is seen by everybody":             testRegister,
		"invalid nodes are refused":                 testInvalid,
		"update is seen by everybody":               testUpdate,
		"deregister is seen at once":                testDeregister,
		"close deregisters":                         testClose,
		"crash expires after the lease, not before": testCrash,
		"new incarnation replaces":                  testReplace,
		"later of two processes wins":               testDuel,
		"changes are never missed":                  testChanged,
		"refresh covers a dead watch":               testWatchGap,
		"names are opaque":                          testNames,
	})
	ExerciseOutages(t, open)
}

// ExerciseOutages runs the part of the suite in which the control plane is stopped. For a control plane that can be lost in
// several ways.
func ExerciseOutages(t *testing.T, open func(t *testing.T) Plane) {
	t.Helper()
	run(t, open, map[string]func(*testing.T, *bench){
		"processes start before the control plane":   testStartOrder,
		"outage removes nobody":                      testOutage,
		"writes during an outage":                    testOutageWrites,
		"control plane comes back empty":             testEmpty,
		"crash during an outage":                     testCrashInOutage,
		"later of two wins after everything is lost": testDuelEmpty,
	})
}

func run(t *testing.T, open func(t *testing.T) Plane, tests map[string]func(*testing.T, *bench)) {
	t.Helper()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, &bench{t: t, plane: open(t)})
		})
	}
}
