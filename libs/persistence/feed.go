package persistence

import "context"

// LaneHead is how far a lane has come.
type LaneHead struct {
	Lane int16
	// Pos is the last position given; positions begin at 1.
	Pos uint64
	// TrimPos: events up to here may have gone with a dropped partition.
	TrimPos uint64
}

// FeedEvent is an event with its place among the events of all streams of its lane.
type FeedEvent struct {
	Event
	Key StreamKey
	Pos uint64
}

// Checkpoint is the right to move a consumer's place in one lane. It is a value; Pos is the place at the claim.
type Checkpoint struct {
	// Name is the consumer's: 1 to MaxKeyBytes of UTF-8 without NUL.
	Name  string
	Lane  int16
	Owner string
	// Epoch rises with each claim of the checkpoint, also over its deletion: one that is made anew does not let the holder
	// of the old one in. 0 only in Checkpoints' answer for one that was never claimed.
	Epoch uint64
	// Pos is the position up to which the consumer is done.
	Pos uint64
}

// Feed reads the events of all streams in the order of their commits, for projections and other consumers.
//
// A stream stays in the lane that it was created in, so its events come in the order of their seqs. Positions of a lane
// rise, and an event that has appeared is never followed by one of a lower position; they have holes, which are never
// filled. Between lanes there is no order. Delivery is at least once: whoever needs more writes its checkpoint in the same
// transaction as its own results, or recognises events by MessageID.
//
// An event that was trimmed (Journal.Trim) may be missing, but not while there is a checkpoint of its lane that has not
// passed it since before the trim; one whose partition was dropped gives ErrTrimmed, never silence. Implementations are
// safe for concurrent use.
type Feed interface {
	// Lanes returns every lane, ascending.
	Lanes(ctx context.Context) ([]LaneHead, error)

	// ReadLane returns events of the lane with positions above after, ascending: at most limit (1 to MaxRead) and at most
	// MaxReadBytes of payload and meta, but at least one if the next one is larger. next is where to go on: above after
	// whenever there was anything to pass, holes included, and equal to after when there is nothing new. So a page may be
	// empty although more follows. ErrTrimmed when after is below the lane's TrimPos, ErrInvalid for a lane there is not.
	ReadLane(ctx context.Context, lane int16, after uint64, limit int) (events []FeedEvent, next uint64, err error)

	// ClaimCheckpoint makes owner the one who may move the consumer's checkpoint in that lane, and creates it at the
	// lane's TrimPos if need be. Whoever held it before is fenced. ErrInvalid for a lane there is not.
	ClaimCheckpoint(ctx context.Context, name string, lane int16, owner string) (Checkpoint, error)

	// SaveCheckpoint moves the checkpoint to pos. ErrFenced when another claim took it or it was deleted, else ErrConflict
	// when pos is below the stored one or above the lane's Pos.
	SaveCheckpoint(ctx context.Context, c Checkpoint, pos uint64) error

	// DeleteCheckpoint forgets the consumer in every lane, so that it holds back no partition any more. Nil also when
	// there was none.
	DeleteCheckpoint(ctx context.Context, name string) error

	// Checkpoints returns the checkpoints of all consumers, sorted by name and lane.
	Checkpoints(ctx context.Context) ([]Checkpoint, error)
}
