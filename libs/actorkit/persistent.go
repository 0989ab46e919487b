package actorkit

import (
	"context"
	"log/slog"
	"time"

	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/libs/persistence"
)

// Behavior is the pure half of a persistent actor: no I/O, no clock, no GoAkt. S is the state, C a command, R what is
// answered once the command's events are durable. S may be a pointer: Apply and Restore are the only ones to change it.
type Behavior[S, C, R any] interface {
	// Zero is the state of a stream without events.
	Zero(c persistence.Claim) S
	// Apply turns a durable event into state, live and in replay. It must not depend on Event.At: live that is the
	// writer's clock, in replay the backend's. An error means that the event cannot be understood; the stream stops.
	Apply(s S, e persistence.Event) (S, error)
	// Draft opens an overlay over s for one batch, in O(1). It is dropped when the batch has been formed.
	Draft(s S) Draft[C, R]
	// Snapshot encodes s. Seq is filled in by Persistent.
	Snapshot(s S) (persistence.Snapshot, error)
	// Restore decodes a snapshot.
	Restore(c persistence.Claim, snap persistence.Snapshot) (S, error)
}

// Draft is a state plus what the commands of the batch being formed decided.
type Draft[C, R any] interface {
	// Decide takes one command on the state plus what the commands before it in this batch decided. nextSeq is the seq
	// that its first event will get. Events need MessageID to Meta filled in. A refusal is a reply without events.
	//
	// A command whose events do not fit into the batch any more is decided again on the next batch's draft.
	Decide(cmd C, nextSeq uint64, now time.Time) (events []persistence.Event, reply R)
}

// Decided is a command whose events are durable. Events have Seq, Epoch and At (this node's clock) filled in.
type Decided[C, R any] struct {
	Command C
	Reply   R
	Events  []persistence.Event
}

// PersistentHandler is the actor's side of a stream. Both are called on the actor's turn, never inside Submit.
type PersistentHandler[C, R any] struct {
	// Committed gets commands in the order of Submit; the state contains their events already. A batch may be empty of events.
	Committed func(rctx *actor.ReceiveContext, batch []Decided[C, R])
	// Failed gets commands whose events are certainly not stored (ErrUnavailable, ErrOverloaded, ErrTooLarge, ErrInvalid)
	// or, with any other error, commands of a stream that may not write any more: Stopped is then not nil. Of these,
	// ErrFenced, ErrConflict and ErrClosed are certainly not stored, ErrUnknown may be.
	Failed func(rctx *actor.ReceiveContext, cmds []C, err error)
}

// PersistentConfig describes one stream. Zero values mean the default named at each field.
type PersistentConfig struct {
	Key     persistence.StreamKey
	Owner   string
	Journal persistence.Journal
	Claim   persistence.ClaimOptions
	Logger  *slog.Logger

	// MaxBatchEvents and MaxBatchBytes bound one append. Default 1,000 and 1 MiB. A command with more travels alone.
	MaxBatchEvents, MaxBatchBytes int
	// MaxQueue and MaxQueueBytes bound what waits for the commit in flight. Default 8,192 and 8 MiB.
	MaxQueue, MaxQueueBytes int
	// CommitTimeout bounds one append; its end makes the outcome unknown, which is terminal. Default 4 s.
	CommitTimeout time.Duration
	// SnapshotEvery is the least number of events between two snapshots. Default 1,000.
	SnapshotEvery int
	// Now is the clock given to Decide. Default time.Now.
	Now func() time.Time
}

// Persistent is one event-sourced stream inside an actor; an actor may hold several. It is not safe for concurrent use:
// the mailbox is the lock.
type Persistent[S, C, R any] struct{}

// NewPersistent returns a stream that is not recovered yet.
func NewPersistent[S, C, R any](cfg PersistentConfig, b Behavior[S, C, R], h PersistentHandler[C, R]) *Persistent[S, C, R] {
	panic("being written")
}

// Recover claims the stream and rebuilds its state from the newest readable snapshot and the events after it. Call it
// from PreStart; it blocks, so the spawn must run in a task. Errors are the journal's; nothing is retried. It may be
// called again after an error.
func (p *Persistent[S, C, R]) Recover(ctx context.Context) error { panic("being written") }

// Submit queues a command of about that many bytes. The batch is formed when what already lies in the actor's mailbox
// has been handled and no commit is in flight. Errors: ErrQueueFull, or what Stopped says; the command was not taken.
func (p *Persistent[S, C, R]) Submit(rctx *actor.ReceiveContext, cmd C, bytes int) error {
	panic("being written")
}

// Receive handles the stream's own messages. Call it first for every message of the actor; true: it was one.
func (p *Persistent[S, C, R]) Receive(rctx *actor.ReceiveContext) bool { panic("being written") }

// State returns the state with all durable events applied. It must not be changed.
func (p *Persistent[S, C, R]) State() S { panic("being written") }

// Seq returns the seq of the last applied event.
func (p *Persistent[S, C, R]) Seq() uint64 { panic("being written") }

// Claim returns the claim of the last Recover.
func (p *Persistent[S, C, R]) Claim() persistence.Claim { panic("being written") }

// Stopped returns nil while the stream may write, else why it may not.
func (p *Persistent[S, C, R]) Stopped() error { panic("being written") }

// Busy tells whether commands wait or are being committed.
func (p *Persistent[S, C, R]) Busy() bool { panic("being written") }

// Stop ends the stream: it waits for a commit in flight, then saves a snapshot if there is something new, unless the
// stream was fenced. Call it from PostStop. Commands still queued get no answer. It does not release the claim.
func (p *Persistent[S, C, R]) Stop(ctx context.Context) error { panic("being written") }
