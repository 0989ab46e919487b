package actorkit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/libs/persistence"
)

// snapshots is when to save: a snapshot is due when the events since the last one are many enough and weigh at least as
// much as it did, so that saving costs no more than a constant share of writing.
type snapshots[S, C, R any] struct {
	// seq and bytes of the last one.
	seq   uint64
	bytes int
	// events and weight since then.
	events, weight int
	// notBefore puts off the next try after a failure.
	notBefore uint64
	saving    *save[S, C, R]
}

// save is a snapshot on its way to the journal, and the message that says how it went.
type save[S, C, R any] struct {
	p    *Persistent[S, C, R]
	snap persistence.Snapshot
	// events and weight that it covers.
	events, weight int
	err            error
	done           chan struct{}
}

func (s *snapshots[S, C, R]) count(events, bytes int) {
	s.events += events
	s.weight += bytes
}

// maybeSnapshot starts to save in a task if a snapshot is due.
func (p *Persistent[S, C, R]) maybeSnapshot(rctx *actor.ReceiveContext) {
	s := &p.snaps
	if s.saving != nil || p.stopped != nil || s.events < p.cfg.SnapshotEvery || s.weight < s.bytes || p.seq < s.notBefore {
		return
	}
	snap, err := p.encode()
	if err != nil {
		p.snapshotFailed(err)
		return
	}
	v := &save[S, C, R]{p: p, snap: snap, events: s.events, weight: s.weight, done: make(chan struct{})}
	s.saving = v
	ctx := context.WithoutCancel(rctx.Context())
	claim, self := p.claim, rctx.Self()
	err = self.PipeTo(ctx, self, func() (any, error) {
		defer close(v.done)
		defer recoverTask(func(err error) { v.err = err })
		v.err = p.store(ctx, claim, snap)
		return v, nil
	})
	if err != nil {
		close(v.done)
		s.saving = nil // The actor is stopping; Stop saves.
	}
}

// encode makes the snapshot of the present state.
func (p *Persistent[S, C, R]) encode() (persistence.Snapshot, error) {
	snap, err := p.behavior.Snapshot(p.state)
	if err != nil {
		return snap, fmt.Errorf("encode: %w", err)
	}
	snap.Seq = p.seq
	return snap, nil
}

// store saves within CommitTimeout. A newer one being stored is as good.
func (p *Persistent[S, C, R]) store(ctx context.Context, claim persistence.Claim, snap persistence.Snapshot) error {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.CommitTimeout)
	defer cancel()
	err := p.cfg.Journal.SaveSnapshot(ctx, claim, snap)
	if errors.Is(err, persistence.ErrStaleSnapshot) {
		return nil
	}
	return err
}

// saved takes the result of a save.
func (p *Persistent[S, C, R]) saved(rctx *actor.ReceiveContext, v *save[S, C, R]) {
	p.snaps.saving = nil
	switch {
	case v.err == nil:
		p.snaps.take(v)
	case errors.Is(v.err, persistence.ErrFenced):
		p.halt(rctx, nil, fmt.Errorf("save snapshot of %s: %w", p.cfg.Key, v.err))
	default:
		p.snapshotFailed(v.err)
	}
	p.maybeSnapshot(rctx)
}

func (s *snapshots[S, C, R]) take(v *save[S, C, R]) {
	s.seq, s.bytes = v.snap.Seq, len(v.snap.Payload)
	s.events -= v.events
	s.weight -= v.weight
}

func (p *Persistent[S, C, R]) snapshotFailed(err error) {
	p.snaps.notBefore = p.seq + uint64(p.cfg.SnapshotEvery)
	p.cfg.Logger.Warn("snapshot not saved", slog.String("stream", string(p.cfg.Key)), slog.Uint64("seq", p.seq), slog.Any("err", err))
}

// finalSnapshot saves what Stop finds unsaved.
func (p *Persistent[S, C, R]) finalSnapshot(ctx context.Context) error {
	if v := p.snaps.saving; v != nil && v.err == nil {
		p.snaps.take(v)
	}
	if p.seq <= p.snaps.seq {
		return nil
	}
	snap, err := p.encode()
	if err == nil {
		err = p.store(ctx, p.claim, snap)
	}
	if err != nil {
		return fmt.Errorf("final snapshot of %s: %w", p.cfg.Key, err)
	}
	p.snaps.seq = p.seq
	return nil
}
