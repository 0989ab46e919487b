package room

import (
	"context"
	"errors"
	"log/slog"

	"github.com/tochemey/goakt/v4/actor"
	"go.opentelemetry.io/otel/trace"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/opskit/failpoint"
	"github.com/parley-rt/parley/libs/persistence"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/rooms/internal/room/core"
)

// maxDrafts of one publish frame; a gateway sends 64 at most.
const maxDrafts = 1024

// write is what goes into the room's stream: one connection's batch of messages, or an administrator's command.
type write struct {
	in      *Inbound
	publish *roomv1.Publish
	admin   *roomv1.Administer
	span    trace.Span
}

// written is what became of a write.
type written struct {
	outcomes []*roomv1.Outcome
	ruled    core.Ruled
}

func (r *Room) publish(rctx *actor.ReceiveContext, in *Inbound, p *roomv1.Publish) {
	if len(p.Drafts) > maxDrafts {
		r.refuse(in, clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, "too many messages in one batch", 0)
		return
	}
	r.submit(rctx, &write{in: in, publish: p, span: r.publishSpan(in, p)})
}

func (r *Room) submit(rctx *actor.ReceiveContext, w *write) {
	err := r.stream.Submit(rctx, w, w.in.bytes)
	switch {
	case err == nil:
	case r.stream.Stopped() != nil:
		r.die(rctx, r.stream.Stopped())
		endSpan(w.span, err)
		r.moved(w.in)
	default:
		endSpan(w.span, err)
		r.refuse(w.in, clientv1.ErrorCode_ERROR_CODE_BUSY, "the room has too much to write", busyRetryAfter)
	}
}

// committed answers and fans out what has become durable: who was taken out first, so that nothing that came after reaches
// them.
func (r *Room) committed(rctx *actor.ReceiveContext, batch []actorkit.Decided[*write, written]) {
	// Before the answers: whatever happens from here on, the next activation knows what the journal must have (S7).
	r.slot.acknowledged.Store(r.stream.Seq())
	failpoint.Hit("room.after-commit")
	r.removed(rctx, batch)
	for _, d := range batch {
		if d.Command.admin != nil {
			r.administered(d.Command, d.Reply.ruled)
			continue
		}
		r.countOutcomes(d.Reply.outcomes)
		r.answerTraced(d.Command.in, &roomv1.Frame{Kind: &roomv1.Frame_Published{Published: &roomv1.Published{
			Outcomes: d.Reply.outcomes,
		}}}, d.Command.span)
		endSpan(d.Command.span, nil)
	}
	r.retain.changed(rctx, batch)
	failpoint.Hit("room.after-ack")
	messages := r.stream.State().TakeFresh()
	if len(messages) == 0 {
		return
	}
	r.env.Metrics.batch.Record(context.Background(), int64(len(messages)))
	r.env.Metrics.messages.Add(context.Background(), int64(len(messages)))
	cause, delivered := r.deliverSpan(batch, len(messages))
	r.deliver(messages, cause, batch[0].Command.in.At)
	delivered.End()
	// After the deliveries were queued: whoever hears of this head finds them before it on the Link.
	r.slot.lastMessage.Store(r.stream.State().LastMessage())
}

func (r *Room) writeFailed(rctx *actor.ReceiveContext, cmds []*write, err error) {
	terminal := r.stream.Stopped() != nil
	if terminal {
		r.die(rctx, err)
	}
	for _, cmd := range cmds {
		endSpan(cmd.span, err)
		if terminal {
			r.moved(cmd.in)
			continue
		}
		code, retryAfter := refusalOf(err)
		r.refuse(cmd.in, code, "it could not be stored", retryAfter)
	}
}

// refusalOf maps errors of writes that certainly did not happen.
func refusalOf(err error) (clientv1.ErrorCode, uint32) {
	switch {
	case errors.Is(err, persistence.ErrOverloaded), errors.Is(err, actorkit.ErrQueueFull):
		return clientv1.ErrorCode_ERROR_CODE_BUSY, busyRetryAfter
	case errors.Is(err, persistence.ErrTooLarge):
		return clientv1.ErrorCode_ERROR_CODE_TOO_LARGE, 0
	case errors.Is(err, persistence.ErrInvalid):
		return clientv1.ErrorCode_ERROR_CODE_INTERNAL, unavailableRetryAfter
	default:
		return clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE, unavailableRetryAfter
	}
}

func (r *Room) countOutcomes(outcomes []*roomv1.Outcome) {
	duplicates := 0
	for _, o := range outcomes {
		if o.Duplicate {
			duplicates++
		}
		if o.Refused != nil {
			r.env.Metrics.Refused(clientv1.ErrorCode(o.Refused.Code), 1)
		}
	}
	if duplicates > 0 {
		r.env.Metrics.duplicates.Add(context.Background(), int64(duplicates))
	}
}

// signal passes an ephemeral event on to everybody subscribed. It is not answered unless it is refused; what a Link does
// not take is dropped.
func (r *Room) signal(in *Inbound, s *roomv1.Signal) {
	if denial := r.stream.State().Silenced(&r.roster, s.MemberId, r.env.Now()); denial != nil {
		r.deny(in, denial)
		return
	}
	body, err := encodeFrame(r.id, &roomv1.Frame{Kind: &roomv1.Frame_Signalled{Signalled: &roomv1.Signalled{
		Epoch: r.epoch(), Sender: s.MemberId, Type: s.Type, Content: s.Content,
	}}})
	if err != nil {
		r.logger.Error("signal cannot be encoded", slog.Any("err", err))
		in.Release()
		return
	}
	frame := actorkit.Frame{Body: body, Traceparent: in.Trace.Traceparent, Tracestate: in.Trace.Tracestate}
	for node := range r.subscribers {
		if err := r.env.Links.Send(node, frame); err != nil {
			r.env.Metrics.AnswerLost()
		}
	}
	in.Release()
}
