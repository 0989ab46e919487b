package room

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/parley-rt/parley/libs/actorkit"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// The spans of a message on its way through a room. One commit stores what several connections publish, so its spans
// belong to the trace of the first of them that is traced and are linked to the others:
//
//	room publish (1) ──► journal append ──► room deliver ──► the gateways
//	room publish (2) ╌╌╌╌╌╌╌╌╌╌╌┴╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌┘ links

// maxLinks of one span.
const maxLinks = 64

// publishSpan covers a traced batch from its arrival to its answer. Messages bring their own trace contexts: they are
// linked.
func (r *Room) publishSpan(in *Inbound, p *roomv1.Publish) trace.Span {
	_, span := actorkit.StartFrameSpan(context.Background(), r.env.Tracer, "room publish", in.Trace)
	if !span.IsRecording() {
		return span
	}
	span.SetAttributes(attribute.String("parley.room_id", r.id), attribute.Int("parley.messages", len(p.Drafts)))
	for _, d := range p.Drafts {
		if d.Traceparent == "" || d.Traceparent == in.Trace.Traceparent {
			continue
		}
		linked := actorkit.ExtractTrace(context.Background(), actorkit.Frame{Traceparent: d.Traceparent, Tracestate: d.Tracestate})
		if sc := trace.SpanContextFromContext(linked); sc.IsValid() {
			span.AddLink(trace.Link{SpanContext: sc})
		}
	}
	return span
}

func endSpan(span trace.Span, err error) {
	if err != nil && span.IsRecording() {
		span.SetStatus(otelcodes.Error, err.Error())
	}
	span.End()
}

// appending starts the span of a commit.
func (r *Room) appending(ctx context.Context, batch []actorkit.Decided[*write, written]) (context.Context, func(error)) {
	r.appended = trace.SpanContext{}
	first, links := traced(batch)
	if !first.IsValid() {
		return ctx, func(error) {}
	}
	events := 0
	for _, d := range batch {
		events += len(d.Events)
	}
	ctx, span := r.env.Tracer.Start(trace.ContextWithSpanContext(ctx, first), "journal append",
		trace.WithSpanKind(trace.SpanKindClient), trace.WithLinks(links...), trace.WithAttributes(
			attribute.String("parley.room_id", r.id), attribute.Int("parley.events", events), attribute.Int("parley.commands", len(batch))))
	r.appended = span.SpanContext()
	return ctx, func(err error) { endSpan(span, err) }
}

// deliverSpan starts the span of the deliveries of what a commit stored, and returns the trace context they travel with.
func (r *Room) deliverSpan(batch []actorkit.Decided[*write, written], messages int) (actorkit.Frame, trace.Span) {
	parent := r.appended
	r.appended = trace.SpanContext{}
	_, links := traced(batch)
	ctx := context.Background()
	if !parent.IsValid() {
		return batch[0].Command.in.Trace, trace.SpanFromContext(ctx)
	}
	ctx, span := r.env.Tracer.Start(trace.ContextWithSpanContext(ctx, parent), "room deliver",
		trace.WithSpanKind(trace.SpanKindProducer), trace.WithLinks(links...), trace.WithAttributes(
			attribute.String("parley.room_id", r.id), attribute.Int("parley.messages", messages),
			attribute.Int("parley.subscribers", len(r.subscribers))))
	var cause actorkit.Frame
	actorkit.InjectTrace(ctx, &cause)
	return cause, span
}

// traced returns the publish span of the first traced command of a batch, and links to those of the others.
func traced(batch []actorkit.Decided[*write, written]) (first trace.SpanContext, links []trace.Link) {
	for _, d := range batch {
		switch sc := d.Command.span.SpanContext(); {
		case !sc.IsValid():
		case !first.IsValid():
			first = sc
		case len(links) < maxLinks:
			links = append(links, trace.Link{SpanContext: sc})
		}
	}
	return first, links
}
