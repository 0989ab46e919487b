package scheduler

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/parley-rt/parley/libs/actorkit"
)

var (
	errDirectoryStale = errors.New("directory is not complete or too old")
	errNoHolder       = errors.New("no node is known to have the schedule book")
)

// waiting is why the start of the node's cluster waits.
type waiting struct{ why atomic.Pointer[error] }

func (w *waiting) set(err error) { w.why.Store(&err) }

func (w *waiting) check(context.Context) error {
	if err := w.why.Load(); err != nil && *err != nil {
		return fmt.Errorf("waiting for the cluster: %w", *err)
	}
	return nil
}

// Failure delivers why the node is of no use any more and should be stopped and started anew: it has lost its cluster for good
// (*actorkit.StrayedError), its door (actorkit.ErrDeaf) or its name (*dcplane.SupersededError). Valid after Start.
func (s *Service) Failure() <-chan error { return s.failure }

func (s *Service) fail(err error) {
	select {
	case s.failure <- err:
	default:
	}
}

// watchCluster notices when the node is lost to the others.
func (s *Service) watchCluster(ctx context.Context, node *actorkit.Node) {
	err := node.Watch(ctx, actorkit.MembershipPatience, func() ([]string, bool) {
		var hosts []string
		for _, n := range s.deps.Directory.Nodes(s.cfg.DC, ServiceName) {
			hosts = append(hosts, n.Host)
		}
		return hosts, s.deps.Directory.Ready()
	})
	if err != nil {
		s.fail(err)
	}
}

// addClusterCheck says what the start of the node waits for.
func (s *Service) addClusterCheck() {
	if s.deps.Health != nil {
		s.checks = append(s.checks, s.deps.Health.AddCheck("scheduler-cluster", s.waiting.check))
	}
}

// addChecks registers what readiness means for this service: it knows the others, and who has the book, which asks the journal.
func (s *Service) addChecks() {
	if s.deps.Health == nil {
		return
	}
	s.checks = append(s.checks,
		s.deps.Health.AddCheck("scheduler-directory", func(context.Context) error {
			if problem := s.deps.Directory.Problem(); problem != nil {
				return fmt.Errorf("%w: %w", errDirectoryStale, problem)
			}
			return nil
		}),
		s.deps.Health.AddCheck("scheduler-book", func(context.Context) error {
			if _, ok := s.singleton.holder(); !ok {
				return errNoHolder
			}
			return nil
		}))
}
