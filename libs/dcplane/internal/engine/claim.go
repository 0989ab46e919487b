package engine

// verdict is what a registration does about the record it finds under its own key.
type verdict int

const (
	// takeKey means: write over what is there.
	takeKey verdict = iota
	// yieldKey means: somebody who registered later holds the key; stop.
	yieldKey
)

// judge decides between the registration mine and the record found. It also returns the claim to write with.
//
// A new registration raises its claim above what it finds and so always wins. A renewal keeps its claim: it takes back a
// key from an older registration (which may have re-created it first after the control plane lost everything) and yields
// to a newer one. Of two equal claims, possible only when both registered without seeing each other, the one that is
// there stays; so two processes never take the key from each other for ever.
func judge(mine Record, registered bool, found Record) (verdict, uint64) {
	switch {
	case !registered:
		return takeKey, max(mine.Claim, found.Claim+1)
	case found.Node.Incarnation == mine.Node.Incarnation:
		return takeKey, max(mine.Claim, found.Claim)
	case found.Claim < mine.Claim:
		return takeKey, mine.Claim
	default:
		return yieldKey, mine.Claim
	}
}
