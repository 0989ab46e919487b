package member

import (
	"slices"
	"time"

	"go.opentelemetry.io/otel/trace"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// startBatch sends the publishes at the front of the queue, as many as a batch holds.
func (c *Core) startBatch(now time.Time, r *room) {
	n, bytes := 0, 0
	var ops []*op
	for _, o := range r.waiting {
		size := draftOverhead + len(o.draft.GetContent()) + len(o.draft.GetMessageId()) + len(o.draft.GetTraceparent()) + len(o.draft.GetTracestate())
		if o.kind != opPublish || len(ops) == c.cfg.BatchMessages || len(ops) > 0 && bytes+size > c.cfg.BatchBytes {
			break
		}
		n++
		if !o.answered && !c.limitPublish(now, r, o) {
			ops, bytes = append(ops, o), bytes+size
		}
	}
	r.waiting = slices.Delete(r.waiting, 0, n)
	if len(ops) == 0 {
		return
	}
	drafts := make([]*roomv1.Draft, len(ops))
	for i, o := range ops {
		drafts[i] = o.draft
	}
	link(ops)
	r.batch = c.ask(now, r, ops, &roomv1.Frame{Kind: &roomv1.Frame_Publish{Publish: &roomv1.Publish{MemberId: c.session.Member, Drafts: drafts}}})
}

// link connects the traces of a batch: it goes on its way with the first one's, from which the others are to be found, and
// the other way round.
func link(ops []*op) {
	first := ops[0].cmd.Span
	for _, o := range ops[1:] {
		if first.IsRecording() {
			first.AddLink(trace.Link{SpanContext: o.cmd.Span.SpanContext()})
		}
		if o.cmd.Span.IsRecording() {
			o.cmd.Span.AddLink(trace.Link{SpanContext: first.SpanContext()})
		}
	}
}

// draftOverhead is about what a draft weighs beside its strings.
const draftOverhead = 32

// published answers the publishes of a batch.
func (c *Core) published(now time.Time, q *request, outcomes []*roomv1.Outcome) {
	for i, o := range q.ops {
		out := outcomes[i]
		if r := out.GetRefused(); r != nil || out.GetSeq() == 0 {
			c.roomFull(now, q.room, r)
			c.fail(o, clientv1.ErrorCode(r.GetCode()), r.GetMessage(), r.GetRetryAfterMs())
			continue
		}
		c.succeed(o, &clientv1.Envelope{Kind: &clientv1.Envelope_Ack{Ack: &clientv1.Ack{
			Target: o.room, MessageId: o.draft.GetMessageId(), Seq: out.GetSeq(), Duplicate: out.GetDuplicate(),
		}}})
	}
}

// roomFull keeps what waits for a room from overtaking what the room has just refused for now.
func (c *Core) roomFull(now time.Time, r *room, refused *roomv1.Refused) {
	if clientv1.ErrorCode(refused.GetCode()) != clientv1.ErrorCode_ERROR_CODE_RATE_LIMITED {
		return
	}
	c.offend(now)
	after := time.Duration(refused.GetRetryAfterMs()) * time.Millisecond
	if l := c.cfg.Limits; l != nil {
		after = max(after, l.Hold)
	}
	at := now.Add(after)
	if !r.fullUntil.After(now) {
		r.fullUntil = at
	}
	r.fullLast = at
}
