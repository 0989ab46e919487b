package actorkit_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/parley-rt/parley/libs/actorkit"
)

func TestTraceTravelsInFrames(t *testing.T) {
	t.Parallel()
	state, err := trace.ParseTraceState("vendor=1")
	require.NoError(t, err)
	sc := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1, 2, 3}, SpanID: trace.SpanID{4, 5}, TraceFlags: trace.FlagsSampled, TraceState: state,
	})
	var f actorkit.Frame
	actorkit.InjectTrace(trace.ContextWithSpanContext(context.Background(), sc), &f)
	require.Equal(t, "00-01020300000000000000000000000000-0405000000000000-01", f.Traceparent)
	require.Equal(t, "vendor=1", f.Tracestate)
	got := trace.SpanContextFromContext(actorkit.ExtractTrace(context.Background(), f))
	require.True(t, got.Equal(sc.WithRemote(true)))
}

func TestFramesWithoutTrace(t *testing.T) {
	t.Parallel()
	type key struct{}
	var f actorkit.Frame
	actorkit.InjectTrace(context.Background(), &f)
	require.Zero(t, f)
	ctx := context.WithValue(context.Background(), key{}, 1)
	require.Equal(t, ctx, actorkit.ExtractTrace(ctx, f))
	require.False(t, trace.SpanContextFromContext(actorkit.ExtractTrace(ctx, actorkit.Frame{Traceparent: "nonsense"})).IsValid())
}

func TestFrameSpans(t *testing.T) {
	t.Parallel()
	tracer := &spy{}
	ctx, span := actorkit.StartFrameSpan(context.Background(), tracer, "handle", actorkit.Frame{})
	span.End()
	require.Equal(t, context.Background(), ctx)
	require.Empty(t, tracer.names)
	_, span = actorkit.StartFrameSpan(context.Background(), tracer, "handle", actorkit.Frame{
		Traceparent: "00-01020300000000000000000000000000-0405000000000000-01",
	})
	span.End()
	require.Equal(t, []string{"handle"}, tracer.names)
	require.Equal(t, trace.SpanID{4, 5}, tracer.parent.SpanID())
	require.Equal(t, trace.SpanKindConsumer, tracer.kind)
}

// spy notes the spans it is asked for.
type spy struct {
	tracenoop.Tracer
	names  []string
	parent trace.SpanContext
	kind   trace.SpanKind
}

func (s *spy) Start(ctx context.Context, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	s.names, s.parent = append(s.names, name), trace.SpanContextFromContext(ctx)
	cfg := trace.NewSpanStartConfig(opts...)
	s.kind = cfg.SpanKind()
	return s.Tracer.Start(ctx, name, opts...)
}
