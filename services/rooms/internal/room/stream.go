package room

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/opskit/failpoint"
	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/protocol/names"
	"github.com/parley-rt/parley/services/rooms/internal/room/core"
)

// Windows of events read back to rebuild the dedupe window: the first is small, as nothing is known of the events' sizes;
// the others are as many as will weigh backfillBytes. The journal's own bound on a page holds besides.
const (
	backfillFirst = 32
	backfillMost  = 2048
	backfillBytes = 1 << 20
)

func (r *Room) streamKey() persistence.StreamKey { return streamKey(r.id) }

func streamKey(id string) persistence.StreamKey {
	return persistence.StreamKey(names.RoomStream(id))
}

func (r *Room) streamConfig() actorkit.PersistentConfig {
	return actorkit.PersistentConfig{
		Key:           r.streamKey(),
		Owner:         r.env.Node,
		Journal:       r.env.Journal,
		Claim:         persistence.ClaimOptions{Guard: persistence.GuardEpoch{Epoch: r.start.Epoch}},
		Logger:        r.logger,
		Acknowledged:  r.slot.Acknowledged(),
		CommitTimeout: r.env.Limits.CommitTimeout,
		Now:           r.env.Now,
	}
}

// recover claims and reads the room. Its stream comes first: its guard decides who may, and only the winner touches the
// memberships. Of a room that was handed over all streams are claimed at once, each guarded by what its writer held.
func (r *Room) recover(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.env.Limits.StartTimeout)
	defer cancel()
	warm := r.start.Warm
	r.start.Warm = nil // used up
	g, gctx := errgroup.WithContext(ctx)
	read := func() error { return nil }
	claim := guarded(gctx, func(ctx context.Context) (err error) {
		read, err = r.claim(ctx, warm)
		return err
	})
	if r.start.MembersEpochs != nil {
		g.Go(func() error {
			if err := claim(); err != nil {
				return err
			}
			return read()
		})
	} else {
		if err := claim(); err != nil {
			return fmt.Errorf("recover room %s: %w", r.id, err)
		}
		g.Go(read)
	}
	g.Go(guarded(gctx, func(ctx context.Context) error { return r.roster.recover(ctx, warm) }))
	if err := g.Wait(); err != nil {
		return fmt.Errorf("recover room %s: %w", r.id, err)
	}
	state := r.stream.State()
	state.Raise(r.stream.Claim().TrimSeq)
	state.Live(r.env.Now())
	if err := r.retain.recovered(ctx); err != nil {
		return fmt.Errorf("recover room %s: %w", r.id, err)
	}
	r.removal = state.Removal()
	r.slot.lastMessage.Store(state.LastMessage())
	r.slot.acknowledged.Store(r.stream.Seq()) // less than before when a tail was lost, which is announced now
	r.slot.epoch.Store(r.epoch())
	return nil
}

// claim claims and replays the room's stream, and returns what is still to be read.
func (r *Room) claim(ctx context.Context, warm *Warm) (read func() error, err error) {
	var pre *actorkit.Preloaded[*core.State]
	if warm != nil {
		pre = warm.stream
	}
	used, err := r.stream.RecoverFrom(ctx, pre)
	failpoint.Hit("room.after-claim")
	if err != nil || used {
		return func() error { return nil }, err
	}
	return guarded(ctx, func(ctx context.Context) error {
		return backfill(ctx, r.env.Journal, r.streamKey(), r.stream.State())
	}), nil
}

// guarded turns a panic into an error: one room's history must not end the process (S9).
func guarded(ctx context.Context, f func(context.Context) error) func() error {
	return func() (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("%w: panic: %v", persistence.ErrCorrupt, p)
			}
		}()
		return f(ctx)
	}
}

// backfill reads the events before the snapshot back until they are too old for the dedupe window (S3). Only one window of
// them is in memory at a time.
func backfill(ctx context.Context, journal persistence.Journal, key persistence.StreamKey, state *core.State) error {
	before, size := state.Base()+1, backfillFirst
	for before > state.Stored()+1 {
		events, err := journal.ReadReverse(ctx, key, before, size)
		if errors.Is(err, persistence.ErrTrimmed) || err == nil && len(events) == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read back from %d: %w", before, err)
		}
		more, err := state.Backfill(events)
		if err != nil {
			return fmt.Errorf("read back from %d: %w", before, err)
		}
		if !more {
			return nil
		}
		before, size = events[len(events)-1].Seq, nextWindow(events)
	}
	return nil
}

// nextWindow guesses how many events of the size of the last ones weigh backfillBytes.
func nextWindow(last []persistence.Event) int {
	bytes := 0
	for i := range last {
		bytes += len(last[i].Payload) + len(last[i].Meta)
	}
	return max(1, min(backfillBytes*len(last)/max(bytes, 1), 4*len(last), backfillMost))
}

// streamBehavior adapts core.State to actorkit.Persistent.
type streamBehavior struct {
	limits Limits
	roster *roster
	gauge  *core.Gauge // of messages, since this activation; nil: any pass
}

func (b streamBehavior) Zero(c persistence.Claim) *core.State {
	return core.NewState(c, b.limits.WindowMax)
}

func (b streamBehavior) Apply(s *core.State, e persistence.Event) (*core.State, error) {
	return s, s.Apply(e)
}

func (b streamBehavior) Draft(s *core.State) actorkit.Draft[*write, written] {
	return streamDraft{s.Draft(b.limits.MaxContentBytes, b.roster).Within(b.gauge)}
}

func (b streamBehavior) Snapshot(s *core.State) (persistence.Snapshot, error) {
	failpoint.Hit("room.before-snapshot")
	return s.Snapshot()
}

func (b streamBehavior) Restore(c persistence.Claim, snap persistence.Snapshot) (*core.State, error) {
	return core.RestoreState(c, snap, b.limits.WindowMax)
}

type streamDraft struct{ draft *core.Draft }

// Decide looks at rights and memberships when the batch is formed, not when the frame came: a member that has been taken out
// meanwhile is refused (S8).
func (d streamDraft) Decide(w *write, nextSeq uint64, now time.Time) (events []persistence.Event, done written) {
	switch {
	case w.admin != nil:
		events, done.ruled = d.draft.Administer(w.admin, nextSeq, now)
	case w.publish.GetFiring() != nil:
		events, done.outcomes = d.draft.Fire(w.publish, nextSeq, now)
	default:
		events, done.outcomes = d.draft.Publish(w.publish, nextSeq, now)
	}
	return events, done
}
