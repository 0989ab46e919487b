package actorkit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/parley-rt/parley/libs/persistence"
)

// Preloaded is a stream's state at some head, read while another activation, here or on another node, was still writing it.
// It belongs to one goroutine at a time and is used up by the RecoverFrom that it is given to.
type Preloaded[S any] struct {
	incarnation uint64
	seq         uint64
	state       S
	// What counts towards the next snapshot.
	snapSeq                   uint64
	snapBytes, events, weight int
}

// State returns the state, which is the caller's to complete as it would after Recover.
func (p *Preloaded[S]) State() S { return p.state }

// Seq returns the seq of the last event in the state.
func (p *Preloaded[S]) Seq() uint64 { return p.seq }

// Preload does the reading part of a Recover without claiming the stream: the claims that Zero and Restore get have no
// epoch, and a TrimSeq that may have risen when the stream is claimed. Errors are the journal's, ErrCorrupt when the stored
// events do not lead to the head.
func Preload[S, C, R any](ctx context.Context, cfg PersistentConfig, b Behavior[S, C, R]) (*Preloaded[S], error) {
	p := NewPersistent(cfg, b, PersistentHandler[C, R]{})
	head, rec, err := persistence.Peek(ctx, cfg.Journal, cfg.Key)
	if err != nil {
		return nil, fmt.Errorf("preload: %w", err)
	}
	p.claim = persistence.Claim{
		Key: cfg.Key, StreamID: head.StreamID, Incarnation: head.Incarnation,
		LastSeq: head.LastSeq, SnapSeq: head.SnapSeq, TrimSeq: head.TrimSeq, SnapPart: head.SnapPart,
	}
	if err := p.rebuild(ctx, rec); err != nil {
		return nil, fmt.Errorf("preload %s: %w", cfg.Key, err)
	}
	return &Preloaded[S]{
		incarnation: head.Incarnation, seq: p.seq, state: p.state,
		snapSeq: p.snaps.seq, snapBytes: p.snaps.bytes, events: p.snaps.events, weight: p.snaps.weight,
	}, nil
}

// RecoverFrom is Recover by somebody who has done most of the reading before: only the events since are read. It reports
// whether pre was of use. That is not so when the stream's history is another one than was read; then all is read again.
func (p *Persistent[S, C, R]) RecoverFrom(ctx context.Context, pre *Preloaded[S]) (used bool, err error) {
	p.turn.Lock()
	defer p.turn.Unlock()
	if err := p.take(ctx); err != nil {
		return false, err
	}
	if pre != nil && pre.incarnation == p.claim.Incarnation && pre.seq <= p.claim.LastSeq {
		err := p.continueFrom(ctx, pre)
		if err == nil {
			p.stopped = nil
			return true, nil
		}
		if !errors.Is(err, persistence.ErrCorrupt) {
			return false, fmt.Errorf("recover %s: %w", p.cfg.Key, err)
		}
		p.cfg.Logger.Warn("preloaded state is of no use", slog.String("stream", string(p.cfg.Key)), slog.Any("err", err))
	}
	return false, p.read(ctx)
}

func (p *Persistent[S, C, R]) continueFrom(ctx context.Context, pre *Preloaded[S]) error {
	p.snaps = snapshots[S, C, R]{seq: pre.snapSeq, bytes: pre.snapBytes, events: pre.events, weight: pre.weight}
	p.state, p.seq, p.applying = pre.state, pre.seq, false
	return p.replay(ctx, nil)
}
