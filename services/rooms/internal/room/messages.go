package room

// Messages from the host to a room. After Finish the host hands it no frames any more, unless the room answers Keep or gets GoOn.
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
	// GoOn takes a Finish back after Finished: the room stays here.
	GoOn struct{}
	// HandedOver says, after Finished, that another node has the room now. The answer is Finished once more.
	HandedOver struct{ Owner string }
)

// Why an activation ends.
type Why string

const (
	// WhyIdle: nobody uses the room. It answers Keep when that is not so any more.
	WhyIdle Why = "idle"
	// WhyDrain: the node gives its rooms away. Subscribers are told after the release.
	WhyDrain Why = "drain"
	// WhyMove: the room is handed over to another node.
	WhyMove Why = "move"
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
	// Finished says that nothing is in flight any more; the actor may be shut down. The epochs are those of its streams, with
	// which the room can be handed over; 0 and nil when they are lost.
	Finished struct {
		RoomID        string
		Slot          *Slot
		Epoch         uint64
		MembersEpochs []uint64
	}
	// Keep refuses a Finish for idleness: the room is in use again.
	Keep struct {
		RoomID string
		Slot   *Slot
	}
)
