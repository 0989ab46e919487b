package postgres

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// maxLinks bounds the appends that a commit's span points back to.
const maxLinks = 32

// traceCommit begins the span of a commit, linked to the appends in it that are traced, and returns what ends it. Without
// any there is no span.
func (b *Backend) traceCommit(requests []*request) (end func(lost int, err error)) {
	var links []trace.Link
	events := 0
	for _, r := range requests {
		events += r.events
		if s := r.append.span; s.IsSampled() && len(links) < maxLinks {
			links = append(links, trace.Link{SpanContext: s})
		}
	}
	if len(links) == 0 {
		return func(int, error) {}
	}
	_, span := b.tracer.Start(context.Background(), "journal commit", trace.WithLinks(links...), trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(
			attribute.String("db.system.name", "postgresql"),
			attribute.Int("parley.journal.batch.requests", len(requests)),
			attribute.Int("parley.journal.batch.events", events)))
	return func(lost int, err error) {
		span.SetAttributes(attribute.Int("parley.journal.batch.lost", lost))
		if err != nil {
			span.RecordError(err)
			span.SetStatus(codes.Error, "commit")
		}
		span.End()
	}
}
