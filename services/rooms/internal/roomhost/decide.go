package roomhost

import (
	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/persistence"
)

// Owner is what a host knows about the node that a room's head names.
type Owner struct {
	// Live: the directory has a record of it.
	Live bool
	// Known and Link are the state of our Link to it.
	Known bool
	Link  actorkit.LinkStatus
}

// mayClaim decides whether self takes a room with that head. It never takes one from an owner that it merely does not
// know yet: a Link that is still connecting says nothing, the owner's record does.
func mayClaim(self string, head persistence.Head, owner Owner) bool {
	switch {
	case head.Epoch == 0, head.Owner == "", head.Owner == self:
		return true
	case !owner.Live:
		return true
	case !owner.Known || owner.Link.LastHeard.IsZero():
		return false
	default:
		return owner.Link.Down || owner.Link.Blind
	}
}
