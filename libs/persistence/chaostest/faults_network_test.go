package chaostest

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/parley-rt/parley/libs/persistence/persistencetest/pgtest"
)

// way picks a node's way to the primary.
func (w *world) way(random *rand.Rand) *pgtest.Proxy { return w.ways[random.IntN(len(w.ways))][0] }

// onWay breaks one node's way to the server, and counts what that did. during ends what it began, and nothing else: another
// loop may have broken the same way in another manner.
func onWay(name string, count func(pgtest.Counts) int, perMinute float64, during func(ctx context.Context, p *pgtest.Proxy, random *rand.Rand)) fault {
	return fault{
		name:  name,
		needs: map[string]float64{name: perMinute},
		strike: func(ctx context.Context, w *world, random *rand.Rand) error {
			p := w.way(random)
			before := p.Counts()
			during(ctx, p, random)
			w.hit(name, count(p.Counts())-count(before))
			return nil
		},
	}
}

// attemptTimeout is longer than the backend waits for the answer to its first attempt.
const attemptTimeout = 2 * time.Second

func lostAnswers(c pgtest.Counts) int { return c.LostAnswers }

// The faults of the network.
var (
	// answersLost: requests are executed, and their answers lost with the connection.
	answersLost = onWay("lost answers", lostAnswers, 60, func(ctx context.Context, p *pgtest.Proxy, random *rand.Rand) {
		p.LoseAnswersAtRate(0.1 + 0.6*random.Float64())
		pause(ctx, 200*time.Millisecond+time.Duration(random.IntN(600))*time.Millisecond)
		p.LoseAnswers(0)
	})
	// answersHalfClosed: the same, but the connection ends in order.
	answersHalfClosed = onWay("half-closes", func(c pgtest.Counts) int { return c.HalfCloses }, 10, func(ctx context.Context, p *pgtest.Proxy, random *rand.Rand) {
		p.HalfClose(1 + random.IntN(20))
		pause(ctx, 200*time.Millisecond+time.Duration(random.IntN(300))*time.Millisecond)
		p.HalfClose(0)
	})
	answersDelayed = onWay("delays", func(c pgtest.Counts) int { return c.DelayedAnswers }, 60, func(ctx context.Context, p *pgtest.Proxy, random *rand.Rand) {
		p.DelayAnswers(time.Duration(5+random.IntN(300)) * time.Millisecond)
		pause(ctx, 300*time.Millisecond+time.Duration(random.IntN(700))*time.Millisecond)
		p.DelayAnswers(0)
	})
	// stalled: nothing arrives for longer than the backend waits, then what was sent does after all.
	stalled = onWay("stalls", func(c pgtest.Counts) int { return c.Stalls }, 4, func(ctx context.Context, p *pgtest.Proxy, random *rand.Rand) {
		d := attemptTimeout + time.Duration(random.IntN(2000))*time.Millisecond
		p.Stall(pgtest.Direction(random.IntN(3)), d)
		pause(ctx, d)
		p.Stall(pgtest.Both, 0)
	})
	connectionsCut = onWay("cuts", func(c pgtest.Counts) int { return c.Cuts }, 10, func(ctx context.Context, p *pgtest.Proxy, random *rand.Rand) {
		for range 1 + random.IntN(5) {
			p.Cut()
			pause(ctx, between(random, 30*time.Millisecond))
		}
	})
	// partitioned: a node cannot reach the server.
	partitioned = onWay("refusals", func(c pgtest.Counts) int { return c.Refusals }, 10, func(ctx context.Context, p *pgtest.Proxy, random *rand.Rand) {
		p.Refuse(true)
		p.Cut()
		pause(ctx, 200*time.Millisecond+time.Duration(random.IntN(1500))*time.Millisecond)
		p.Refuse(false)
	})
)
