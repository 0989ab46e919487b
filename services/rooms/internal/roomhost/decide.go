package roomhost

import (
	"time"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/persistence"
)

// Owner is what a host knows about the node that a room's head names.
type Owner struct {
	// Live: the directory has a record of it.
	Live bool
	// Unseen: the owner claimed the room so lately that the directory need not have a record of it.
	Unseen bool
	// Known and Link are the state of our Link to it.
	Known bool
	Link  actorkit.LinkStatus
}

// mayClaim decides whether self takes a room with that head. What the Link says counts most: an owner that answers is not
// robbed, whatever the directory says, and one that does not is replaced, though its record may live on for a while. A Link
// that is still connecting says nothing. The lack of a record says that the owner is gone, if it would be there otherwise.
func mayClaim(self string, head persistence.Head, owner Owner) bool {
	switch {
	case head.Epoch == 0, head.Owner == "", head.Owner == self:
		return true
	case owner.Known && owner.Link.Up:
		return owner.Link.Blind
	case owner.Known && owner.Link.Down:
		return true
	default:
		return !owner.Live && !owner.Unseen
	}
}

// unseen tells whether a directory that was last complete at asOf need not have a record of a node that claimed something
// at claimed, by the journal's clock. A time to come says that the clocks differ, and nothing else.
func unseen(claimed, asOf, now time.Time, knownAfter time.Duration) bool {
	return asOf.Sub(claimed) <= knownAfter && claimed.Sub(now) <= knownAfter
}
