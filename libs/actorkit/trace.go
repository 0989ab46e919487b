package actorkit

import (
	"context"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

const (
	traceparentKey = "traceparent"
	tracestateKey  = "tracestate"
)

// frameCarrier lets the W3C propagator read and write a frame's two fields.
type frameCarrier struct{ f *Frame }

func (c frameCarrier) Get(key string) string {
	switch key {
	case traceparentKey:
		return c.f.Traceparent
	case tracestateKey:
		return c.f.Tracestate
	}
	return ""
}

func (c frameCarrier) Set(key, value string) {
	switch key {
	case traceparentKey:
		c.f.Traceparent = value
	case tracestateKey:
		c.f.Tracestate = value
	}
}

func (c frameCarrier) Keys() []string { return []string{traceparentKey, tracestateKey} }

// InjectTrace puts the trace context of ctx into the frame; without one the frame is left as it is.
func InjectTrace(ctx context.Context, f *Frame) {
	propagation.TraceContext{}.Inject(ctx, frameCarrier{f})
}

// ExtractTrace returns ctx with the frame's trace context as remote parent; without a valid one, ctx.
func ExtractTrace(ctx context.Context, f Frame) context.Context {
	if f.Traceparent == "" {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, frameCarrier{&f})
}

// StartFrameSpan starts a consumer span for the handling of a frame, as a child of its trace. A frame without a trace, which is
// also one whose trace is not recorded, gets no span, so that heartbeats and bulk traffic do not make traces of their own. End
// the span in any case.
func StartFrameSpan(ctx context.Context, tracer trace.Tracer, name string, f Frame) (context.Context, trace.Span) {
	if f.Traceparent == "" {
		return ctx, noop.Span{}
	}
	return tracer.Start(ExtractTrace(ctx, f), name, trace.WithSpanKind(trace.SpanKindConsumer))
}
