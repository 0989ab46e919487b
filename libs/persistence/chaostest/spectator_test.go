package chaostest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
)

// spectate follows a lane without a checkpoint, as whoever passes events on to people who are looking does: it writes
// nothing, so it sees what there is to be seen also while no write gets through.
func (l *load) spectate(ctx context.Context, lane int16, random *rand.Rand) {
	for life := 0; ctx.Err() == nil; life++ {
		after, ok := l.spectatorStart(ctx, lane, random)
		if !ok {
			pause(ctx, between(random, 50*time.Millisecond))
			continue
		}
		name := fmt.Sprintf("spectator %d of lane %d", life, lane)
		for n := l.node(random); pause(ctx, between(random, 15*time.Millisecond)); {
			op, cancel := context.WithTimeout(ctx, 5*time.Second)
			events, next, err := n.ReadLane(op, lane, after, 1+random.IntN(500))
			cancel()
			if errors.Is(err, persistence.ErrTrimmed) {
				break // nothing waits for it: it begins again
			}
			if err != nil {
				if !transient(err) && ctx.Err() == nil {
					l.witness.fail(contract, "", "%s on %s after %d: %v", name, n.name, after, err)
				}
				n = l.node(random)
				continue
			}
			l.history.Page(name, lane, after, events, next)
			for i := range events {
				l.witness.saw(name, events[i].Key, []persistence.Event{events[i].Event})
			}
			after = next
		}
	}
}

// spectatorStart is where nothing is trimmed yet.
func (l *load) spectatorStart(ctx context.Context, lane int16, random *rand.Rand) (after uint64, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	heads, err := l.node(random).Lanes(ctx)
	for _, h := range heads {
		if h.Lane == lane {
			return h.TrimPos, err == nil
		}
	}
	return 0, false
}
