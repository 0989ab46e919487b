package room

// Messages from the host to a room. After Finish the host sends nothing more unless the room answers Keep.
type (
	// Tick comes when the slot's wake time has passed.
	Tick struct{}
	// NodeDown says that a gateway node cannot be reached any more.
	NodeDown struct{ Node string }
	// NodeLost says that frames of a gateway node are missing.
	NodeLost struct{ Node string }
	// Lost brings the journal's word that somebody else claimed one of the room's streams.
	Lost struct {
		Epoch   uint64
		Owner   string
		Members bool
	}
	// Finish asks the room to come to its end: finish what it has and answer Finished.
	Finish struct{ Why Why }
)

// Why an activation ends.
type Why string

const (
	// WhyIdle: nobody uses the room. It answers Keep when that is not so any more.
	WhyIdle Why = "idle"
	// WhyDrain: the node gives its rooms away. Subscribers are told after the release.
	WhyDrain Why = "drain"
	// WhyFailed: the room asked for it with Stopping.
	WhyFailed Why = "failed"
)

// Messages from a room to its host. Slot tells which activation speaks.
type (
	// Stopping says that the activation may not or cannot go on. Fenced: another node owns the room now, Owner if known.
	Stopping struct {
		RoomID string
		Slot   *Slot
		Fenced bool
		Owner  string
		Err    error
	}
	// Finished says that nothing is in flight any more; the actor may be shut down.
	Finished struct {
		RoomID string
		Slot   *Slot
	}
	// Keep refuses a Finish for idleness: the room is in use again.
	Keep struct {
		RoomID string
		Slot   *Slot
	}
)
