package core

import (
	"slices"

	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

const (
	// comingsDeliveries is how many frames about comings and goings one room may cause in one report, for all its connections
	// together; comingsNamed bounds the members named, whoever is there to hear of them.
	comingsDeliveries = 25_000
	comingsNamed      = 200
	// comingsKept is how many comings and goings are told apart between two reports.
	comingsKept = 4096
)

// Comings collects who has joined a room and who has left it, until it is reported. Who did both in between is not worth
// telling. The zero value is empty.
type Comings struct {
	// True: joined. Bounded by comingsKept.
	members              map[string]bool
	joinedMore, leftMore int
}

// Note takes a member that was in the room before or not, and is after.
func (c *Comings) Note(member string, before, after bool) {
	if before == after {
		return
	}
	if came, ok := c.members[member]; ok && came == before {
		delete(c.members, member)
		return
	}
	if len(c.members) >= comingsKept {
		if after {
			c.joinedMore++
		} else {
			c.leftMore++
		}
		return
	}
	if c.members == nil {
		c.members = make(map[string]bool)
	}
	c.members[member] = after
}

// Empty tells whether there is nothing to report.
func (c *Comings) Empty() bool { return len(c.members)+c.joinedMore+c.leftMore == 0 }

// Take returns what there is to report to so many connections, and those of the members who have just joined, and starts
// anew. It names as many members as they can be told of without flooding them, at least one of each kind, and counts the rest.
func (c *Comings) Take(connections int) *roomv1.MembersChanged {
	m := &roomv1.MembersChanged{JoinedMore: uint32(c.joinedMore), LeftMore: uint32(c.leftMore)}
	for member, came := range c.members {
		if came {
			m.Joined = append(m.Joined, member)
		} else {
			m.Left = append(m.Left, member)
		}
	}
	*c = Comings{}
	most := min(comingsDeliveries/max(connections+len(m.Joined)+int(m.JoinedMore), 1), comingsNamed)
	m.Joined, m.JoinedMore = few(m.Joined, most/2, m.JoinedMore)
	m.Left, m.LeftMore = few(m.Left, most-len(m.Joined), m.LeftMore)
	return m
}

// few keeps the first of the members, at least one, and counts the others.
func few(members []string, most int, more uint32) ([]string, uint32) {
	slices.Sort(members)
	n := min(len(members), max(most, 1))
	return members[:n], more + uint32(len(members)-n)
}
