package chaostest

import (
	"context"
	"errors"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
)

// batch is what an activation wants to append, and the state after it.
type batch struct {
	events []persistence.Event
	after  state
}

func (a *activation) batch() batch {
	b := batch{after: a.state}
	for range 1 + a.random.IntN(5) {
		a.made++
		var e persistence.Event
		e, b.after = b.after.compose(a.random, messageID(a.number, a.made), a.term)
		b.events = append(b.events, e)
	}
	return b
}

// write saves snapshots and appends until something ends the activation. True: it must claim again.
func (a *activation) write(ctx context.Context) bool {
	every := uint64(10 + a.random.IntN(30))
	for round := 1; pause(ctx, between(a.random, a.l.pace)); round++ {
		if !a.snapshotIfDue(ctx, every) {
			return false
		}
		if a.gone {
			return true
		}
		switch a.append(ctx) {
		case again:
			return true
		case lost, over:
			return false
		default:
		}
		if a.rounds > 0 && round >= a.rounds {
			// Whoever comes next to a stream that is written to now and then may not come soon.
			if a.snapshotIfDue(ctx, 1) {
				a.release(ctx)
			}
			return false
		}
		if a.term == 0 && a.random.IntN(200) == 0 {
			a.release(ctx)
			return true // the room moves
		}
	}
	return false
}

// snapshotIfDue saves a snapshot when there are enough events, or somebody wants one of everybody. False: another claim won.
func (a *activation) snapshotIfDue(ctx context.Context, every uint64) bool {
	sweep := a.l.sweeps.Load()
	if a.state.seq < a.saved+every && (sweep == a.sweep || a.state.seq == a.saved) {
		return true
	}
	if !a.save(ctx) {
		return false
	}
	if a.saved == a.state.seq {
		a.sweep = sweep
	}
	return true
}

// append appends one batch. As long as it is certain that nothing was written, it tries again at the same position: with
// the same events, or with others, which a store that wrote the first ones after all cannot accept.
func (a *activation) append(ctx context.Context) fate {
	b := a.batch()
	for {
		at := a.l.witness.floor(a.key)
		op, cancel := a.op(ctx)
		_, err := a.l.history.Append(op, a.node, a.name(), a.claim, a.state.seq, b.events)
		cancel()
		f := a.fate(ctx, "append", err)
		if f == done {
			a.l.counts.appends.Add(1)
			a.l.counts.events.Add(int64(len(b.events)))
			a.l.witness.acknowledged(a.name(), a.claim, a.state.seq, b.events, at)
			a.state = b.after
		}
		if f != retry {
			return f
		}
		if a.random.IntN(2) == 0 {
			b = a.batch()
		}
		if !pause(ctx, between(a.random, 100*time.Millisecond)) {
			return over
		}
	}
}

// save stores a snapshot, and at times trims what is before it. False: another claim won.
func (a *activation) save(ctx context.Context) bool {
	op, cancel := a.op(ctx)
	defer cancel()
	began := time.Now()
	err := a.node.SaveSnapshot(op, a.claim, a.state.snapshot())
	if errors.Is(err, persistence.ErrStaleSnapshot) {
		err = nil // the answer to an earlier attempt was lost
	} else if err == nil {
		a.l.witness.wrote(a.key, began, "snapshot of "+a.name())
	}
	switch a.fate(ctx, "snapshot", err) {
	case done:
		a.l.counts.snapshots.Add(1)
		a.l.witness.snapshotted(a.key, a.state.seq)
		a.saved = a.state.seq
	case lost:
		return false
	default:
		return true // later
	}
	if a.random.IntN(3) > 0 {
		return true
	}
	upTo := a.saved - uint64(a.random.IntN(int(min(a.saved, 20))))
	f := a.fate(ctx, "trim", a.node.Trim(op, a.claim, upTo))
	if f == done {
		a.l.counts.trims.Add(1)
		a.l.witness.trimmed(a.key, upTo)
	}
	return f != lost
}

func (a *activation) release(ctx context.Context) {
	op, cancel := a.op(ctx)
	defer cancel()
	_ = a.fate(ctx, "release", a.node.Release(op, a.claim))
}
