package room

import (
	"context"
	"errors"
	"log/slog"

	"github.com/tochemey/goakt/v4/actor"
	"go.opentelemetry.io/otel/trace"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/persistence"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// maxDrafts of one publish frame; a gateway sends 64 at most.
const maxDrafts = 1024

// publish is one connection's batch on its way into the journal.
type publish struct {
	in     *Inbound
	member string
	drafts []*roomv1.Draft
	span   trace.Span
}

func (r *Room) publish(rctx *actor.ReceiveContext, in *Inbound, p *roomv1.Publish) {
	if len(p.Drafts) > maxDrafts {
		r.refuse(in, clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, "too many messages in one batch", 0)
		return
	}
	cmd := &publish{in: in, member: p.MemberId, drafts: p.Drafts, span: r.publishSpan(in, p)}
	err := r.stream.Submit(rctx, cmd, in.bytes)
	switch {
	case err == nil:
	case r.stream.Stopped() != nil:
		r.die(rctx, r.stream.Stopped())
		endSpan(cmd.span, err)
		r.moved(in)
	default:
		endSpan(cmd.span, err)
		r.refuse(in, clientv1.ErrorCode_ERROR_CODE_BUSY, "the room has too much to write", busyRetryAfter)
	}
}

// published answers and fans out what has become durable.
func (r *Room) published(_ *actor.ReceiveContext, batch []actorkit.Decided[*publish, []*roomv1.Outcome]) {
	// Before the answers: whatever happens from here on, the next activation knows what the journal must have (S7).
	r.slot.acknowledged.Store(r.stream.Seq())
	for _, d := range batch {
		r.countOutcomes(d.Reply)
		r.answerTraced(d.Command.in, &roomv1.Frame{Kind: &roomv1.Frame_Published{Published: &roomv1.Published{Outcomes: d.Reply}}}, d.Command.span)
		endSpan(d.Command.span, nil)
	}
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

func (r *Room) publishFailed(rctx *actor.ReceiveContext, cmds []*publish, err error) {
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
		r.refuse(cmd.in, code, "the message could not be stored", retryAfter)
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
	if !r.roster.joined(s.MemberId) {
		r.refuse(in, clientv1.ErrorCode_ERROR_CODE_NOT_JOINED, "the member has not joined the room", 0)
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
