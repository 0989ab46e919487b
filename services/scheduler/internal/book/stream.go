package book

import (
	"log/slog"
	"time"

	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/opskit/failpoint"
	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/services/scheduler/internal/book/core"
)

// storePause is how long to wait when the journal could not store something.
const storePause = 250 * time.Millisecond

// behavior adapts core.State to actorkit.Persistent.
type behavior struct{ zones *core.Zones }

func (b behavior) Zero(persistence.Claim) *core.State { return core.NewState(b.zones) }

func (b behavior) Apply(s *core.State, e persistence.Event) (*core.State, error) {
	return s, s.Apply(e)
}

func (b behavior) Draft(s *core.State) actorkit.Draft[*order, core.Reply] { return draft{s.Draft()} }

func (b behavior) Snapshot(s *core.State) (persistence.Snapshot, error) { return s.Snapshot() }

func (b behavior) Restore(_ persistence.Claim, snap persistence.Snapshot) (*core.State, error) {
	return core.RestoreState(snap, b.zones)
}

type draft struct{ draft *core.Draft }

func (d draft) Decide(o *order, _ uint64, now time.Time) ([]persistence.Event, core.Reply) {
	return d.draft.Decide(o.command, now)
}

// committed takes what has become durable.
func (b *Book) committed(rctx *actor.ReceiveContext, s *shard, batch []actorkit.Decided[*order, core.Reply]) {
	now := b.cfg.Now()
	for _, d := range batch {
		switch d.Command.command.(type) {
		case *core.Begin:
			s.beginning = false
			b.began(s, d.Reply, now)
		case *core.End:
			failpoint.Hit("scheduler.after-advance")
			b.sender.ended(d.Command.flight, now)
		case *core.Delete:
			if d.Reply.Err == nil && d.Reply.Record != nil {
				b.sender.drop(d.Reply.Record.ScheduleId)
			}
		}
		d.Command.done(d.Reply, nil)
	}
	b.begin(rctx, s, now)
	b.sender.run(rctx)
}

// began sends what was started.
func (b *Book) began(s *shard, reply core.Reply, now time.Time) {
	if len(reply.Started) > 0 {
		failpoint.Hit("scheduler.after-start")
	}
	for _, f := range reply.Started {
		b.sender.add(f)
	}
	if reply.Missed > 0 {
		b.cfg.Metrics.missed.Add(b.cfg.Term, int64(reply.Missed))
	}
	if reply.Stuck > 0 {
		s.notBefore = now.Add(time.Second)
		b.logger.Error("schedules are due whose timing cannot be told", slog.Int("schedules", reply.Stuck), slog.Any("err", reply.Problem))
	}
}

// failed takes orders that were not stored, or may not have been.
func (b *Book) failed(rctx *actor.ReceiveContext, s *shard, orders []*order, err error) {
	if s.stream.Stopped() != nil {
		b.die(rctx, err)
	} else {
		b.logger.Warn("schedule book cannot be written", slog.Any("err", err))
	}
	now := b.cfg.Now()
	for _, o := range orders {
		switch o.command.(type) {
		case *core.Begin:
			s.beginning = false
			s.notBefore = now.Add(storePause)
		case *core.End:
			o.flight.unstored(now.Add(storePause))
		}
		o.done(core.Reply{}, err)
	}
}
