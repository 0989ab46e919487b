package actorkit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
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

// PersistentHandler is the actor's side of a stream. Both are called on the actor's turn, inside Receive and never inside
// Submit; they may Submit.
type PersistentHandler[C, R any] struct {
	// Committed gets commands in the order of Submit; the state contains their events already. A batch may be empty of events.
	Committed func(rctx *actor.ReceiveContext, batch []Decided[C, R])
	// Failed gets commands whose events are certainly not stored (ErrUnavailable, ErrOverloaded, ErrTooLarge, ErrInvalid)
	// or, with any other error, commands of a stream that may not write any more: Stopped is then not nil. Of these,
	// ErrFenced, ErrConflict and ErrClosed are certainly not stored, ErrUnknown may be.
	Failed func(rctx *actor.ReceiveContext, cmds []C, err error)
	// Appending, if set, is called on the actor's turn before a batch goes to the journal and returns the context that the
	// append runs in, derived from ctx, and what to call with the append's result: on another goroutine, before Committed
	// or Failed. It is there for tracing.
	Appending func(ctx context.Context, batch []Decided[C, R]) (context.Context, func(error))
}

// PersistentConfig describes one stream. Zero values mean the default named at each field.
type PersistentConfig struct {
	Key     persistence.StreamKey
	Owner   string
	Journal persistence.Journal
	Claim   persistence.ClaimOptions
	Logger  *slog.Logger

	// Acknowledged is the highest seq that an earlier activation of the stream acknowledged, as far as its caller knows; 0:
	// none. A journal that has less has lost a tail: Recover then changes the stream's incarnation, so that readers learn
	// that their cursors may be of a history that is gone (S7).
	Acknowledged uint64

	// MaxBatchEvents bounds the events, and the commands, of one append, MaxBatchBytes what the events weigh. Default 1,000
	// and 1 MiB. A command with more travels alone, up to the journal's limits.
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
// the mailbox is the lock. Only Stop may run beside the other methods, because GoAkt runs PostStop on the goroutine that
// stops the actor.
//
//	Submit ──► queue ──(flush message)──► Decide on a draft ──► Append ──► Apply ──► Committed
//	             ▲ what comes meanwhile is the next batch             │
//	             └────────────────────────────────────────────────────┴──► Failed
type Persistent[S, C, R any] struct {
	cfg      PersistentConfig
	behavior Behavior[S, C, R]
	handler  PersistentHandler[C, R]

	// turn is held by Receive, Submit and Stop, so that Stop finds nothing half done. receiving tells Submit that it is
	// called by a handler, inside Receive.
	turn      sync.Mutex
	receiving bool

	// async is the journal, if it appends without a goroutine that waits.
	async persistence.AsyncAppender

	claim persistence.Claim
	state S
	seq   uint64
	// stopped is why nothing may be written; nil while it may.
	stopped error
	// closed is set by Stop: messages that are still under way are dropped.
	closed bool
	// applying is true when Apply has not returned: a state that it left half changed must not be saved.
	applying bool

	queue      []queued[C]
	queueBytes int
	// flushing: the flush message is in the mailbox.
	flushing bool
	flush    *flushMessage[S, C, R]
	inFlight *commit[S, C, R]

	snaps snapshots[S, C, R]
}

type queued[C any] struct {
	cmd   C
	bytes int
}

// flushMessage makes an actor form a batch once it has handled what its mailbox holds already.
type flushMessage[S, C, R any] struct{ p *Persistent[S, C, R] }

var errNotRecovered = errors.New("not recovered")

// NewPersistent returns a stream that is not recovered yet.
func NewPersistent[S, C, R any](cfg PersistentConfig, b Behavior[S, C, R], h PersistentHandler[C, R]) *Persistent[S, C, R] {
	p := &Persistent[S, C, R]{cfg: cfg.withDefaults(), behavior: b, handler: h, stopped: errNotRecovered}
	p.async, _ = cfg.Journal.(persistence.AsyncAppender)
	p.flush = &flushMessage[S, C, R]{p: p}
	return p
}

func (c PersistentConfig) withDefaults() PersistentConfig {
	def := func(v *int, d, limit int) {
		if *v <= 0 {
			*v = d
		}
		*v = min(*v, limit)
	}
	const noLimit = 1 << 62
	def(&c.MaxBatchEvents, 1000, persistence.MaxAppendEvents)
	def(&c.MaxBatchBytes, 1<<20, persistence.MaxAppendBytes)
	def(&c.MaxQueue, 8192, noLimit)
	def(&c.MaxQueueBytes, 8<<20, noLimit)
	def(&c.SnapshotEvery, 1000, noLimit)
	if c.CommitTimeout <= 0 {
		c.CommitTimeout = 4 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Submit queues a command of about that many bytes. The batch is formed when what already lies in the actor's mailbox
// has been handled and no commit is in flight. Errors: ErrQueueFull, or what Stopped says; the command was not taken.
func (p *Persistent[S, C, R]) Submit(rctx *actor.ReceiveContext, cmd C, bytes int) error {
	if !p.receiving {
		p.turn.Lock()
		defer p.turn.Unlock()
	}
	if p.stopped != nil {
		return fmt.Errorf("submit to %s: %w", p.cfg.Key, p.stopped)
	}
	if len(p.queue) >= p.cfg.MaxQueue || p.queueBytes+bytes > p.cfg.MaxQueueBytes {
		return fmt.Errorf("submit to %s: %w", p.cfg.Key, ErrQueueFull)
	}
	if p.inFlight == nil && !p.flushing {
		self := rctx.Self()
		if err := self.Tell(context.WithoutCancel(rctx.Context()), self, p.flush); err != nil {
			return fmt.Errorf("submit to %s: %w: %w", p.cfg.Key, ErrStopped, err)
		}
		p.flushing = true
	}
	p.queue = append(p.queue, queued[C]{cmd, bytes})
	p.queueBytes += bytes
	return nil
}

// Receive handles the stream's own messages. Call it first for every message of the actor; true: it was one.
func (p *Persistent[S, C, R]) Receive(rctx *actor.ReceiveContext) bool {
	switch m := rctx.Message().(type) {
	case *flushMessage[S, C, R]:
		if m.p != p {
			return false
		}
		p.inTurn(func() {
			p.flushing = false
			p.form(rctx)
		})
	case *commit[S, C, R]:
		if m.p != p {
			return false
		}
		p.inTurn(func() { p.settle(rctx, m) })
	case *save[S, C, R]:
		if m.p != p {
			return false
		}
		p.inTurn(func() { p.saved(rctx, m) })
	default:
		return false
	}
	return true
}

func (p *Persistent[S, C, R]) inTurn(f func()) {
	p.turn.Lock()
	p.receiving = true
	defer func() {
		p.receiving = false
		p.turn.Unlock()
	}()
	if !p.closed {
		f()
	}
}

// State returns the state with all durable events applied. It must not be changed.
func (p *Persistent[S, C, R]) State() S { return p.state }

// Seq returns the seq of the last applied event.
func (p *Persistent[S, C, R]) Seq() uint64 { return p.seq }

// Claim returns the claim of the last Recover.
func (p *Persistent[S, C, R]) Claim() persistence.Claim { return p.claim }

// Stopped returns nil while the stream may write, else why it may not: it was not recovered, a terminal error of the
// journal, or ErrStopped.
func (p *Persistent[S, C, R]) Stopped() error { return p.stopped }

// Busy tells whether commands wait or are being committed.
func (p *Persistent[S, C, R]) Busy() bool { return p.inFlight != nil || len(p.queue) > 0 }

// Stop ends the stream: it waits for a commit and a snapshot in flight, then saves a snapshot if there is something new
// and the stream may still write. Call it from PostStop. Commands still queued or in flight get no answer. It does not
// release the claim. A second call does nothing.
func (p *Persistent[S, C, R]) Stop(ctx context.Context) error {
	p.turn.Lock()
	defer p.turn.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	mayWrite := p.stopped == nil
	if mayWrite {
		p.stopped = ErrStopped
	}
	p.queue, p.queueBytes = nil, 0
	if p.inFlight != nil {
		if err := wait(ctx, p.inFlight.done); err != nil {
			return fmt.Errorf("stop %s: wait for its commit: %w", p.cfg.Key, err)
		}
		mayWrite = mayWrite && (p.inFlight.err == nil || !isTerminal(p.inFlight.err))
	}
	if p.snaps.saving != nil {
		if err := wait(ctx, p.snaps.saving.done); err != nil {
			return fmt.Errorf("stop %s: wait for its snapshot: %w", p.cfg.Key, err)
		}
		mayWrite = mayWrite && !errors.Is(p.snaps.saving.err, persistence.ErrFenced)
	}
	if !mayWrite || p.applying {
		return nil
	}
	return p.finalSnapshot(ctx)
}

func wait(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
