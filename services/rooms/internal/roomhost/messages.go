package roomhost

import (
	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/libs/persistence"
)

// Messages to the host, beside *room.Inbound from the door, *room.NodeDown and *room.NodeLost, and what rooms send.
type (
	// Tick drives what depends on time.
	Tick struct{}
	// Takeovers brings what the journal says was claimed by others.
	Takeovers struct{ List []persistence.Takeover }
	// Drain gives all rooms away and closes Done when none is left.
	Drain struct{ Done chan struct{} }
)

// startResult reports the task that looked at a room's head and may have started it.
type startResult struct {
	slot *slot
	pid  *actor.PID
	// owner is set when the room is another node's.
	moved bool
	owner string
	err   error
}

// stopResult reports the task that shut a room down.
type stopResult struct {
	slot *slot
	err  error
}
