package persistence

import (
	"errors"
	"fmt"
)

// Sentinels. Wrapped ones carry detail; test with errors.Is and errors.As.
var (
	// ErrFenced: another claim took the stream. Terminal for the activation. See *FencedError.
	ErrFenced = errors.New("stream was claimed by another writer")
	// ErrConflict: same epoch, other expected seq (or an id that exists). A programming error; terminal.
	ErrConflict = errors.New("expected position is not the head")
	// ErrUnknown: the outcome could not be learned in time. Stop and claim again: the claim settles it.
	ErrUnknown = errors.New("outcome of the write is unknown")
	// ErrUnavailable: the store refuses or cannot be reached; certainly not written.
	ErrUnavailable = errors.New("journal unavailable")
	// ErrOverloaded: the writer's queue is full; certainly not written.
	ErrOverloaded = errors.New("journal overloaded")
	// ErrTrimmed: the events asked for are past retention.
	ErrTrimmed = errors.New("events were trimmed")
	// ErrTooLarge: over one of the limits in this package.
	ErrTooLarge = errors.New("too large for the journal")
	// ErrStaleSnapshot: a newer snapshot is stored. Informational.
	ErrStaleSnapshot = errors.New("a newer snapshot is stored")
	// ErrGuard: a claim's guard refused it. See *GuardError.
	ErrGuard = errors.New("claim refused by its guard")
	// ErrBlocked: somebody still needs the partition. See *BlockedError.
	ErrBlocked = errors.New("partition is still needed")
	// ErrCorrupt: stored events are not what the head says.
	ErrCorrupt = errors.New("journal is corrupt")
	// ErrSchemaVersion: the store's schema is outside the range this binary runs with.
	ErrSchemaVersion = errors.New("schema version not supported")
	// ErrInvalid: an argument breaks the contract.
	ErrInvalid = errors.New("invalid argument")
	// ErrClosed: the backend was closed.
	ErrClosed = errors.New("journal closed")

	// ErrSessionUnknown: no such session, it expired, or the token is not one of its two.
	ErrSessionUnknown = errors.New("session unknown")
	// ErrSessionReplaced: the session has been resumed by another connection.
	ErrSessionReplaced = errors.New("session replaced")

	// ErrLeaseHeld: somebody else holds the lease. See *LeaseHeldError.
	ErrLeaseHeld = errors.New("lease is held")
	// ErrLeaseLost: the lease is not of that epoch any more.
	ErrLeaseLost = errors.New("lease lost")
)

// FencedError tells a loser who won.
type FencedError struct {
	Key     StreamKey
	MyEpoch uint64
	Epoch   uint64
	Owner   string
	LastSeq uint64
}

func (e *FencedError) Error() string {
	return fmt.Sprintf("stream %s: epoch %d lost to epoch %d of %q: %v", e.Key, e.MyEpoch, e.Epoch, e.Owner, ErrFenced)
}

func (e *FencedError) Unwrap() error { return ErrFenced }

// GuardError tells the head that a guard refused.
type GuardError struct {
	Guard Guard
	Head  Head
}

func (e *GuardError) Error() string {
	return fmt.Sprintf("stream %s at epoch %d of %q: guard %T%+v: %v", e.Head.Key, e.Head.Epoch, e.Head.Owner, e.Guard, e.Guard, ErrGuard)
}

func (e *GuardError) Unwrap() error { return ErrGuard }

// BlockedError tells who still needs a partition.
type BlockedError struct {
	Part int32
	// Streams is how many streams need a snapshot first; Keys names up to MaxBlockedKeys of them, in ascending order.
	Streams int64
	Keys    []StreamKey
	// Checkpoints are the names of the consumers that have not passed it, ascending, each once.
	Checkpoints []string
}

// MaxBlockedKeys is how many streams a BlockedError names.
const MaxBlockedKeys = 10

func (e *BlockedError) Error() string {
	return fmt.Sprintf("partition %d: %d streams without a snapshot beyond it %q, consumers that have not passed it %q: %v",
		e.Part, e.Streams, e.Keys, e.Checkpoints, ErrBlocked)
}

func (e *BlockedError) Unwrap() error { return ErrBlocked }

// LeaseHeldError tells who holds the lease.
type LeaseHeldError struct{ Held Lease }

func (e *LeaseHeldError) Error() string {
	return fmt.Sprintf("lease %s of %q until %s: %v", e.Held.Name, e.Held.Owner, e.Held.ExpiresAt.Format("15:04:05.000"), ErrLeaseHeld)
}

func (e *LeaseHeldError) Unwrap() error { return ErrLeaseHeld }
