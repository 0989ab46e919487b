package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// leaveTimeout bounds each step after the drain.
const leaveTimeout = 3 * time.Second

// Stop drains: at once the node is not ready and refuses upgrades with 503; clients are told in waves to come back elsewhere
// and closed with 4000 once what they asked for is answered; then the node leaves. Connections are cut after DrainTimeout
// or when ctx ends; what follows takes seconds (L5).
func (s *Service) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stop(ctx)
}

func (s *Service) stop(ctx context.Context) error {
	var problems []error
	if s.deps.Health != nil && s.server != nil {
		s.deps.Health.SetDraining(true)
	}
	if s.acceptor != nil {
		s.acceptor.SetDraining(true)
	}
	var announced <-chan struct{}
	if s.reg != nil {
		announced = s.announceDrain(ctx)
	}
	if s.acceptor != nil {
		s.sendAway(ctx)
		problems = append(problems, bounded(ctx, leaveTimeout, s.acceptor.Shutdown))
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
		<-announced
		if err := bounded(ctx, leaveTimeout, s.reg.Deregister); err != nil {
			s.logger.Warn("node not removed from the directory, its lease will", slog.Any("err", err))
		}
		s.reg = nil
	}
	if s.cancel != nil {
		s.cancel()
		s.cancel = nil
	}
	s.loops.Wait()
	s.limits.limiter.Close()
	if s.hub != nil && s.node != nil {
		problems = append(problems, bounded(ctx, leaveTimeout, s.hub.Close))
	}
	s.hub = nil
	s.leaving.Store(true)
	if s.local != nil {
		// Bounded by the system's own timeout: an expired context would leave it half done.
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

// bounded gives a step its share of the time.
func bounded(ctx context.Context, timeout time.Duration, step func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return step(ctx)
}
