package actorkit

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
)

// Term is the time for which one node holds a singleton. Safe for concurrent use.
type Term struct {
	lease  persistence.Lease
	ctx    context.Context // the term's own lifetime
	cancel context.CancelCauseFunc

	// until is when the term is over unless the lease is renewed, in nanoseconds of the monotonic clock after born.
	until atomic.Int64
	born  time.Time
	timer *time.Timer
}

// newTerm begins a term that lasts until the given time.
func newTerm(ctx context.Context, lease persistence.Lease, until time.Time) *Term {
	t := &Term{lease: lease, born: time.Now()}
	t.ctx, t.cancel = context.WithCancelCause(ctx)
	t.until.Store(int64(until.Sub(t.born)))
	// The first run sets the next one; it needs timer to be set.
	t.timer = time.AfterFunc(time.Hour, t.watch)
	t.timer.Reset(0)
	return t
}

// watch ends the term when its time is over. It depends on nothing but this process.
func (t *Term) watch() {
	if left := t.left(); left > 0 {
		t.timer.Reset(left)
		return
	}
	t.cancel(fmt.Errorf("%w: the lease was not renewed in time", ErrTermOver))
}

func (t *Term) left() time.Duration { return time.Duration(t.until.Load()) - time.Since(t.born) }

// extend is called when the lease was renewed. A term that is over stays over.
func (t *Term) extend(until time.Time) {
	if t.Err() == nil {
		t.until.Store(int64(until.Sub(t.born)))
	}
}

// end ends the term, if it is not over. The cause wraps ErrTermOver.
func (t *Term) end(cause error) {
	t.cancel(fmt.Errorf("%w: %w", ErrTermOver, cause))
	t.timer.Stop()
}

// Epoch is the lease's: it rises from term to term, whatever the node.
func (t *Term) Epoch() uint64 { return t.lease.Epoch }

// Context ends when the lease was taken by another node, was not renewed in time by this node's own clock, or has been given back after
// PostStop; its cause then is ErrTermOver. What the actor does elsewhere than in the journal should end with it.
func (t *Term) Context() context.Context { return t.ctx }

// Err is nil while the term lasts, by this node's clock as it is now, also if the process slept until now. Ask it right before
// doing what cannot be undone.
func (t *Term) Err() error {
	if t.ctx.Err() != nil {
		return context.Cause(t.ctx)
	}
	if t.left() <= 0 {
		t.watch()
		return context.Cause(t.ctx)
	}
	return nil
}

// Guard is for the claims of the streams that the singleton writes to: they are refused (persistence.ErrGuard) once the lease has
// changed hands.
func (t *Term) Guard() persistence.Guard { return t.lease.Guard() }
