package persistence

import (
	"context"
	"strings"
	"time"
)

// StreamKey names a stream: "room/42", "members/42". The part before the first '/' is its kind.
// At most 512 bytes of UTF-8 without NUL.
type StreamKey string

// Kind returns the part of the key before the first '/'.
func (k StreamKey) Kind() string {
	kind, _, _ := strings.Cut(string(k), "/")
	return kind
}

// Codec tells how a payload is encoded. The journal stores it and never looks inside.
type Codec int16

// Codecs in use. Numbers are stored: never reuse one.
const (
	CodecRaw   Codec = 0
	CodecProto Codec = 1
)

// Event is one row of a stream. Callers fill MessageID to Meta; Seq, Epoch and At are the journal's and are ignored on
// append. Payload and Meta belong to the journal until Append returns.
type Event struct {
	// MessageID recognises the event: a retried append finds its own rows by it. Unique within the stream by the
	// caller's care, not by an index.
	MessageID [16]byte
	// Manifest names type and schema version of the payload: "parley.journal.v1.MessagePosted". UTF-8 without NUL, at most
	// MaxKeyBytes; it may be empty.
	Manifest string
	Codec    Codec
	Payload  []byte
	Meta     []byte

	Seq   uint64
	Epoch uint64
	// At is the backend's clock at the append: information, never an order.
	At time.Time
}

// Claim is the right to append to a stream: one writer generation. It is a value; the head fields are those at the claim.
type Claim struct {
	Key      StreamKey
	StreamID int64
	Epoch    uint64
	// Incarnation is random, set when the stream is created; it changes only when the stream's tail is known to be lost.
	Incarnation uint64
	LastSeq     uint64
	SnapSeq     uint64
	// TrimSeq: events up to here may be gone.
	TrimSeq uint64
	// Lane is the ordering domain the backend put the stream in.
	Lane  int16
	Owner string
	// PreviousOwner held the stream before; empty when it was released or new. It is the claimer itself when the answer to
	// the claim's first attempt was lost and the backend claimed again.
	PreviousOwner string
	// SnapPart prunes recovery on partitioned backends.
	SnapPart int32
}

// Head is what the journal knows of a stream without claiming it. A stream never claimed has Epoch 0.
type Head struct {
	Key         StreamKey
	StreamID    int64
	Epoch       uint64
	Incarnation uint64
	LastSeq     uint64
	SnapSeq     uint64
	TrimSeq     uint64
	Owner       string
	ClaimedAt   time.Time
	// SnapPart is as in Claim.
	SnapPart int32
}

// ClaimOptions refines a claim; the zero value claims unconditionally.
type ClaimOptions struct {
	// Guard is checked in the claim's own transaction; a refused guard changes nothing and gives a *GuardError.
	Guard Guard
}

// Guard is a typed precondition of a claim. The set is closed: a backend must know each of them.
type Guard interface{ guard() }

// GuardEpoch lets a claim through only while the stream's epoch is still Epoch (0: never claimed), so that a decision
// taken on a Head is not carried out on a newer one.
type GuardEpoch struct{ Epoch uint64 }

func (GuardEpoch) guard() {}

// GuardLease lets a claim through only while the lease Name is Owner's at Epoch, so that who held a lease claims nothing any more
// once somebody else has it. It looks at who has the lease, not at the clock: a lease that expired and that nobody took is still
// its owner's, as in RenewLease. A claim that it lets through is made before the lease can change hands.
type GuardLease struct {
	Name, Owner string
	Epoch       uint64
}

func (GuardLease) guard() {}

// Snapshot is a state of a stream up to and including Seq.
type Snapshot struct {
	Seq      uint64
	Codec    Codec
	Manifest string
	Payload  []byte
	Meta     []byte
	// Epoch and At are the journal's.
	Epoch uint64
	At    time.Time
}

// Recovery is what rebuilds a claimed stream's state: the newest snapshot (Seq 0 and nil Payload: none), the one before
// it for a caller that cannot read the newest, and a way to read on.
type Recovery struct {
	Snapshot Snapshot
	// Previous is the snapshot before Snapshot; Seq 0: none.
	Previous Snapshot
	// Tail holds the events after Snapshot.Seq, ascending, contiguous, up to Claim.LastSeq, or the first page of them, no
	// larger than MaxReadBytes unless it is one event: More says that Read must go on after the last one.
	Tail []Event
	More bool
}

// Takeover is a stream that somebody claimed.
type Takeover struct {
	Key   StreamKey
	Epoch uint64
	Owner string
}

// Journal is the append-only store of streams. Implementations are safe for concurrent use.
//
// Every claim raises the stream's epoch and waits for appends of older epochs that are on their way; after it returned,
// none of those can commit any more. So whoever claims wins, and the loser learns of it by a *FencedError on its next
// append: ownership is safe without clocks or leases.
type Journal interface {
	// Claim makes owner the stream's writer and creates the stream if need be. owner is 1 to MaxKeyBytes of UTF-8 without
	// NUL. Errors: *GuardError, ErrInvalid, ErrUnavailable, ErrOverloaded, ErrUnknown (it may have happened: claim again),
	// ErrClosed.
	Claim(ctx context.Context, key StreamKey, owner string, opts ClaimOptions) (Claim, error)

	// Release clears the stream's owner if the claim still holds it; nil also when it does not. The epoch stays; appends
	// with it still work.
	Release(ctx context.Context, c Claim) error

	// Recover reads what rebuilds the state at c.LastSeq. It fails with ErrCorrupt unless the events after the snapshot
	// are contiguous and end there. Call it before the claim's first append: later snapshots may have pushed out those
	// at or below c.LastSeq. ErrUnavailable and ErrOverloaded may be tried again.
	Recover(ctx context.Context, c Claim) (Recovery, error)

	// Append stores all events or none, as seqs expected+1 and on, and returns the last. It returns only when they are
	// durable. Errors: *FencedError (another claim won; terminal), ErrConflict (expected is not the head in this epoch;
	// terminal), ErrTooLarge, ErrUnavailable and ErrOverloaded (certainly not written; retryable), ErrUnknown (may have
	// been written; stop and claim again), ErrCorrupt (terminal), ErrClosed. The end of ctx during the commit gives
	// ErrUnknown, before it ErrUnavailable. At most one append of a claim should be on its way: a second one waits for
	// the commit of the first.
	Append(ctx context.Context, c Claim, expected uint64, events []Event) (uint64, error)

	// Read returns a page of the events with seq >= from (0 is 1), ascending: at most limit of them and at most
	// MaxReadBytes of payload and meta, but at least one if there is any. So a page that is shorter than limit does not
	// end the stream; an empty one does, and nothing else: go on from the last seq + 1 until a page is empty or has what
	// you want. limit is 1 to MaxRead. ErrTrimmed when from is not above the stream's TrimSeq. A stream never claimed has
	// no events.
	Read(ctx context.Context, key StreamKey, from uint64, limit int) ([]Event, error)

	// ReadReverse returns a page of the events with seq < before (0: from the head), descending, of the same size as
	// Read's: go on with before = the last seq until a page is empty, which is when TrimSeq or the first event is reached.
	ReadReverse(ctx context.Context, key StreamKey, before uint64, limit int) ([]Event, error)

	// Head returns the stream's head; Epoch 0 when it was never claimed.
	Head(ctx context.Context, key StreamKey) (Head, error)

	// SaveSnapshot stores a snapshot; the newest two are kept. *FencedError when the claim lost the stream,
	// ErrStaleSnapshot when one of this seq or a newer one is stored (informational), ErrInvalid for a seq of 0 or above
	// the head, ErrTooLarge over MaxSnapshotBytes.
	SaveSnapshot(ctx context.Context, c Claim, s Snapshot) error

	// Trim declares events up to upTo gone: reads stop there at once, rows go when the backend likes. upTo must not pass
	// the newest snapshot (ErrConflict). Lower than before is a no-op. *FencedError when the claim lost the stream.
	Trim(ctx context.Context, c Claim, upTo uint64) error

	// Reincarnate draws a new incarnation for a stream whose tail is known to be lost, and returns the claim with it: the
	// holder of c found less in the journal than was acknowledged, so clients must not take their cursors for this
	// stream's. *FencedError when the claim lost the stream.
	Reincarnate(ctx context.Context, c Claim) (Claim, error)

	// Takeovers lists streams claimed by anybody but owner since the mark (zero: the last minute) and returns the next
	// mark. A takeover may be listed more than once, never not at all; it is judged by its epoch. One that was released
	// since is listed without an owner. ErrInvalid for a mark that is not this backend's.
	Takeovers(ctx context.Context, owner string, since Mark) ([]Takeover, Mark, error)
}

// AsyncAppender is a Journal whose appends need no goroutine that waits for them. It is worth it where thousands of streams
// each have one on its way.
type AsyncAppender interface {
	// AppendAsync is Append, but for how it ends: done gets the result, exactly once and possibly before AppendAsync has
	// returned. It is called by whoever commits for everybody else, so it must be quick and must not block. limit, which must
	// be positive, ends the wait as the end of Append's ctx does; of ctx only the values count. events must not be changed
	// any more, also after done, unless its error is nil.
	AppendAsync(ctx context.Context, c Claim, expected uint64, events []Event, limit time.Duration, done func(last uint64, err error))
}

// Mark is a position in the order of claims, given by Takeovers of one backend and only good for that. Opaque.
type Mark struct{ at string }

// NewMark is for backends.
func NewMark(at string) Mark { return Mark{at: at} }

// Value is for backends.
func (m Mark) Value() string { return m.at }

// Limits every backend keeps.
const (
	// MaxKeyBytes bounds stream keys, owners, manifests, members, rooms and lease names.
	MaxKeyBytes     = 512
	MaxPayloadBytes = 8 << 20
	MaxAppendEvents = 4096
	MaxAppendBytes  = 16 << 20
	MaxRead         = 10_000
	// MaxReadBytes bounds payload and meta of one page; a single event may be larger.
	MaxReadBytes     = 4 << 20
	MaxSnapshotBytes = 1 << 20
)
