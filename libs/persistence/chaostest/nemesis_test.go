package chaostest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// fault is one class of what goes wrong.
type fault struct {
	name string
	// strike makes it happen once and ends it again. What it hit it counts, by the fault's name and by others.
	strike func(ctx context.Context, w *world, random *rand.Rand) error
	// needs is how many hits a minute must have, by name: a fault that hits nothing tests nothing.
	needs map[string]float64
}

// nemesis lets the faults of a scenario happen. Those of one loop come one after another, in random order; loops go on
// beside each other.
type nemesis struct {
	w     *world
	loops [][]fault
	gap   time.Duration
	seed  uint64
}

// overtime is how long faults go on to happen after their time when they have not had enough effect in it: on a slow machine
// a short time may be over before the server is back from the first one.
const overtime = 40 * time.Second

// run goes on for d, and until every fault has had enough effect. It ends early at a violation.
func (n *nemesis) run(ctx context.Context, d time.Duration) error {
	end := time.Now().Add(d)
	errs := make([]error, len(n.loops))
	var group sync.WaitGroup
	for i, faults := range n.loops {
		random := rand.New(rand.NewPCG(n.seed, uint64(100_000+i)))
		// due lists the faults that are still wanted: all of them until the end, then those without enough effect.
		due := func() []fault {
			switch late := time.Since(end); {
			case n.w.load.witness.failed() || late > overtime:
				return nil
			case late > 0:
				return slices.DeleteFunc(slices.Clone(faults), func(f fault) bool { return len(n.missed([]fault{f}, d)) == 0 })
			default:
				return faults
			}
		}
		group.Go(func() {
			for list := due(); len(list) > 0 && errs[i] == nil; list = due() {
				errs[i] = n.round(ctx, list, random, end)
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// round lets each fault strike once, in random order. It breaks off at the end.
func (n *nemesis) round(ctx context.Context, faults []fault, random *rand.Rand, end time.Time) error {
	late := time.Now().After(end)
	for _, i := range random.Perm(len(faults)) {
		if !pause(ctx, between(random, n.gap)) || n.w.load.witness.failed() || !late && time.Now().After(end) {
			return ctx.Err()
		}
		if err := faults[i].strike(ctx, n.w, random); err != nil {
			return fmt.Errorf("%s: %w", faults[i].name, err)
		}
	}
	return nil
}

// missed lists the faults that had too little effect for a run of d.
func (n *nemesis) missed(faults []fault, d time.Duration) (missed []string) {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	for _, f := range faults {
		for name, perMinute := range f.needs {
			if need := max(1, int(perMinute*d.Minutes())); n.w.hits[name] < need {
				missed = append(missed, fmt.Sprintf("%s hit %d times in %v, at least %d are needed", name, n.w.hits[name], d, need))
			}
		}
	}
	return missed
}
