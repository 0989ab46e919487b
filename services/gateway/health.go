package gateway

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// sessionsProvenFor is how long one success of the session store's probe counts. The probe commits a write, and whoever
// keeps the journal in the same store probes it as well.
const sessionsProvenFor = 5 * time.Second

// addClusterCheck says what the start of the node waits for.
func (s *Service) addClusterCheck() {
	if s.deps.Health != nil {
		s.checks = append(s.checks, s.deps.Health.AddCheck("gateway-cluster", s.waiting.check))
	}
}

// addChecks registers what readiness means for this service.
func (s *Service) addChecks() {
	if s.deps.Health == nil {
		return
	}
	addr := s.listener.Addr().String()
	if s.auth != nil {
		s.checks = append(s.checks, s.deps.Health.AddCheck("gateway-auth", s.auth.verifier.Ready))
	}
	sessions := &proof{probe: s.deps.Backend.Ping, now: time.Now}
	s.checks = append(s.checks,
		s.deps.Health.AddCheck("gateway-sessions", sessions.check),
		s.deps.Health.AddCheck("gateway-directory", func(context.Context) error {
			if problem := s.deps.Directory.Problem(); problem != nil {
				return fmt.Errorf("%w: %w", errDirectoryStale, problem)
			}
			return nil
		}),
		s.deps.Health.AddCheck("gateway-rooms", s.metRooms()),
		s.deps.Health.AddCheck("gateway-registration", func(context.Context) error {
			if err := s.lost.Load(); err != nil {
				return err
			}
			return nil
		}),
		s.deps.Health.AddCheck("gateway-listener", func(ctx context.Context) error {
			c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
			if err != nil {
				return fmt.Errorf("%w: %w", errNotListening, err)
			}
			return c.Close()
		}),
	)
}

// metRooms is a check that fails until a rooms node was reached, once: a gateway that came before them should get no clients. When
// they go away later, it keeps its place: clients are better off waiting on a connection than being sent from gateway to gateway.
func (s *Service) metRooms() func(context.Context) error {
	var met atomic.Bool
	return func(context.Context) error {
		if met.Load() || s.reachesRooms() {
			met.Store(true)
			return nil
		}
		return errNoRooms
	}
}

// proof is a probe whose success counts for a while. A failure does not: recovery shows at once. Safe for concurrent use.
type proof struct {
	probe func(context.Context) error
	now   func() time.Time

	mu    sync.Mutex
	until time.Time
}

func (p *proof) check(ctx context.Context) error {
	p.mu.Lock()
	proven := p.now().Before(p.until)
	p.mu.Unlock()
	if proven {
		return nil
	}
	if err := p.probe(ctx); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.until = p.now().Add(sessionsProvenFor)
	return nil
}
