package room

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/tochemey/goakt/v4/actor"
	"go.opentelemetry.io/otel/trace"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/persistence"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/rooms/internal/room/core"
)

// Room is the actor. One value is one activation.
type Room struct {
	env    Env
	id     string
	slot   *Slot
	host   *actor.PID
	start  Start
	logger *slog.Logger

	stream *actorkit.Persistent[*core.State, *write, written]
	roster roster
	// The span of the append in flight, or of the one just ended: what it stored is delivered as its child.
	appended trace.SpanContext

	subscribers map[string]struct{}
	// Gateway nodes that must be told that their subscription has ended.
	owed     map[string]struct{}
	presence *core.Presence
	pages    pages
	retain   retention
	comings  comings
	// Seq of the last removal that the subscribers were told of.
	removal uint64
	// When memberships that could not be ended are tried again; zero: none are left.
	sweepAt time.Time

	// Tasks started and not yet reported.
	tasks int
	// Why the activation ends; empty while it serves.
	ending   Why
	finished bool
	dead     *death
	// The node that has the room now; empty while it is here.
	handed   string
	startErr error
	started  bool
	// Set while Receive runs, so that PostStop can tell a panic from an orderly end.
	receiving atomic.Bool
}

// death is why an activation cannot go on.
type death struct {
	err    error
	fenced bool
	owner  string
}

// Start says what an activation begins with.
type Start struct {
	// Epoch is the room's at the look that allowed the start; it is claimed only while it is still that.
	Epoch uint64
	// MembersEpochs are those of the members streams of a room that was handed over, nil of another.
	MembersEpochs []uint64
	// Warm is what was read ahead; nil: nothing.
	Warm *Warm
}

// New returns the actor of a room. host gets Stopping, Finished and Keep.
func New(env Env, id string, slot *Slot, start Start, host *actor.PID) *Room {
	r := &Room{
		env:         env,
		id:          id,
		slot:        slot,
		host:        host,
		start:       start,
		logger:      env.Logger.With(slog.String("room_id", id)),
		subscribers: make(map[string]struct{}),
		owed:        make(map[string]struct{}),
		presence:    core.NewPresence(),
	}
	r.stream = actorkit.NewPersistent(r.streamConfig(), streamBehavior{limits: env.Limits, roster: &r.roster, gauge: env.Limits.gauge()}, actorkit.PersistentHandler[*write, written]{
		Committed: r.committed,
		Failed:    r.writeFailed,
		Appending: r.appending,
	})
	r.roster = newRoster(r)
	r.pages = pages{room: r}
	r.retain = retention{room: r}
	r.comings = comings{room: r}
	return r
}

var _ actor.Actor = (*Room)(nil)

// PreStart claims and recovers. It never returns an error: GoAkt would run it again with the same guard, log each try
// and wrap the reason. Who spawns looks at StartErr and shuts the actor down if there is one.
func (r *Room) PreStart(ctx *actor.Context) error {
	began := time.Now()
	r.startErr = r.recover(ctx.Context())
	if r.startErr == nil {
		r.started = true
		r.env.Metrics.started(time.Since(began))
	}
	return nil
}

// StartErr is why the room could not be claimed and recovered, after the spawn returned.
func (r *Room) StartErr() error { return r.startErr }

// Receive handles one message. It never blocks.
func (r *Room) Receive(rctx *actor.ReceiveContext) {
	r.receiving.Store(true)
	r.receive(rctx)
	r.receiving.Store(false)
}

func (r *Room) receive(rctx *actor.ReceiveContext) {
	if r.startErr != nil {
		return
	}
	if r.stream.Receive(rctx) || r.roster.receive(rctx) {
		r.step(rctx)
		return
	}
	switch m := rctx.Message().(type) {
	case *actor.PostStart:
		r.begin(rctx)
	case *Inbound:
		r.inbound(rctx, m)
	case *Tick:
		r.tick(rctx)
	case *NodeDown:
		r.dropNode(m.Node)
	case *NodeLost:
		r.dropNode(m.Node)
		r.settleOwed()
	case *Lost:
		r.lost(rctx, m)
	case *Finish:
		r.finish(rctx, m.Why)
	case *GoOn:
		r.ending, r.finished = "", false
	case *HandedOver:
		r.handedOver(m.Owner)
		r.slot.subscribers.Store(0)
		r.tell(rctx, &Finished{RoomID: r.id, Slot: r.slot})
		return // PostStop may run beside what would follow
	case *pageRead:
		r.pages.done(rctx, m)
	case *cursorChecked:
		r.cursorChecked(rctx, m)
	case *ownershipChecked:
		r.ownershipChecked(rctx, m)
	case *shardOpened:
		r.roster.opened(rctx, m)
	case *trimmed:
		r.retain.done(rctx, m)
	default:
		rctx.Unhandled()
	}
	r.step(rctx)
}

// begin does what the activation before may have left undone.
func (r *Room) begin(rctx *actor.ReceiveContext) {
	if r.removal > 0 {
		r.sweep(rctx)
	}
	r.wake()
}

// inbound handles a gateway's frame.
func (r *Room) inbound(rctx *actor.ReceiveContext, in *Inbound) {
	if r.dead != nil {
		r.moved(in)
		return
	}
	switch k := in.Frame.Kind.(type) {
	case *roomv1.Frame_Publish:
		r.publish(rctx, in, k.Publish)
	case *roomv1.Frame_Join:
		r.join(rctx, in, k.Join)
	case *roomv1.Frame_Leave:
		r.leave(rctx, in, k.Leave)
	case *roomv1.Frame_Signal:
		r.signal(in, k.Signal)
	case *roomv1.Frame_Read:
		r.pages.read(rctx, in, k.Read)
	case *roomv1.Frame_PresenceQuery:
		r.presenceQuery(in, k.PresenceQuery)
	case *roomv1.Frame_Subscribe:
		r.subscribe(in)
	case *roomv1.Frame_Unsubscribe:
		r.unsubscribe(in.From.Node)
		in.Release()
	case *roomv1.Frame_Online:
		r.online(in, k.Online)
	case *roomv1.Frame_Administer:
		r.administer(rctx, in, k.Administer)
	case *roomv1.Frame_Describe:
		r.describe(in)
	case *roomv1.Frame_List:
		r.list(in, k.List)
	default:
		in.Release()
	}
}

// task runs work outside the actor and brings its result back as a message: failed's, should work panic. Neither may touch
// the room.
func (r *Room) task(rctx *actor.ReceiveContext, work func(ctx context.Context) any, failed func(error) any) {
	r.tasks++
	self, timeout := rctx.Self(), r.env.Limits.ReadTimeout
	err := self.PipeTo(context.Background(), self, func() (result any, _ error) {
		defer func() {
			if p := recover(); p != nil {
				result = failed(fmt.Errorf("%w: panic: %v", persistence.ErrUnavailable, p))
			}
		}()
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		return work(ctx), nil
	})
	if err != nil {
		// Only an actor that is stopping cannot pipe to itself.
		r.tasks--
	}
}

// step does what any message may have made possible.
func (r *Room) step(rctx *actor.ReceiveContext) {
	r.slot.subscribers.Store(int64(len(r.subscribers)))
	r.slot.weight.Store(int64(r.stream.State().Weight() + r.roster.weight()))
	// A snapshot may have been the first to find out that a stream is lost.
	if err := r.stopped(); err != nil {
		r.die(rctx, err)
	}
	if r.ending == "" || r.finished || r.busy() {
		return
	}
	r.finished = true
	f := &Finished{RoomID: r.id, Slot: r.slot}
	if r.dead == nil {
		f.Epoch, f.MembersEpochs = r.epoch(), r.roster.epochs()
	}
	r.tell(rctx, f)
}

// stopped returns why one of the streams may not be written any more, nil while all may.
func (r *Room) stopped() error {
	if err := r.stream.Stopped(); err != nil {
		return err
	}
	return r.roster.stopped()
}

// busy tells whether something is in flight that will report back.
func (r *Room) busy() bool {
	return r.tasks > 0 || r.stream.Busy() || r.roster.busy()
}

func (r *Room) tell(rctx *actor.ReceiveContext, message any) {
	if err := rctx.Self().Tell(context.Background(), r.host, message); err != nil {
		r.logger.Warn("room cannot reach its host", slog.Any("err", err))
	}
}

func (r *Room) epoch() uint64 { return r.stream.Claim().Epoch }
