package room

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/libs/persistence"
)

// die ends the activation's right to speak for the room: its streams may not be written any more. Subscribers are told
// at once where to look; the host is asked to route around and start anew.
func (r *Room) die(rctx *actor.ReceiveContext, err error) {
	if r.dead != nil || r.handed != "" {
		return
	}
	d := &death{err: err, owner: r.env.Node}
	var fenced *persistence.FencedError
	switch {
	case errors.As(err, &fenced):
		d.fenced = true
		d.owner = fenced.Owner
		// Members streams follow the room's: who took one has taken, or is about to take, the room.
		if d.owner == r.env.Node {
			d.fenced = false
		}
	case errors.Is(err, persistence.ErrFenced):
		d.fenced, d.owner = true, ""
	case errors.Is(err, persistence.ErrClosed):
		d.owner = ""
	}
	r.dead = d
	level := slog.LevelWarn
	if d.fenced {
		level = slog.LevelInfo
	}
	r.logger.Log(context.Background(), level, "room activation lost its stream", slog.Uint64("epoch", r.epoch()),
		slog.String("peer", d.owner), slog.Any("err", err))
	for _, w := range r.pages.waiting {
		r.moved(w.in)
	}
	r.pages.waiting = nil
	r.dismiss(d.owner)
	r.tell(rctx, &Stopping{RoomID: r.id, Slot: r.slot, Fenced: d.fenced, Owner: d.owner, Err: err})
}

// dismiss ends all subscriptions. owner is where the hubs should look.
func (r *Room) dismiss(owner string) {
	r.closeAll(owner)
	for node := range r.subscribers {
		r.removeSubscriber(node)
	}
}

// handedOver ends an activation whose room runs at another node already: there is nothing to save and to give back.
func (r *Room) handedOver(owner string) {
	r.handed = owner
	r.dismiss(owner)
}

// lost handles the journal's word that one of the streams has another writer now.
func (r *Room) lost(rctx *actor.ReceiveContext, m *Lost) {
	mine, key := r.epoch(), r.streamKey()
	if m.Members {
		// Only the first shard is compared: whoever claims any of them has claimed that one before.
		mine, key = r.roster.shards[0].stream.Claim().Epoch, shardKey(r.id, 0)
	}
	if m.Epoch <= mine {
		return
	}
	r.die(rctx, &persistence.FencedError{Key: key, MyEpoch: mine, Epoch: m.Epoch, Owner: m.Owner})
}

// finish begins the end. Everything the host handed over came before, so what is not in flight now never will be.
func (r *Room) finish(rctx *actor.ReceiveContext, why Why) {
	if why == WhyIdle && r.dead == nil && (len(r.subscribers) > 0 || len(r.owed) > 0 || r.busy()) {
		r.tell(rctx, &Keep{RoomID: r.id, Slot: r.slot})
		return
	}
	r.ending = why
}

// PostStop takes the final snapshots and gives the room back, unless the activation was fenced, has failed or was handed over. It runs in
// the host's task, or wherever a supervisor stops a room that panicked: then it does no I/O.
func (r *Room) PostStop(ctx *actor.Context) error {
	if !r.started {
		return nil
	}
	panicked := r.receiving.Load()
	r.env.Metrics.stopped(r.why(panicked), len(r.subscribers))
	switch {
	case panicked:
		r.logger.Error("room stopped by a panic")
	case r.dead == nil && r.handed == "":
		if err := r.giveBack(ctx.Context()); err != nil {
			// The next activation recovers from the events; only time is lost.
			r.logger.Warn("room was not given back cleanly", slog.Any("err", err))
		}
		r.closeAll("")
	}
	return nil
}

// why names the reason of the end, for the metric.
func (r *Room) why(panicked bool) string {
	switch {
	case panicked:
		return "panic"
	case r.dead != nil && r.dead.fenced:
		return "fenced"
	case r.handed != "":
		return "moved"
	case r.ending == "":
		return "stopped"
	default:
		return string(r.ending)
	}
}

// giveBack snapshots all streams and releases them, the room's last: its owner is what other nodes look at.
func (r *Room) giveBack(ctx context.Context) error {
	var problems []error
	for _, s := range r.roster.shards {
		if err := s.stream.Stop(ctx); err != nil {
			problems = append(problems, fmt.Errorf("stop members: %w", err))
		}
		problems = append(problems, r.env.Journal.Release(ctx, s.stream.Claim()))
	}
	if err := r.stream.Stop(ctx); err != nil {
		problems = append(problems, fmt.Errorf("stop stream: %w", err))
	}
	return errors.Join(append(problems, r.env.Journal.Release(ctx, r.stream.Claim()))...)
}
