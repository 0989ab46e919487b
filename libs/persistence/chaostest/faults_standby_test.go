package chaostest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// waiting counts the sessions whose commits wait for the standby, and does something to them.
func waiting(do string) string {
	return "SELECT count(" + do + ") FROM pg_stat_activity WHERE application_name = 'parley' AND wait_event = 'SyncRep'"
}

// standbyAway: the standby hangs for a while, and with it every commit. Somebody who looks after the database loses patience
// and cancels and ends the sessions that hang, which makes their commits visible without being replicated.
var standbyAway = fault{
	name:  "standby away",
	needs: map[string]float64{"standby away": 2, "commits waiting": 4, "waits canceled": 2, "waits terminated": 2},
	strike: func(ctx context.Context, w *world, random *rand.Rand) error {
		if err := w.standby.Pause(); err != nil {
			return err
		}
		w.load.witness.standbyGone()
		w.load.sweeps.Add(1) // snapshots wait, too
		until := time.Now().Add(time.Second + time.Duration(random.IntN(4000))*time.Millisecond)
		for pause(ctx, between(random, 150*time.Millisecond)) && time.Now().Before(until) {
			w.hit("commits waiting", w.askServer(ctx, waiting("*")))
			switch random.IntN(3) {
			case 0:
				w.hit("waits canceled", w.askServer(ctx, waiting("pg_cancel_backend(pid)")))
			case 1:
				w.hit("waits terminated", w.askServer(ctx, waiting("pg_terminate_backend(pid)")))
			default:
			}
		}
		w.hit("standby away", 1)
		w.load.witness.standbyBack()
		err := w.standby.Resume()
		pause(ctx, between(random, time.Second)) // let things be written that must be there after the next time
		return err
	},
}

// failedOver: the primary dies, the standby takes over, and gets a standby of its own.
var failedOver = fault{
	name:   "failover",
	needs:  map[string]float64{"failover": 1},
	strike: func(ctx context.Context, w *world, _ *rand.Rand) error { return w.failover(ctx) },
}

// cutOff: the same after a time in which nothing reached the standby, for so long that clients gave up on their commits and
// closed the connections. Nobody may have seen what was not replicated.
var cutOff = fault{
	name:  "failover of a standby that was cut off",
	needs: map[string]float64{"failover after a cut": 1, "commits waiting": 1},
	strike: func(ctx context.Context, w *world, random *rand.Rand) error {
		w.link.Refuse(true)
		w.link.Cut()
		resubmitted := w.counter(resubmittedBatches)
		w.load.witness.standbyGone()
		err := await(ctx, func() (bool, error) {
			n := w.askServer(ctx, waiting("*"))
			w.hit("commits waiting", n)
			return n > 0, nil
		})
		if err != nil {
			return err
		}
		if err := await(ctx, func() (bool, error) { return w.counter(resubmittedBatches) > resubmitted, nil }); err != nil {
			return fmt.Errorf("clients give up: %w", err)
		}
		pause(ctx, 500*time.Millisecond+time.Duration(random.IntN(1500))*time.Millisecond)
		if err := w.failover(ctx); err != nil {
			return err
		}
		w.hit("failover after a cut", 1)
		return nil
	},
}

// failover kills the primary for good and promotes the standby. From then on writes wait for the new standby, which is a
// copy: what the old primary has that nobody was told of must not come back.
func (w *world) failover(ctx context.Context) error {
	if err := w.primary.Kill9(); err != nil {
		return err
	}
	w.load.witness.standbyGone()
	if err := w.standby.Promote(ctx); err != nil {
		return err
	}
	w.primary = w.standby
	for _, ways := range w.ways {
		// The names that the nodes know lead to the new primary by the second, until there is a new standby.
		ways[0], ways[1] = ways[1], ways[0]
	}
	w.link.Heal()
	w.load.witness.standbyBack()
	w.hit("failover", 1)
	return w.addStandby(ctx)
}
