package engine

import (
	"maps"
	"slices"
	"strings"

	"github.com/parley-rt/parley/libs/dcplane"
)

// view is an immutable copy of the live nodes.
type view struct {
	groups map[group][]dcplane.Node // sorted by name, never empty
}

type group struct{ dc, service string }

// newView groups live nodes, which are sorted.
func newView(live []dcplane.Node) *view {
	v := &view{groups: make(map[group][]dcplane.Node)}
	for _, n := range live {
		g := group{n.DC, n.Service}
		v.groups[g] = append(v.groups[g], n)
	}
	return v
}

// with returns a view that differs by one change and shares the groups it does not touch.
func (v *view) with(c dcplane.Change) *view {
	groups := maps.Clone(v.groups)
	g := group{c.Node.DC, c.Node.Service}
	nodes := slices.Clone(groups[g])
	i, found := find(nodes, c.Node.Name)
	gone := c.Kind == dcplane.NodeDeregistered || c.Kind == dcplane.NodeExpired
	switch {
	case gone && found:
		nodes = slices.Delete(nodes, i, i+1)
	case gone:
	case found:
		nodes[i] = c.Node
	default:
		nodes = slices.Insert(nodes, i, c.Node)
	}
	groups[g] = nodes
	if len(nodes) == 0 {
		delete(groups, g)
	}
	return &view{groups: groups}
}

func find(nodes []dcplane.Node, name string) (int, bool) {
	return slices.BinarySearchFunc(nodes, name, func(n dcplane.Node, name string) int { return strings.Compare(n.Name, name) })
}
