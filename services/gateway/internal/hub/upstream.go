package hub

import (
	"context"

	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/libs/actorkit"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// Send implements Upstream.
func (s *Shard) Send(f *roomv1.Frame, avoid []string) (string, error) {
	s.metrics.resubs.Add(context.Background(), 1)
	return s.router.Send(f, actorkit.Frame{}, avoid)
}

// SendTo implements Upstream.
func (s *Shard) SendTo(node string, f *roomv1.Frame) error { return s.router.SendTo(node, f) }

// Owner implements Upstream.
func (s *Shard) Owner(room, node string) { s.router.SetOwner(room, node) }

// Number implements Upstream.
func (s *Shard) Number() uint64 {
	s.number++
	return s.number
}

// AcquireRead implements Upstream.
func (s *Shard) AcquireRead(t *Topic) bool {
	if s.reads > 0 {
		s.reads--
		return true
	}
	if _, ok := s.queued[t]; !ok {
		s.queued[t] = struct{}{}
		s.waiting = append(s.waiting, t)
	}
	return false
}

// ReleaseRead implements Upstream.
func (s *Shard) ReleaseRead() {
	s.reads++
	for s.reads > 0 && len(s.waiting) > 0 {
		t := s.waiting[0]
		s.waiting = s.waiting[1:]
		delete(s.queued, t)
		// Whoever gave the place back must not answer for a fault of the one that gets it.
		s.in(t, func() { t.CanRead(s.now()) })
	}
}

// Drained implements Upstream.
func (s *Shard) Drained(t *Topic, sub *sub) {
	_ = actor.Tell(context.Background(), s.self, &resumeMsg{t, sub})
}
