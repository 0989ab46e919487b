package gateway

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/parley-rt/parley/libs/dcplane"
)

const (
	// returnsPerSecond is how fast sent-away clients come back to other nodes, roughly, as long as the drain's time is enough
	// for that.
	returnsPerSecond = 2000
	// maxWaves is in how many groups connections are told.
	maxWaves = 20
	// soonest is the least time after which a client is told to come back.
	soonest = 200 * time.Millisecond
	// answersWithin is how long a client that should have left may wait for answers; see member.Config.DrainGrace.
	answersWithin = 5 * time.Second
	// announceTimeout bounds telling the directory of a drain: it may be away.
	announceTimeout = 2 * time.Second
)

// wavePlan says how connections are sent away: in groups of size, a pause apart, each told a time from soonest to soonest plus
// spread at random.
type wavePlan struct {
	size                   int
	pause, soonest, spread time.Duration
}

// planWaves spreads the clients so that they come back at returnsPerSecond, but keeps enough of the drain's time for the last
// one's answers. The spread of one wave overlaps the next, so that the whole is even.
func planWaves(connections int, timeout time.Duration) wavePlan {
	budget := max(timeout-answersWithin-time.Second, timeout/2)
	whole := min(budget*3/4, time.Duration(connections)*time.Second/returnsPerSecond)
	p := wavePlan{size: max(1, (connections+maxWaves-1)/maxWaves), soonest: min(soonest, budget/4)}
	p.pause = whole / maxWaves
	if connections <= returnsPerSecond/10 {
		p.pause = 0
	}
	p.spread = max(2*p.pause, min(p.soonest, budget/8))
	return p
}

// after is what one client is told.
func (p wavePlan) after() uint32 {
	return uint32((p.soonest + rand.N(p.spread)).Milliseconds())
}

// sendAway tells all connections to come back elsewhere, in waves, and waits until they are gone or the drain's time is over.
// Their commands are answered before they are closed.
func (s *Service) sendAway(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.DrainTimeout)
	defer cancel()
	n := s.acceptor.Active()
	plan := planWaves(n, s.cfg.DrainTimeout)
	if n > 0 {
		s.logger.Info("draining connections", slog.Int("connections", n))
	}
	s.registry.Drain(plan.after, plan.size, func() {
		select {
		case <-time.After(plan.pause):
		case <-ctx.Done():
		}
	})
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for s.acceptor.Active() > 0 {
		select {
		case <-poll.C:
		case <-ctx.Done():
			s.logger.Warn("connections left when the drain's time was over are cut", slog.Int("connections", s.acceptor.Active()))
			return
		}
	}
}

// announceDrain tells the directory, which may be away: nobody waits for it but the end of the drain.
func (s *Service) announceDrain(ctx context.Context) (done <-chan struct{}) {
	ended := make(chan struct{})
	reg := s.reg
	go func() {
		defer close(ended)
		ctx, cancel := context.WithTimeout(ctx, announceTimeout)
		defer cancel()
		if err := reg.Update(ctx, dcplane.StateDraining, 0); err != nil {
			s.logger.Warn("directory not told of the drain", slog.Any("err", err))
		}
	}()
	return ended
}
