package room

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/services/rooms/internal/room/core"
)

// How often a room looks for messages that have come of age: a hundred times in their life, within these bounds. So that is
// how late they may go.
const (
	retainOften  = time.Second
	retainSeldom = time.Minute
	// spareEvents is from how many events on the stream itself is trimmed: it takes a snapshot.
	spareEvents = 1000
)

// retention lets a room's messages go. Readers do not get them from the moment that the room knows; the stream follows,
// except for the newest events, from which the next activation reads back which messages it knows already (S3).
type retention struct {
	room *Room
	// When to look again; zero: nothing ever goes.
	dueAt   time.Time
	looking bool
	// A change of settings came while it was looking.
	again bool
	// The stream is trimmed up to here.
	stored uint64
}

// trimmed reports what a look found, and what of the stream was trimmed.
type trimmed struct {
	upTo, stored uint64
	err          error
}

// recovered finds out, before anybody reads, what has come of age meanwhile.
func (t *retention) recovered(ctx context.Context) error {
	r := t.room
	state := r.stream.State()
	t.stored = r.stream.Claim().TrimSeq
	if age := state.RetentionAge(); age > 0 {
		now := r.env.Now()
		upTo, err := searchAge(ctx, r.env.Journal, r.streamKey(), core.NewAgeSearch(state.Trimmed(), state.Head(), now.Add(-age)))
		if err != nil {
			return err
		}
		state.Raise(upTo)
	}
	t.schedule()
	return nil
}

func (t *retention) schedule() {
	settings := t.room.stream.State().Settings()
	if settings.GetRetentionAge() == nil && settings.GetRetentionCount() == 0 {
		t.dueAt = time.Time{}
		return
	}
	every := retainSeldom
	if age := settings.GetRetentionAge(); age != nil {
		every = min(max(age.AsDuration()/100, retainOften), retainSeldom)
	}
	t.dueAt = t.room.env.Now().Add(every)
}

// changed looks at once after a change of settings.
func (t *retention) changed(rctx *actor.ReceiveContext, batch []actorkit.Decided[*write, written]) {
	for _, d := range batch {
		if d.Command.admin.GetChangeSettings() != nil && len(d.Events) > 0 {
			t.look(rctx, 1)
			return
		}
	}
}

func (t *retention) tick(rctx *actor.ReceiveContext) {
	if !t.dueAt.IsZero() && !t.room.env.Now().Before(t.dueAt) {
		t.look(rctx, spareEvents)
	}
}

// look finds in a task what has come of age, and trims the stream if that lets go of at least so many events.
func (t *retention) look(rctx *actor.ReceiveContext, least uint64) {
	if t.looking {
		t.again = t.again || least == 1
		return
	}
	t.schedule()
	r := t.room
	state := r.stream.State()
	search := core.NewAgeSearch(0, 0, time.Time{})
	if age := state.RetentionAge(); age > 0 {
		search = core.NewAgeSearch(state.Trimmed(), state.Head(), r.env.Now().Add(-age))
	}
	spare, snap := state.Spare(), persistence.Snapshot{}
	if spare < t.stored+least {
		spare = 0
	} else {
		var err error
		if snap, err = state.Snapshot(); err != nil {
			spare = 0
		}
		snap.Seq = state.Head()
	}
	if _, done := search.Next(); done && spare == 0 {
		return
	}
	t.looking = true
	journal, key, claim, stored := r.env.Journal, r.streamKey(), r.stream.Claim(), t.stored
	r.task(rctx, func(ctx context.Context) any {
		upTo, err := searchAge(ctx, journal, key, search)
		if err == nil && spare > 0 {
			if err = trim(ctx, journal, claim, snap, spare); err == nil {
				stored = spare
			}
		}
		return &trimmed{upTo: upTo, stored: stored, err: err}
	}, func(err error) any { return &trimmed{stored: stored, err: err} })
}

// done takes the result of a look. One that failed is repeated when the next is due.
func (t *retention) done(rctx *actor.ReceiveContext, m *trimmed) {
	r := t.room
	r.tasks--
	t.looking = false
	t.stored = max(t.stored, m.stored)
	if r.dead != nil {
		return
	}
	if errors.Is(m.err, persistence.ErrFenced) {
		r.die(rctx, m.err)
		return
	}
	r.stream.State().Raise(m.upTo)
	if t.again && r.ending == "" {
		t.again = false
		t.look(rctx, 1)
	}
	r.wake()
}

// searchAge carries out a search for the newest event that has come of age.
func searchAge(ctx context.Context, journal persistence.Journal, key persistence.StreamKey, search *core.AgeSearch) (uint64, error) {
	for {
		seq, done := search.Next()
		if done {
			return search.Found(), nil
		}
		events, err := journal.Read(ctx, key, seq, 1)
		switch {
		case errors.Is(err, persistence.ErrTrimmed):
			head, err := journal.Head(ctx, key)
			if err != nil {
				return 0, fmt.Errorf("look for messages of age: %w", err)
			}
			search.Trimmed(max(head.TrimSeq, seq))
		case err != nil:
			return 0, fmt.Errorf("look for messages of age: %w", err)
		case len(events) == 0:
			return search.Found(), nil
		default:
			search.Take(events[0])
		}
	}
}

// trim lets the stream forget events that a snapshot holds the sense of.
func trim(ctx context.Context, journal persistence.Journal, claim persistence.Claim, snap persistence.Snapshot, upTo uint64) error {
	if err := journal.SaveSnapshot(ctx, claim, snap); err != nil && !errors.Is(err, persistence.ErrStaleSnapshot) {
		return fmt.Errorf("save snapshot before a trim: %w", err)
	}
	if err := journal.Trim(ctx, claim, upTo); err != nil {
		return fmt.Errorf("trim up to %d: %w", upTo, err)
	}
	return nil
}
