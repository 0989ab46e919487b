package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/parley-rt/parley/libs/persistence"
)

// Writes outside the lanes are transactions of their own: snapshots, trims, leases, checkpoints. They lock one row at a
// time, so they cannot deadlock with a batch.
const (
	// singles is how many connections they have; what holds a lease or a checkpoint, and Ping, has one of its own, so that
	// thousands of rooms that save their snapshots do not cost a lease.
	singles = 4
	urgents = 1
	// maxWaiting bounds who waits for one: the rooms of a node that drains, at once. More are refused with ErrOverloaded.
	maxWaiting = 16_384
)

// slot is a place for one such connection; conn is nil until it is needed and after it broke.
type slot struct{ conn *conn }

// single runs fn on a connection until it has an answer. fn must have the same effect when it runs again after an attempt
// whose answer was lost, or tell that it ran before. The end of ctx while it waits for a connection gives ErrUnavailable,
// later ErrUnknown.
func (b *Backend) single(ctx context.Context, fn func(context.Context, *conn) error) error {
	return b.once(ctx, b.slots, true, fn)
}

// urgent is single for what others wait for.
func (b *Backend) urgent(ctx context.Context, fn func(context.Context, *conn) error) error {
	return b.once(ctx, b.urgentSlots, true, fn)
}

// once is single with a say in whether fn is run again when it is not known what became of it.
func (b *Backend) once(ctx context.Context, slots chan *slot, repeat bool, fn func(context.Context, *conn) error) error {
	if err := b.refuses(ctx); err != nil {
		return err
	}
	if b.waiting.Add(1) > maxWaiting {
		b.waiting.Add(-1)
		return fmt.Errorf("%d writes wait for a connection: %w", maxWaiting, persistence.ErrOverloaded)
	}
	defer b.waiting.Add(-1)
	var s *slot
	select {
	case <-b.closing:
		return persistence.ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("wait for a connection: %w", ended(ctx))
	case s = <-slots:
	}
	defer func() { slots <- s }()
	r := b.newRetry(nil)
	r.ctx = ctx
	for r.next() {
		err := b.trySingle(ctx, s, r.timeout(), fn)
		if err == nil || isAnswer(err) {
			return err
		}
		if r.failed(err) {
			s.drop()
		}
		if r.doubt && !repeat {
			break
		}
	}
	if r.doubt {
		return fmt.Errorf("%w: %w", persistence.ErrUnknown, errors.Join(ctx.Err(), r.err))
	}
	return failure(errors.Join(ctx.Err(), r.err), false)
}

// isAnswer tells errors of the contract, with which fn answers, from those of the connection.
func isAnswer(err error) bool {
	for _, sentinel := range []error{
		persistence.ErrFenced, persistence.ErrConflict, persistence.ErrInvalid, persistence.ErrStaleSnapshot, persistence.ErrBlocked,
		persistence.ErrSessionUnknown, persistence.ErrSessionReplaced, persistence.ErrLeaseHeld, persistence.ErrLeaseLost,
		persistence.ErrTooLarge, persistence.ErrCorrupt, persistence.ErrTrimmed,
	} {
		if errors.Is(err, sentinel) {
			return true
		}
	}
	return false
}

// trySingle runs fn once, no longer than timeout and ctx: when either ends, the socket is closed under it.
func (b *Backend) trySingle(ctx context.Context, s *slot, timeout time.Duration, fn func(context.Context, *conn) error) error {
	if s.conn == nil || s.conn.IsClosed() {
		s.drop()
		c, err := b.connectWriter(ctx)
		if err != nil {
			return fmt.Errorf("%w: %w", errNotSent, err)
		}
		s.conn = c
	}
	c := s.conn
	doubtful := c.doubtful.Load()
	inTime, wanted := c.within(timeout), context.AfterFunc(ctx, c.cut)
	defer func() {
		if early, stopped := inTime(), wanted(); !early || !stopped {
			s.drop() // its socket is closed, or about to be
		}
	}()
	err := fn(context.WithoutCancel(ctx), c)
	if err != nil {
		if !isAnswer(err) && pgconn.SafeToRetry(err) {
			err = fmt.Errorf("%w: %w", errNotSent, err)
		}
		return err
	}
	if c.doubtful.Load() != doubtful {
		return errDoubtful
	}
	return nil
}

func (s *slot) drop() {
	if s.conn != nil {
		s.conn.abort()
		s.conn = nil
	}
}
