package gateway

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/parley-rt/parley/libs/actorkit"
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
// (*actorkit.StrayedError), its door (actorkit.ErrDeaf), or the actor of a share of its connections. Valid after Start.
func (s *Service) Failure() <-chan error { return s.failure }

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

// shardEnded notices that a share of the connections cannot be opened any more, while the node does not stop.
func (s *Service) shardEnded() {
	if !s.leaving.Load() {
		s.fail(errShardEnded)
	}
}

// fail says that the node is of no use any more. The first reason counts.
func (s *Service) fail(err error) {
	select {
	case s.failure <- err:
	default:
	}
}
