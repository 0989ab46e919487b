package core

import (
	"slices"

	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// PresenceListed is how many members a presence list names at most.
const PresenceListed = 1000

// Presence is who is connected right now, as the gateway nodes tell. The zero value is not usable; see NewPresence.
type Presence struct {
	nodes map[string]map[string]uint32
	total map[string]uint32
	// Sorted list for readers; nil when something changed since.
	list []*roomv1.Present
}

// NewPresence returns an empty presence.
func NewPresence() *Presence {
	return &Presence{nodes: make(map[string]map[string]uint32), total: make(map[string]uint32)}
}

// Online takes what a gateway node says. A full report replaces what the node said before, another one changes the
// members it names; connections 0 means gone.
func (p *Presence) Online(node string, o *roomv1.Online) {
	if o.GetFull() {
		p.Drop(node)
	}
	share := p.nodes[node]
	for _, m := range o.GetMembers() {
		if m.GetMemberId() == "" {
			continue
		}
		if share == nil {
			share = make(map[string]uint32)
			p.nodes[node] = share
		}
		p.add(m.MemberId, share[m.MemberId], m.Connections)
		if m.Connections == 0 {
			delete(share, m.MemberId)
		} else {
			share[m.MemberId] = m.Connections
		}
	}
	if share != nil && len(share) == 0 {
		delete(p.nodes, node)
	}
	p.list = nil
}

// Drop forgets a gateway node's share.
func (p *Presence) Drop(node string) {
	for member, n := range p.nodes[node] {
		p.add(member, n, 0)
	}
	delete(p.nodes, node)
	p.list = nil
}

func (p *Presence) add(member string, before, after uint32) {
	n := p.total[member] - before + after
	if n == 0 {
		delete(p.total, member)
		return
	}
	p.total[member] = n
}

// Count returns the number of members online.
func (p *Presence) Count() int { return len(p.total) }

// Connections returns how many connections a member has.
func (p *Presence) Connections(member string) uint32 { return p.total[member] }

// Connected returns the number of connections of all members.
func (p *Presence) Connected() int {
	n := 0
	for _, connections := range p.total {
		n += int(connections)
	}
	return n
}

// All goes through the members online until yield returns false, in no order.
func (p *Presence) All(yield func(member string) bool) {
	for member := range p.total {
		if !yield(member) {
			return
		}
	}
}

// List returns the first members by id, PresenceListed of them at most. The list is shared: it must not be changed.
func (p *Presence) List() []*roomv1.Present {
	if p.list == nil {
		names := make([]string, 0, len(p.total))
		for member := range p.total {
			names = append(names, member)
		}
		slices.Sort(names)
		p.list = make([]*roomv1.Present, min(len(names), PresenceListed))
		for i := range p.list {
			p.list[i] = &roomv1.Present{MemberId: names[i], Connections: p.total[names[i]]}
		}
	}
	return p.list
}
