package actorkit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/parley-rt/parley/libs/persistence"
)

// recoverPage is how many events are read at once; large ones are fewer, the journal bounds a page by its bytes.
const recoverPage = 1000

// Recover claims the stream and rebuilds its state from the newest readable snapshot and the events after it. Call it
// from PreStart; it blocks, so the spawn must run in a task. Errors are the journal's, ErrCorrupt among them when the
// stored events do not lead to the claimed head; nothing is retried. It may be called again after an error: a loss is then
// announced once more.
func (p *Persistent[S, C, R]) Recover(ctx context.Context) error {
	_, err := p.RecoverFrom(ctx, nil)
	return err
}

// take claims the stream.
func (p *Persistent[S, C, R]) take(ctx context.Context) error {
	p.stopped, p.closed, p.inFlight, p.queue, p.queueBytes = errNotRecovered, false, nil, nil, 0
	claim, err := p.cfg.Journal.Claim(ctx, p.cfg.Key, p.cfg.Owner, p.cfg.Claim)
	if err != nil {
		return fmt.Errorf("claim %s: %w", p.cfg.Key, err)
	}
	if p.claim, err = p.announceLoss(ctx, claim); err != nil {
		return fmt.Errorf("announce the lost tail of %s: %w", p.cfg.Key, err)
	}
	return nil
}

// read rebuilds the state of the claimed stream.
func (p *Persistent[S, C, R]) read(ctx context.Context) error {
	rec, err := p.cfg.Journal.Recover(ctx, p.claim)
	if err != nil {
		return fmt.Errorf("recover %s: %w", p.cfg.Key, err)
	}
	if err := p.rebuild(ctx, rec); err != nil {
		return fmt.Errorf("recover %s: %w", p.cfg.Key, err)
	}
	p.stopped = nil
	return nil
}

// announceLoss changes the stream's incarnation if the journal has less than was acknowledged.
func (p *Persistent[S, C, R]) announceLoss(ctx context.Context, claim persistence.Claim) (persistence.Claim, error) {
	if claim.LastSeq >= p.cfg.Acknowledged {
		return claim, nil
	}
	p.cfg.Logger.Warn("journal has lost acknowledged events", slog.String("stream", string(p.cfg.Key)),
		slog.Uint64("seq", claim.LastSeq), slog.Uint64("acknowledged", p.cfg.Acknowledged))
	return p.cfg.Journal.Reincarnate(ctx, claim)
}

// rebuild tries the newest snapshot, the one before it, and the whole stream if nothing of it was trimmed.
func (p *Persistent[S, C, R]) rebuild(ctx context.Context, rec persistence.Recovery) error {
	err := p.restore(rec.Snapshot)
	if err == nil {
		return p.replay(ctx, rec.Tail)
	}
	problems := []error{persistence.ErrCorrupt, err}
	var others []persistence.Snapshot
	if rec.Previous.Seq > 0 {
		others = append(others, rec.Previous)
	}
	if p.claim.TrimSeq == 0 {
		others = append(others, persistence.Snapshot{})
	}
	for _, snap := range others {
		p.cfg.Logger.Warn("snapshot not readable", slog.String("stream", string(p.cfg.Key)), slog.Any("err", err))
		if err = p.restore(snap); err == nil {
			return p.replay(ctx, nil)
		}
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

// restore sets the state to a snapshot; Seq 0 means the empty stream.
func (p *Persistent[S, C, R]) restore(snap persistence.Snapshot) error {
	p.snaps = snapshots[S, C, R]{seq: snap.Seq, bytes: len(snap.Payload)}
	p.seq = snap.Seq
	p.applying = false
	if snap.Seq == 0 {
		p.state = p.behavior.Zero(p.claim)
		return nil
	}
	state, err := p.behavior.Restore(p.claim, snap)
	if err != nil {
		return fmt.Errorf("restore snapshot at seq %d: %w", snap.Seq, err)
	}
	p.state = state
	return nil
}

// replay applies tail and what follows it, up to the claimed head.
func (p *Persistent[S, C, R]) replay(ctx context.Context, tail []persistence.Event) error {
	for {
		for i := range tail {
			e := &tail[i]
			if e.Seq > p.claim.LastSeq {
				break // Another writer has claimed since: its events are not ours to apply.
			}
			if e.Seq != p.seq+1 {
				return fmt.Errorf("event %d follows %d: %w", e.Seq, p.seq, persistence.ErrCorrupt)
			}
			if err := p.apply(tail[i : i+1]); err != nil {
				return fmt.Errorf("%w: %w", persistence.ErrCorrupt, err)
			}
			p.snaps.count(1, len(e.Payload)+len(e.Meta))
		}
		if p.seq >= p.claim.LastSeq {
			break
		}
		var err error
		tail, err = p.cfg.Journal.Read(ctx, p.cfg.Key, p.seq+1, recoverPage)
		if errors.Is(err, persistence.ErrTrimmed) || err == nil && len(tail) == 0 {
			err = errors.Join(persistence.ErrCorrupt, err)
		}
		if err != nil {
			return fmt.Errorf("read from seq %d up to %d: %w", p.seq+1, p.claim.LastSeq, err)
		}
	}
	if p.seq != p.claim.LastSeq {
		return fmt.Errorf("snapshot at seq %d is beyond the head %d: %w", p.seq, p.claim.LastSeq, persistence.ErrCorrupt)
	}
	return nil
}
