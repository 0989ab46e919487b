package roomhost

import (
	"time"

	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/services/rooms/internal/room"
)

// Messages to the host, beside *room.Inbound and *room.PeerFrame from the door, *room.NodeDown and *room.NodeLost, and what rooms send.
type (
	// Tick drives what depends on time.
	Tick struct{}
	// Takeovers brings what the journal says was claimed by others.
	Takeovers struct{ List []persistence.Takeover }
	// Drain gives all rooms away and closes Done when none is left. Until MoveUntil they are handed over to other nodes, as
	// far as there are any; what is here then is released.
	Drain struct {
		Done      chan struct{}
		MoveUntil time.Time
	}
)

// wish is what an activation is started with.
type wish struct {
	slot *slot
	name string
	gift *gift
	warm *room.Warm
	// rival is who took the room from this node lately, and rivalSeq how far its stream had got then; empty: nobody did.
	rival    string
	rivalSeq uint64
}

// startResult reports the task that looked at a room's head and may have started it.
type startResult struct {
	wish
	pid *actor.PID
	// owner is set when the room is another node's.
	moved bool
	owner string
	// writes is set when the owner, though it looks gone, goes on writing: how far it has got.
	writes uint64
	err    error
}

// disowned reports that the askers for a room that is not here may look for it elsewhere.
type disowned struct{ roomID string }

// stopResult reports the task that shut a room down.
type stopResult struct {
	slot *slot
	err  error
}
