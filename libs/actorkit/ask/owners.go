package ask

import (
	"slices"
	"sync"
)

// maxOwners bounds the remembered owners; about 200 bytes each.
const maxOwners = 1 << 14

// owners remembers which node runs which room. When it is full any one is forgotten: that costs a hop.
type owners struct {
	mu    sync.Mutex
	nodes map[string]string
	limit int
}

func newOwners(limit int) *owners { return &owners{nodes: make(map[string]string), limit: limit} }

func (o *owners) get(room string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.nodes[room]
}

// set remembers an owner; one that is not known changes nothing.
func (o *owners) set(room, node string) {
	if node == "" {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, known := o.nodes[room]; !known && len(o.nodes) >= o.limit {
		for other := range o.nodes {
			delete(o.nodes, other)
			break
		}
	}
	o.nodes[room] = node
}

// candidates lists whom to ask about a room, best first: its owner as far as it is known, then the others in their order. Nodes to be avoided come last: better them than nobody.
func (a *Asker) candidates(room string, avoid []string) []string {
	names := slices.Clone(a.cfg.Nodes(room))
	if i := slices.Index(names, a.owners.get(room)); i > 0 {
		owner := names[i]
		copy(names[1:i+1], names[:i])
		names[0] = owner
	}
	shunned := make(map[string]bool, len(names))
	for _, name := range names {
		shunned[name] = slices.Contains(avoid, name) || a.cfg.Blind != nil && a.cfg.Blind(name)
	}
	slices.SortStableFunc(names, func(x, y string) int { return rank(shunned[x]) - rank(shunned[y]) })
	return names
}

func rank(avoided bool) int {
	if avoided {
		return 1
	}
	return 0
}
