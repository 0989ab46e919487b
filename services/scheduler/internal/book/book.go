package book

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tochemey/goakt/v4/actor"
	"golang.org/x/sync/errgroup"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/opskit"
	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/protocol/names"
	"github.com/parley-rt/parley/services/scheduler/internal/book/core"
)

// recovering is how many streams are recovered at a time.
const recovering = 8

// Book is the actor. One value is one term.
type Book struct {
	cfg    Config
	logger *slog.Logger // rate-limited
	shards [names.ScheduleShards]*shard
	sender *sender

	ticker sync.WaitGroup
	stop   context.CancelFunc
}

// shard is one stream of the book.
type shard struct {
	stream *actorkit.Persistent[*core.State, *order, core.Reply]
	// beginning: a Begin is on its way. notBefore puts the next one off after a failure.
	beginning bool
	notBefore time.Time
}

// order is a command on its way through a stream.
type order struct {
	command core.Command
	// answer is called once, with what became of it; nil: nobody waits. It must not block.
	answer func(core.Reply, error)
	// flight is the firing that an End is of.
	flight *flight
}

type tick struct{}

// New returns the actor of a term.
func New(cfg Config) *Book {
	cfg = cfg.withDefaults()
	b := &Book{cfg: cfg, logger: opskit.RateLimited(cfg.Logger)}
	b.sender = newSender(b)
	for i := range b.shards {
		s := new(shard)
		s.stream = actorkit.NewPersistent(actorkit.PersistentConfig{
			Key:     persistence.StreamKey(names.SchedulesStream(i)),
			Owner:   cfg.Owner,
			Journal: cfg.Journal,
			Claim:   persistence.ClaimOptions{Guard: cfg.Guard},
			Logger:  cfg.Logger,
			Now:     cfg.Now,
		}, actorkit.Behavior[*core.State, *order, core.Reply](behavior{cfg.Zones}), actorkit.PersistentHandler[*order, core.Reply]{
			Committed: func(rctx *actor.ReceiveContext, batch []actorkit.Decided[*order, core.Reply]) {
				b.committed(rctx, s, batch)
			},
			Failed: func(rctx *actor.ReceiveContext, orders []*order, err error) { b.failed(rctx, s, orders, err) },
		})
		b.shards[i] = s
	}
	return b
}

// PreStart takes the streams.
func (b *Book) PreStart(ctx *actor.Context) error {
	began := time.Now()
	group, groupCtx := errgroup.WithContext(ctx.Context())
	group.SetLimit(recovering)
	for _, s := range b.shards {
		group.Go(func() error { return s.stream.Recover(groupCtx) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("take the schedule book: %w", err)
	}
	open, schedules := 0, 0
	for _, s := range b.shards {
		schedules += s.stream.State().Len()
		for _, f := range s.stream.State().Open() {
			b.sender.add(f)
			open++
		}
	}
	b.cfg.Metrics.schedules.Store(int64(schedules))
	b.cfg.Logger.Info("schedule book taken", slog.Int("schedules", schedules), slog.Int("open", open), slog.Duration("took", time.Since(began)))
	return nil
}

// Receive implements actor.Actor.
func (b *Book) Receive(rctx *actor.ReceiveContext) {
	switch m := rctx.Message().(type) {
	case *actor.PostStart:
		b.startTicker(rctx.Self())
	case *tick:
		b.tick(rctx)
	case *sent:
		b.sender.came(rctx, m)
	case *Request:
		b.request(rctx, m)
	default:
		for _, s := range b.shards {
			if s.stream.Receive(rctx) {
				return
			}
		}
		rctx.Unhandled()
	}
}

// startTicker has the actor look what is due, until PostStop.
func (b *Book) startTicker(self *actor.PID) {
	ctx, cancel := context.WithCancel(context.Background())
	b.stop = cancel
	b.ticker.Go(func() {
		t := time.NewTicker(b.cfg.Tick)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				if err := self.Tell(ctx, self, &tick{}); err != nil {
					return // it has stopped
				}
			case <-ctx.Done():
				return
			}
		}
	})
}

// PostStop ends what the book has running. What was being sent is sent again by whoever has the book next.
func (b *Book) PostStop(ctx *actor.Context) error {
	if b.stop != nil {
		b.stop()
	}
	b.ticker.Wait()
	b.sender.stop()
	b.cfg.Metrics.schedules.Store(0)
	b.cfg.Metrics.open.Store(0)
	group := new(errgroup.Group)
	group.SetLimit(recovering)
	for _, s := range b.shards {
		group.Go(func() error {
			err := s.stream.Stop(ctx.Context())
			if err == nil && s.stream.Claim().Epoch != 0 {
				err = b.cfg.Journal.Release(ctx.Context(), s.stream.Claim())
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		// The next holder claims and reads more for it; nothing is lost.
		b.cfg.Logger.Warn("schedule book not left in order", slog.Any("err", err))
	}
	return nil
}

func (b *Book) shardOf(id string) *shard { return b.shards[names.ScheduleShard(id)] }

func (b *Book) tick(rctx *actor.ReceiveContext) {
	now := b.cfg.Now()
	open, schedules := 0, 0
	for _, s := range b.shards {
		schedules += s.stream.State().Len()
		b.begin(rctx, s, now)
	}
	b.sender.run(rctx)
	b.sender.again(rctx, now)
	open = len(b.sender.flights)
	b.cfg.Metrics.schedules.Store(int64(schedules))
	b.cfg.Metrics.open.Store(int64(open))
}

// begin starts what is due in a stream.
func (b *Book) begin(rctx *actor.ReceiveContext, s *shard, now time.Time) {
	if at, ok := s.stream.State().Wake(); !ok || at.After(now) || s.beginning || now.Before(s.notBefore) {
		return
	}
	s.beginning = b.submit(rctx, s, &order{command: &core.Begin{Limit: beginMost}}, 0)
}

// submit hands an order to a stream; false: it was not taken and has been answered.
func (b *Book) submit(rctx *actor.ReceiveContext, s *shard, o *order, bytes int) bool {
	err := s.stream.Submit(rctx, o, bytes)
	if err == nil {
		return true
	}
	if stopped := s.stream.Stopped(); stopped != nil {
		b.die(rctx, stopped)
	}
	o.done(core.Reply{}, err)
	return false
}

func (o *order) done(reply core.Reply, err error) {
	if o.answer != nil {
		o.answer(reply, err)
	}
}

// die ends the actor: a stream may not be written to any more.
func (b *Book) die(rctx *actor.ReceiveContext, err error) {
	b.logger.Warn("schedule book lost", slog.Any("err", err))
	rctx.Err(err)
}
