package sim

import "time"

// frameKind names what nodes tell each other.
type frameKind uint8

const (
	// From gateways.
	joinFrame frameKind = iota
	publishFrame
	readFrame
	subscribeFrame
	unsubscribeFrame
	compareFrame
	// From rooms nodes to gateways.
	joinedFrame
	publishedFrame
	pageFrame
	subscribedFrame
	deliverFrame
	closedFrame
	movedFrame
	refusedFrame
	differFrame
	// Between rooms nodes.
	preloadFrame
	preloadedFrame
	handOverFrame
	takenOverFrame
	notTakenFrame
)

// frame is what nodes tell each other. It must not be changed once sent.
type frame struct {
	kind frameKind
	room roomID
	// conn is the connection at the gateway that asked, 0: its hub. request is the asker's number of the question.
	conn, request uint64

	// Publish and its answer.
	member   int
	drafts   []messageID
	outcomes []outcome

	// Join and its answer.
	cursor    *cursor
	recovered bool
	reset     bool

	// What a room says of itself. at is the cursor that a joined member goes on from.
	epoch, head, last, at uint64
	messages              []message
	after                 uint64
	owner                 *process

	code       code
	retryAfter time.Duration

	heads []roomHead
	rooms []roomID
}

// cursor is where a member's stream stands: a seq and the message received there, if it was one.
type cursor struct {
	seq uint64
	id  messageID
}

// message is one as members get it.
type message struct {
	seq, prev uint64
	id        messageID
}

// outcome is what became of one message of a batch.
type outcome struct {
	id  messageID
	seq uint64
}

// roomHead is what a hub believes of a room.
type roomHead struct {
	room        roomID
	epoch, last uint64
}

// code says why something was refused.
type code uint8

const (
	granted code = iota
	busy
	unavailable
	unknownOutcome
)

func (c code) String() string {
	return [...]string{"OK", "BUSY", "UNAVAILABLE", "UNKNOWN_OUTCOME"}[c]
}

// passing refusals are those of a room that changes hands: the gateway asks again.
func (c code) passing() bool { return c == unavailable || c == unknownOutcome }
