package opskit

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel/trace"

	"github.com/parley-rt/parley/libs/opskit/logkey"
)

// traceHandler adds the ids of the context's span. In a logger with an open
// group they land in that group, like every other attribute of the line.
type traceHandler struct{ next slog.Handler }

func (h *traceHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

func (h *traceHandler) Handle(ctx context.Context, rec slog.Record) error {
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		rec = rec.Clone()
		rec.AddAttrs(
			slog.String(logkey.TraceID, span.TraceID().String()),
			slog.String(logkey.SpanID, span.SpanID().String()),
		)
	}
	return h.next.Handle(ctx, rec)
}

func (h *traceHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &traceHandler{next: h.next.WithAttrs(attrs)}
}

func (h *traceHandler) WithGroup(name string) slog.Handler {
	return &traceHandler{next: h.next.WithGroup(name)}
}
