package roomhost

import (
	"time"

	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/services/rooms/internal/room"
)

type slotState int

const (
	// waitingStart: a task will start the room when one of the places for starting is free.
	waitingStart slotState = iota
	starting
	running
	// finishing: the room was told Finish.
	finishing
	// waitingStop: the room has finished; a task will shut it down when one of the places for that is free.
	waitingStop
	stopping
)

// slot is one activation of a room, or the wish for one.
type slot struct {
	roomID string
	state  slotState
	shared *room.Slot
	pid    *actor.PID
	// Frames for the next activation, or for this one while it starts.
	queue []*room.Inbound
	// A drain that came while the room was starting.
	drain bool
	// What the room said when it asked to be stopped.
	fenced bool
	failed bool
	owner  string
}

// hold keeps a room from being started for a while.
type hold struct {
	until time.Time
	// owner gets the askers; only when fenced.
	fenced bool
	owner  string
	// Failures in a row, for the growing wait.
	failures int
}
