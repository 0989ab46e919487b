package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/parley-rt/parley/libs/dcplane"
)

const (
	// waves is in how many groups connections are sent away.
	waves = 20
	// returnsPerSecond is how fast sent-away clients come back to other nodes at most, roughly.
	returnsPerSecond = 2000
	// soonest is the least time after which a client is told to come back, and how far apart the first few are.
	soonest = 200 * time.Millisecond
)

// Stop drains: upgrades are refused, clients are told to come back elsewhere and closed with 4000 once what they asked
// for is answered, then the node leaves. It is bounded by DrainTimeout and ctx; connections still there are cut.
func (s *Service) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stop(ctx)
}

func (s *Service) stop(ctx context.Context) error {
	var problems []error
	if s.reg != nil {
		if err := s.reg.Update(ctx, dcplane.StateDraining, 0); err != nil {
			s.logger.Warn("directory not told of the drain", slog.Any("err", err))
		}
	}
	if s.deps.Health != nil && s.server != nil {
		s.deps.Health.SetDraining(true)
	}
	if s.acceptor != nil {
		s.acceptor.SetDraining(true)
		s.sendAway(ctx)
		problems = append(problems, s.acceptor.Shutdown(ctx))
	}
	for _, remove := range s.checks {
		remove()
	}
	s.checks = nil
	if s.server != nil {
		problems = append(problems, s.server.Close())
		s.server = nil
	} else if s.listener != nil {
		problems = append(problems, s.listener.Close())
	}
	s.listener = nil
	if s.reg != nil {
		if err := s.reg.Deregister(ctx); err != nil {
			s.logger.Warn("node not removed from the directory, its lease will", slog.Any("err", err))
		}
		s.reg = nil
	}
	if s.cancel != nil {
		s.cancel()
		s.cancel = nil
	}
	s.loops.Wait()
	if s.hub != nil && s.node != nil {
		problems = append(problems, s.hub.Close(ctx))
	}
	s.hub = nil
	if s.local != nil {
		if err := s.local.Stop(context.WithoutCancel(ctx)); err != nil {
			problems = append(problems, fmt.Errorf("stop local actor system: %w", err))
		}
		s.local = nil
	}
	if s.node != nil {
		problems = append(problems, s.node.Stop(ctx))
		s.node = nil
		s.logger.Info("gateway node stopped")
	}
	return errors.Join(problems...)
}

// sendAway closes all connections in waves and waits until they are gone, or half of the time is over.
func (s *Service) sendAway(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.DrainTimeout)
	defer cancel()
	n := s.acceptor.Active()
	if n == 0 {
		return
	}
	s.logger.Info("draining connections", slog.Int("connections", n))
	spread := max(soonest, time.Duration(n)*time.Second/returnsPerSecond)
	pause := min(s.cfg.DrainTimeout/2, time.Duration(n)*time.Second/returnsPerSecond) / waves
	s.registry.Drain(
		func() uint32 { return uint32((soonest + rand.N(spread)).Milliseconds()) },
		max(1, n/waves),
		func() {
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		})
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for s.acceptor.Active() > 0 {
		select {
		case <-poll.C:
		case <-ctx.Done():
			s.logger.Warn("connections left when the drain's time was over", slog.Int("connections", s.acceptor.Active()))
			return
		}
	}
}
