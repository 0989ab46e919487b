package chaostest

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
)

// restarted: the process on a node is replaced by another one, in order or by a kill.
var restarted = fault{
	name:  "node restarts",
	needs: map[string]float64{"node restarts": 2},
	strike: func(ctx context.Context, w *world, random *rand.Rand) error {
		slot := random.IntN(len(w.ways))
		op, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		n, err := w.openNode(op, slot)
		if errors.Is(err, persistence.ErrUnavailable) {
			return nil // the server is away, too
		}
		if err != nil {
			return err
		}
		old := w.load.replace(n)
		w.hit("node restarts", 1)
		// A killed process does not wait; one that is drained does for a while.
		patience := time.Duration(random.IntN(2)*random.IntN(3000)) * time.Millisecond
		drain, stop := context.WithTimeout(ctx, patience)
		defer stop()
		err = old.Close(drain)
		if errors.Is(err, context.DeadlineExceeded) {
			// What it had under way is given up; this waits for its connections.
			end, stop := context.WithTimeout(ctx, aliveWithin)
			defer stop()
			err = old.Close(end)
		}
		if err == nil {
			w.load.mustBeClosed(ctx, old)
		}
		return err
	},
}

// mustBeClosed checks that a node that has ended says so: whoever is told to try again would do that for ever.
func (l *load) mustBeClosed(ctx context.Context, n *node) {
	if _, err := n.Claim(ctx, l.room(0), n.name, persistence.ClaimOptions{}); !errors.Is(err, persistence.ErrClosed) {
		l.witness.fail(contract, l.room(0), "claim on %s, which was closed: %v", n.name, err)
	}
}
