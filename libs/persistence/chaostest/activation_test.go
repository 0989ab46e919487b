package chaostest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
)

// activation is an actor of a room on a node: it claims the stream, rebuilds the state, and appends until another claim
// wins. One whose claim or append is unknown claims again, so that every room has a writer whatever happens.
type activation struct {
	l      *load
	key    persistence.StreamKey
	node   *node
	random *rand.Rand
	// guarded: the first claim is one for the epoch that a Head showed.
	guarded bool
	// claimed, if set, is told when the first claim is settled. Safe to call again.
	claimed func()
	// term is the lease epoch it writes under; 0: none.
	term uint64
	// rounds bounds its appends; 0: none.
	rounds int
	// pinned: it stays on its node also while that one cannot claim.
	pinned bool

	number uint64 // of this claim, in all of the load
	made   uint64 // events so far
	claim  persistence.Claim
	state  state
	saved  uint64 // seq of the newest snapshot of its own
	sweep  int64  // the newest sweep it has saved a snapshot for
	gone   bool   // its node was closed: it can only be claimed again, on another one
}

func (l *load) activation(key persistence.StreamKey, n *node, random *rand.Rand) *activation {
	return &activation{l: l, key: key, node: n, random: random}
}

func (a *activation) name() string { return fmt.Sprintf("activation %d on %s", a.number, a.node.name) }

// live goes on until another claim wins, the rounds are over, or ctx ends.
func (a *activation) live(ctx context.Context) {
	for a.take(ctx) && a.write(ctx) {
		// stopped by an outcome that is not known: the next claim settles it
	}
}

// fate is what an error makes of an activation.
type fate int

const (
	done  fate = iota
	retry      // certainly nothing happened
	again      // it may have happened: claim again
	lost       // another claim won
	over       // the run ends
)

// fate judges the error of a write.
func (a *activation) fate(ctx context.Context, what string, err error) fate {
	a.l.witness.told(a, what, err)
	switch {
	case err == nil:
		return done
	case errors.Is(err, persistence.ErrUnknown):
		a.l.counts.unknown.Add(1)
		return again
	case errors.Is(err, persistence.ErrFenced):
		var fenced *persistence.FencedError
		if !errors.As(err, &fenced) || fenced.Epoch <= fenced.MyEpoch || fenced.MyEpoch != a.claim.Epoch {
			a.l.witness.fail(contract, a.key, "%s of %s in epoch %d: %v", what, a.name(), a.claim.Epoch, err)
		}
		a.l.counts.fenced.Add(1)
		return lost
	case errors.Is(err, persistence.ErrUnavailable):
		a.l.counts.unavailable.Add(1)
		return retry
	case errors.Is(err, persistence.ErrOverloaded):
		a.l.counts.overloaded.Add(1)
		return retry
	case errors.Is(err, persistence.ErrClosed):
		a.gone = true
		return again
	case ctx.Err() != nil:
		return over
	default:
		a.l.witness.fail(contract, a.key, "%s of %s in epoch %d: %v", what, a.name(), a.claim.Epoch, err)
		return again
	}
}

// op gives a call its time: most often plenty, sometimes so little that it ends in a commit.
func (a *activation) op(ctx context.Context) (context.Context, context.CancelFunc) {
	d := 15 * time.Second
	if a.random.IntN(50) == 0 {
		d = time.Duration(1+a.random.IntN(300)) * time.Millisecond
	}
	return context.WithTimeout(ctx, d)
}

// take claims the stream and rebuilds its state.
func (a *activation) take(ctx context.Context) bool {
	for ctx.Err() == nil {
		if a.gone && a.pinned {
			return false
		}
		if a.gone {
			a.node, a.gone = a.l.node(a.random), false
		}
		if !a.claimOnce(ctx) {
			if !a.pinned && a.random.IntN(2) == 0 {
				a.node = a.l.node(a.random) // the way from this one may be cut
			}
			pause(ctx, between(a.random, 50*time.Millisecond))
			continue
		}
		if a.claimed != nil {
			a.claimed()
		}
		if a.claim.Epoch == 0 {
			return false // refused by its guard: the stream is somebody else's
		}
		switch a.rebuild(ctx) {
		case done:
			return a.term == 0 || a.state.term <= a.term
		case lost, over:
			return false
		default:
		}
	}
	return false
}

// claimOnce tries to claim; false: try again.
func (a *activation) claimOnce(ctx context.Context) bool {
	ctx, cancel := a.op(ctx)
	defer cancel()
	a.number = a.l.names.Add(1)
	a.made, a.claim = 0, persistence.Claim{}
	var opts persistence.ClaimOptions
	if a.guarded {
		at := a.l.witness.floor(a.key)
		head, err := a.node.Head(ctx, a.key)
		if err != nil {
			return false
		}
		head.Key = a.key
		a.l.witness.head(a.name(), head, at)
		opts.Guard = persistence.GuardEpoch{Epoch: head.Epoch}
	}
	at := a.l.witness.floor(a.key)
	c, err := a.l.history.Claim(ctx, a.node, a.name(), a.key, a.node.name, opts)
	a.guarded = a.guarded && err != nil && !errors.Is(err, persistence.ErrUnknown)
	var refused *persistence.GuardError
	if errors.As(err, &refused) {
		a.l.counts.guarded.Add(1)
		// A claim whose answer was lost on the way may be refused by its own first attempt.
		a.guarded = false
		return refused.Head.Owner != a.node.name
	}
	if a.fate(ctx, "claim", err) != done {
		return false
	}
	a.l.counts.claims.Add(1)
	a.l.witness.claimed(a.name(), c, at)
	a.claim = c
	return true
}

// rebuild recovers the state. A claim that has lost meanwhile may find that its events are gone: a newer one has saved
// snapshots beyond them.
func (a *activation) rebuild(ctx context.Context) fate {
	for ctx.Err() == nil {
		s, err := a.recover(ctx)
		switch {
		case err == nil:
			a.l.witness.told(a, "recovery", nil)
			a.l.counts.recovered.Add(1)
			a.state, a.saved = s, a.claim.SnapSeq
			return done
		case errors.Is(err, persistence.ErrUnavailable), errors.Is(err, persistence.ErrOverloaded):
			pause(ctx, between(a.random, 20*time.Millisecond))
			continue
		case errors.Is(err, persistence.ErrClosed):
			return a.fate(ctx, "recovery", err)
		}
		at := a.l.witness.floor(a.key)
		if head, headErr := a.node.Head(ctx, a.key); headErr == nil {
			head.Key = a.key
			a.l.witness.head(a.name(), head, at)
			if head.Epoch <= a.claim.Epoch {
				a.l.witness.fail(rebuilt, a.key, "recovery of %s at %d in epoch %d: %v", a.name(), a.claim.LastSeq, a.claim.Epoch, err)
			}
			return lost
		}
		pause(ctx, between(a.random, 20*time.Millisecond))
	}
	return over
}

func (a *activation) recover(ctx context.Context) (state, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	rec, err := a.node.Recover(ctx, a.claim)
	if err != nil {
		return state{}, err
	}
	s, err := restore(rec.Snapshot)
	if err != nil {
		return s, err
	}
	a.l.witness.restored(a.name(), a.key, s)
	if previous, err := restore(rec.Previous); err != nil {
		return s, err
	} else if previous.seq > 0 {
		a.l.witness.restored(a.name(), a.key, previous)
	}
	for events, more := rec.Tail, rec.More; ; {
		a.l.witness.saw(a.name(), a.key, events)
		for i := range events {
			if s, err = s.apply(&events[i]); err != nil {
				return s, err
			}
		}
		if !more {
			break
		}
		if events, err = a.node.Read(ctx, a.key, s.seq+1, int(min(persistence.MaxRead, a.claim.LastSeq-s.seq))); err != nil {
			return s, err
		}
		more = len(events) > 0 && s.seq+uint64(len(events)) < a.claim.LastSeq
	}
	if s.seq != a.claim.LastSeq {
		return s, fmt.Errorf("snapshot and events end at %d, the claim at %d", s.seq, a.claim.LastSeq)
	}
	return s, nil
}
