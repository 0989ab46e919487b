package chaostest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence/persistencetest"
)

// foundWithin bounds the search for a violation that must be there.
const foundWithin = 3 * time.Minute

// TestChaosFindsRemovedProtections: the same run over a backend that lacks one of its protections finds violations. A run
// that cannot fail proves nothing.
func TestChaosFindsRemovedProtections(t *testing.T) {
	tests := []struct {
		name   string
		weaken func() weakening
		setup  setup
		loops  [][]fault
		gap    time.Duration
		// wanted is one of the invariants that must turn out to be broken.
		wanted []persistencetest.Invariant
	}{
		{
			// Who lost a stream writes on.
			name:   "fence",
			weaken: func() weakening { return weakening{wrap: persistencetest.Unfenced} },
			loops:  [][]fault{{answersDelayed}},
			gap:    100 * time.Millisecond,
			wanted: []persistencetest.Invariant{persistencetest.I1, persistencetest.I3, persistencetest.I4},
		},
		{
			// A commit whose answer is lost is taken for a failure.
			name: "settlement",
			weaken: func() weakening {
				u := persistencetest.NewUnsettled()
				return weakening{dial: u.Dial, wrap: u.Backend}
			},
			loops:  [][]fault{{answersLost}},
			gap:    100 * time.Millisecond,
			wanted: []persistencetest.Invariant{persistencetest.I7, contract},
		},
		{
			// A client that gives a commit up cancels it, and with it the wait for the standby: what nobody was told of, but
			// everybody could see, is not there after the failover: it has gone from its stream, or from the feed.
			name: "single-use dial",
			weaken: func() weakening {
				return weakening{dial: func(dial persistencetest.DialFunc) persistencetest.DialFunc {
					return persistencetest.Cancelling(dial, nil)
				}}
			},
			setup:  setup{standby: true},
			loops:  [][]fault{{cutOff}},
			gap:    500 * time.Millisecond,
			wanted: []persistencetest.Invariant{stays, persistencetest.I6},
		},
	}
	seed := drawSeed(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := scenario{name: "without the " + test.name, gap: test.gap, loops: test.loops, setup: test.setup}
			s.setup.weaken = test.weaken
			found := map[persistencetest.Invariant]int{}
			for began, round := time.Now(), uint64(0); len(found) == 0 && time.Since(began) < foundWithin; round++ {
				r := s.run(t, seed+round, 5*time.Second)
				t.Log(r.summary)
				for _, v := range r.violations {
					if found[v.Invariant]++; found[v.Invariant] <= 3 {
						t.Log(v)
					}
				}
			}
			t.Log(found)
			broken := 0
			for _, i := range test.wanted {
				broken += found[i]
			}
			require.Positive(t, broken, "a backend without its %s breaks one of %q", test.name, test.wanted)
		})
	}
}
