package roomhost

import (
	"time"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/persistence"
)

// knownAfter is how long after it claimed a room an owner must be in a directory that is complete: nodes register before
// they claim, and their clock and the journal's may differ.
const knownAfter = 5 * time.Second

// Owner is what a host knows about the node that a room's head names.
type Owner struct {
	// Live: the directory has a record of it.
	Live bool
	// AsOf is when the directory was last known to be complete.
	AsOf time.Time
	// Known and Link are the state of our Link to it.
	Known bool
	Link  actorkit.LinkStatus
}

// mayClaim decides whether self takes a room with that head. What the Link says counts most: an owner that answers is not
// robbed, whatever the directory says, and one that does not is replaced, though its record may live on for a while. A Link
// that is still connecting says nothing. The lack of a record says that the owner is gone, unless the directory is of a
// time when the owner need not have been in it.
func mayClaim(self string, head persistence.Head, owner Owner) bool {
	switch {
	case head.Epoch == 0, head.Owner == "", head.Owner == self:
		return true
	case owner.Known && owner.Link.Up:
		return owner.Link.Blind
	case owner.Known && owner.Link.Down:
		return true
	case owner.Live:
		return false
	default:
		return owner.AsOf.Sub(head.ClaimedAt) > knownAfter
	}
}
