package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/parley-rt/parley/libs/dcplane"
)

// registration keeps one record stored.
//
//	registering ──stored──► held ──Deregister, Close──► ended
//	     │                   │ └───later claim found──► ended (Lost delivers why)
//	     └──ctx ended──► ended
type registration struct {
	d    *Directory
	key  dcplane.Key
	mine string        // our incarnation
	lost chan error    // one error at most, then closed
	wake chan struct{} // renew now

	// turn is held while talking to the store and guards the fields below it.
	turn     chan struct{}
	claim    uint64
	revision uint64 // of our record as far as known; 0 = read it first
	held     bool   // stored at least once
	failing  bool
	due      time.Duration // next renewal

	mu    sync.Mutex
	node  dcplane.Node       // what is to be stored
	ended error              // why it ended, nil before
	stop  context.CancelFunc // ends the loop
}

func newRegistration(d *Directory, n dcplane.Node) *registration {
	return &registration{
		d: d, key: n.Key(), mine: n.Incarnation, node: n,
		lost: make(chan error, 1), wake: make(chan struct{}, 1), turn: make(chan struct{}, 1),
		claim: uint64(max(1, d.wall().UnixMilli())), // wall time only makes a fresh claim plausible; judge does not rely on it
		stop:  func() {},
	}
}

// Update implements dcplane.Registration. Without an earlier deadline in ctx it gives up after one lease.
func (r *registration) Update(ctx context.Context, state dcplane.NodeState, load float64) error {
	r.mu.Lock()
	n := r.node
	n.State, n.Load = state, load
	err := n.Validate()
	switch {
	case r.ended != nil:
		err = r.ended
	case err == nil:
		r.node = n
	}
	r.mu.Unlock()
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, r.d.timing.giveUp())
		defer cancel()
		err = r.persist(ctx, r.write)
	}
	if err != nil {
		return fmt.Errorf("update node %s: %w", r.key, err)
	}
	return nil
}

// Deregister implements dcplane.Registration. Without an earlier deadline in ctx it gives up after one lease.
func (r *registration) Deregister(ctx context.Context) error {
	return r.deregister(ctx, dcplane.ErrDeregistered)
}

// deregister ends the registration for the reason why and removes the record.
func (r *registration) deregister(ctx context.Context, why error) error {
	if !r.end(why) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.d.timing.giveUp())
	defer cancel()
	if err := r.persist(ctx, r.erase); err != nil {
		return fmt.Errorf("deregister node %s: %w", r.key, err)
	}
	return nil
}

// Lost implements dcplane.Registration.
func (r *registration) Lost() <-chan error { return r.lost }

// end makes the registration final; false when it already was.
func (r *registration) end(why error) bool {
	r.mu.Lock()
	if r.ended != nil {
		r.mu.Unlock()
		return false
	}
	r.ended = why
	if errors.Is(why, dcplane.ErrSuperseded) {
		r.lost <- why
	}
	close(r.lost)
	r.stop()
	r.mu.Unlock()
	r.d.forget(r)
	return true
}

func (r *registration) endedBy() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ended
}

// persist calls try, one attempt per turn, until it succeeds, fails for good or ctx ends.
func (r *registration) persist(ctx context.Context, try func(context.Context) error) error {
	for {
		err := r.inTurn(ctx, try)
		if err == nil || !errors.Is(err, dcplane.ErrUnavailable) || r.d.manual {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", err, ctx.Err())
		case <-r.d.life.Done():
			return dcplane.ErrClosed
		case <-time.After(jittered(r.d.timing.retry())):
		}
	}
}

// inTurn runs one attempt under its own deadline.
func (r *registration) inTurn(ctx context.Context, try func(context.Context) error) error {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", dcplane.ErrUnavailable, ctx.Err())
	}
	ctx, cancel := context.WithTimeout(ctx, r.d.timing.call())
	defer cancel()
	defer context.AfterFunc(r.d.life, cancel)()
	err := try(ctx)
	switch {
	case err == nil, errors.Is(err, dcplane.ErrSuperseded), errors.Is(err, dcplane.ErrDeregistered), errors.Is(err, dcplane.ErrClosed):
		return err
	case r.d.life.Err() != nil:
		return dcplane.ErrClosed
	default:
		return fmt.Errorf("%w: %w", dcplane.ErrUnavailable, err)
	}
}

// maxSteps bounds how often one attempt follows a record that others keep changing.
const maxSteps = 4

// write stores what is to be stored and settles with whoever else holds the key. Called in turn.
func (r *registration) write(ctx context.Context) error {
	for range maxSteps {
		record, err := r.wanted()
		if err != nil {
			return err
		}
		if err := r.settle(ctx, record); err != nil {
			return err
		}
		record.Claim = r.claim
		var revision uint64
		if r.revision == 0 {
			revision, err = r.d.store.Create(ctx, record)
		} else {
			revision, err = r.d.store.Update(ctx, record, r.revision)
		}
		if errors.Is(err, ErrConflict) {
			r.revision = 0
			continue
		}
		if err != nil {
			return err
		}
		r.revision, r.held = revision, true
		r.due = r.d.now() + jittered(r.d.timing.renew())
		return nil
	}
	return ErrConflict
}

// wanted is the record to be stored, or why there is none any more.
func (r *registration) wanted() (Record, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Record{Node: r.node, Claim: r.claim}, r.ended
}

// settle finds out, when our revision is not known, what is stored and whether we may write over it. It leaves revision
// 0 when there is nothing.
func (r *registration) settle(ctx context.Context, record Record) error {
	if r.revision != 0 {
		return nil
	}
	found, err := r.d.store.Get(ctx, r.key)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	v, claim := judge(record, r.held, found.Record)
	if v == yieldKey {
		lost := &dcplane.SupersededError{Key: r.key, Mine: r.mine, Theirs: found.Record.Node.Incarnation}
		r.end(lost)
		return lost
	}
	r.claim, r.revision = claim, found.Revision
	return nil
}

// erase removes our record, and only ours. Called in turn.
func (r *registration) erase(ctx context.Context) error {
	for range maxSteps {
		if r.revision == 0 {
			found, err := r.d.store.Get(ctx, r.key)
			if errors.Is(err, ErrNotFound) {
				return nil
			}
			if err != nil {
				return err
			}
			if found.Record.Node.Incarnation != r.mine {
				return nil
			}
			r.revision = found.Revision
		}
		err := r.d.store.Delete(ctx, r.key, r.revision)
		if !errors.Is(err, ErrConflict) {
			return err
		}
		r.revision = 0
	}
	return ErrConflict
}

// run renews until the registration or the directory ends.
func (r *registration) run(ctx context.Context) {
	timer := time.NewTimer(jittered(r.d.timing.renew()))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-r.wake:
		}
		timer.Reset(r.renew(ctx))
	}
}

// renew writes the record once and returns the time until the next renewal.
func (r *registration) renew(ctx context.Context) time.Duration {
	next := jittered(r.d.timing.retry())
	_ = r.inTurn(ctx, func(ctx context.Context) error {
		err := r.write(ctx)
		switch {
		case err == nil:
			if r.failing {
				r.failing = false
				r.d.logger.Info("node registration renewed again", "node", r.key.Name, "dc", r.key.DC, "service", r.key.Service)
			}
			next = r.due - r.d.now()
		case errors.Is(err, dcplane.ErrSuperseded):
			r.d.logger.Error("node registration lost", "node", r.key.Name, "dc", r.key.DC, "service", r.key.Service, "err", err)
		case r.endedBy() != nil || r.d.life.Err() != nil:
		default:
			r.due = r.d.now() + next
			r.d.metrics.renewalFailed(r.key)
			if !r.failing {
				r.failing = true
				r.d.logger.Warn("node registration not renewed", "node", r.key.Name, "dc", r.key.DC, "service", r.key.Service, "err", err)
			}
		}
		return err
	})
	return max(next, 0)
}
