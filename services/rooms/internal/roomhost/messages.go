package roomhost

import (
	"time"

	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/persistence"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/rooms/internal/room"
)

// Messages to the host, beside *room.Inbound from the door, *room.NodeDown and *room.NodeLost, and what rooms send.
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
	// PeerFrame is what another rooms node says about a room's move.
	PeerFrame struct {
		From  actorkit.Peer
		Frame *roomv1.Frame
	}
)

// wish is what an activation is started with.
type wish struct {
	slot *slot
	name string
	gift *gift
	warm *room.Warm
}

// startResult reports the task that looked at a room's head and may have started it.
type startResult struct {
	wish
	pid *actor.PID
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
