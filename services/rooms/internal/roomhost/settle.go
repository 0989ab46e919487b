package roomhost

import (
	"time"

	"github.com/parley-rt/parley/libs/dcplane"
)

const (
	// Every departure of a node doubles how long it must have been ready before it is given rooms, up to settleMost; it is
	// forgotten after departureKept.
	settleMost    = 5 * time.Minute
	departureKept = 10 * time.Minute
)

// settling watches which rooms nodes there are, so that rooms do not follow every coming and going. Rooms move only once
// nothing has changed for a while, and not to a node that keeps leaving.
type settling struct {
	after time.Duration
	// since is when the last change was seen.
	since time.Time
	nodes map[string]settlingNode
	left  map[string][]time.Time
}

type settlingNode struct {
	incarnation string
	state       dcplane.NodeState
	// since is when this life of the node was first seen in this state.
	since time.Time
}

func newSettling(after time.Duration) *settling {
	return &settling{after: after, nodes: make(map[string]settlingNode), left: make(map[string][]time.Time)}
}

// observe takes note of the nodes that there are now.
func (s *settling) observe(now time.Time, nodes []dcplane.Node) {
	seen := make(map[string]struct{}, len(nodes))
	for _, n := range nodes {
		seen[n.Name] = struct{}{}
		is := settlingNode{incarnation: n.Incarnation, state: n.State, since: now}
		was, known := s.nodes[n.Name]
		if known && was.incarnation == is.incarnation && was.state == is.state {
			continue
		}
		if known && was.incarnation != is.incarnation {
			s.left[n.Name] = append(s.left[n.Name], now)
		}
		s.nodes[n.Name] = is
		s.since = now
	}
	for name := range s.nodes {
		if _, ok := seen[name]; !ok {
			delete(s.nodes, name)
			s.left[name] = append(s.left[name], now)
			s.since = now
		}
	}
	for name, left := range s.left {
		for len(left) > 0 && now.Sub(left[0]) > departureKept {
			left = left[1:]
		}
		if s.left[name] = left; len(left) == 0 {
			delete(s.left, name)
		}
	}
}

// settled tells whether nothing has changed for long enough.
func (s *settling) settled(now time.Time) bool {
	return !s.since.IsZero() && now.Sub(s.since) >= s.after
}

// trusted tells whether a node has been ready for long enough to be given rooms.
func (s *settling) trusted(name string, now time.Time) bool {
	n, ok := s.nodes[name]
	wait := min(s.after<<min(len(s.left[name]), 10), max(settleMost, s.after))
	return ok && n.state == dcplane.StateReady && now.Sub(n.since) >= wait
}
