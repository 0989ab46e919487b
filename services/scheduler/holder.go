package scheduler

import (
	"context"
	"sync/atomic"

	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/services/scheduler/internal/book"
)

// lateSingleton is the competition for the schedule book, for those that are made before it.
type lateSingleton struct {
	of atomic.Pointer[actorkit.Singleton]
}

func (l *lateSingleton) set(s *actorkit.Singleton) { l.of.Store(s) }

// holder tells which node has the book, as far as this one knows.
func (l *lateSingleton) holder() (string, bool) {
	s := l.of.Load()
	if s == nil {
		return "", false
	}
	leader, ok := s.Leader()
	return leader.Node, ok
}

// running tells whether the book runs here.
func (l *lateSingleton) running() bool {
	s := l.of.Load()
	if s == nil {
		return false
	}
	_, _, ok := s.Actor()
	return ok
}

// request hands a request to the book here; false: it is not here.
func (l *lateSingleton) request(r *book.Request) bool {
	s := l.of.Load()
	if s == nil {
		return false
	}
	pid, _, ok := s.Actor()
	return ok && actor.Tell(context.Background(), pid, r) == nil
}

func (l *lateSingleton) stop(ctx context.Context) error {
	if s := l.of.Load(); s != nil {
		return s.Stop(ctx)
	}
	return nil
}
