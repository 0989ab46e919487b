package history

import (
	"fmt"
	"time"
)

// Record is everything that is known about one room after a run. Times are since the start of the run.
type Record struct {
	Room    string
	Chains  []*Chain
	Streams []*Stream
	// Content is the room's whole history, read by a new client after the run.
	Content []*Entry
	// Rows are the room's events as its journal has them. Nil: not looked at.
	Rows []Row
	// Claims are observations of the room's writer, in the order of time.
	Claims []Claim
	// Healings are times in which no fault is active.
	Healings []Healing
	// Prompt are times in which whatever is acknowledged reaches every member soon, because no fault is in the way.
	Prompt []Healing
	// Excused are times in which a gateway could not answer whatever it did: it was frozen, dead, or out of its clients' reach.
	Excused []Excuse
	// Notes are violations that were noticed while recording.
	Notes []Violation
}

// Entry is one message as somebody saw it.
type Entry struct {
	Seq, Prev           uint64
	ID, Sender, Content string
}

// Row is one event of the room's journal; Entry is nil for events that are not messages.
type Row struct {
	Seq, Epoch uint64
	Entry      *Entry
}

// Claim says who wrote the room at a moment.
type Claim struct {
	At    time.Duration
	Epoch uint64
	Owner string
}

// Healing is a time, of a Record from the end of some faults to the beginning of others.
type Healing struct{ From, To time.Duration }

// Excuse is a time in which a gateway is not expected to answer.
type Excuse struct {
	Gateway  string
	From, To time.Duration
}

// Chain is one producer in one room. Its messages are numbered from 1 in the order in which it wants them stored.
type Chain struct {
	Name string
	// Sender is the member that the server knows the producer as.
	Sender string
	// Blind chains know the outcome of their publishes but not of the attempts that an SDK made: L1 and S4 are not checked.
	Blind    bool
	Conns    []Conn
	Attempts []Attempt
}

// Conn is one connection.
type Conn struct {
	Gateway       string
	Opened, Ended time.Duration // Ended is 0 while it lives
}

// Outcome is how an attempt to publish was answered.
type Outcome uint8

// The outcomes.
const (
	Unanswered Outcome = iota
	Stored
	// Refused may be tried again; it may be stored.
	Refused
	// RefusedForGood is not stored.
	RefusedForGood
)

// Attempt is one publish frame, or for a blind chain one call of the SDK.
type Attempt struct {
	N, Conn         int
	Asked, Answered time.Duration
	Outcome         Outcome
	Seq             uint64
	Code            string
}

// ID is the message id of the n-th message.
func (c *Chain) ID(n int) string { return fmt.Sprintf("%s %d", c.Name, n) }

// Content is the text of the n-th message.
func (c *Chain) Content(n int) string { return fmt.Sprintf("payload of %s %d", c.Name, n) }

// ParseID takes an id apart.
func ParseID(id string) (chain string, n int, ok bool) {
	_, err := fmt.Sscanf(id, "%s %d", &chain, &n)
	return chain, n, err == nil
}

// Stream is what one member was sent of a room, over all its connections.
type Stream struct {
	Member string
	// Blind streams do not know when the connection below them changes.
	Blind bool
	// Page is what was read of the history at once; nobody goes on from there.
	Page   bool
	Events []Event
}

// Kind of an Event.
type Kind uint8

// The kinds.
const (
	// Joined: the member is in the room from here on.
	Joined Kind = iota
	Received
	Reset
	// Leaving: the member has asked to leave. It may still be sent messages, and has a right to none.
	Leaving
	// Away: the connection ended, or the member left the room.
	Away
)

// Event is one thing that happened to a stream. Entry is set for Received, Place for Joined and Reset.
type Event struct {
	At    time.Duration
	Kind  Kind
	Entry *Entry
	Place *Place
}

// Place is where a stream begins or goes on.
type Place struct {
	// After is the cursor that the member asked to go on from; nil: from the head.
	After *uint64
	// Seq is the head for Joined and the new cursor for Reset.
	Seq         uint64
	Recovered   bool
	Incarnation uint64
	Reason      string // of a Reset
}

// Violation is a promise that was broken.
type Violation struct {
	Promise string
	Room    string
	Text    string
}

// String returns the promise's name, the room and what happened.
func (v Violation) String() string { return v.Promise + " " + v.Room + ": " + v.Text }
