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
	// waitingAnswer: the room has finished and was handed over to another node.
	waitingAnswer
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
	// urgency is how soon it should start, while it waits for that.
	urgency urgency
	// lost is what the journal said of other writers while the room did not serve.
	lost []*room.Lost
	// gift is who hands the room over, until that is answered.
	gift *gift
	// since is when the room began to run here, or a move of it failed.
	since time.Time
	// move is the room's way to another node; nil: none. gone: it has arrived there, at owner.
	move *move
	gone bool
	// drain: it is one of those that were told to finish for a drain.
	drain bool
	// What the room said when it asked to be stopped.
	fenced bool
	failed bool
	owner  string
}

// lostKept bounds that: the newest count.
const lostKept = 8

// hold keeps a room from being started for a while.
type hold struct {
	why   holdReason
	until time.Time
	// owner gets the askers; not when the room failed.
	owner string
	// seq is how far the room's stream had got when this was last looked at; only of a room that was fenced off.
	seq uint64
	// Failures in a row, for the growing wait.
	failures int
}

type holdReason int

const (
	// heldFailed: the room cannot be started, or crashed.
	heldFailed holdReason = iota
	// heldFenced: another node has taken the room.
	heldFenced
	// heldGiven: the room was handed over. It may come back as soon as its new owner cannot be reached.
	heldGiven
)
