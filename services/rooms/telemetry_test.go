package rooms

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/dcplane/memory"
	journalmemory "github.com/parley-rt/parley/libs/persistence/memory"
	"github.com/parley-rt/parley/libs/persistence/persistencetest"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

const (
	frameTrace   = "00-11111111111111111111111111111111-2222222222222222-01"
	messageTrace = "00-33333333333333333333333333333333-4444444444444444-01"
)

// A publish batch is one span: child of the frame's trace, linked to each message's own, which is stored and delivered
// with the message.
func TestTracesAndMetrics(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewInMemoryExporter()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	reader := sdkmetric.NewManualReader()
	meter := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))

	plane := memory.NewPlane()
	gw := startGateway(t, plane, "gw-1")
	dir, err := plane.Open(t.Context(), memory.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dir.Close(context.Background())) })
	s, err := New(Config{DC: "dc-a", Node: "rooms-1", DataDir: t.TempDir()}, Deps{
		Backend: journalmemory.New(journalmemory.Options{}), Directory: dir, Logger: testLogger(t), MeterProvider: meter, TracerProvider: tracer,
	})
	require.NoError(t, err)
	require.NoError(t, s.Start(t.Context()))
	t.Cleanup(func() { stopRooms(t, s) })
	gw.connect(s)
	gw.join("rooms-1", "lobby", "ada")
	gw.subscribe("rooms-1", "lobby")

	frame := &roomv1.Frame{RoomId: "lobby", Connection: 1, Kind: &roomv1.Frame_Publish{Publish: &roomv1.Publish{MemberId: "ada", Drafts: []*roomv1.Draft{
		{MessageId: "m1", Content: "x", Traceparent: messageTrace, Tracestate: "vendor=1"},
		{MessageId: "m2", Content: "x", Traceparent: "not a trace"},
		{MessageId: "m1", Content: "x"},
	}}}}
	body, err := proto.Marshal(frame)
	require.NoError(t, err)
	require.NoError(t, gw.node.Send("rooms-1", actorkit.Frame{Body: body, Traceparent: frameTrace}))

	messages := gw.delivered("lobby", 2)
	require.Equal(t, messageTrace, messages[0].Traceparent)
	require.Equal(t, "vendor=1", messages[0].Tracestate)
	page := gw.ask("rooms-1", "lobby", readFrame(&roomv1.Read{})).GetPage()
	require.Equal(t, messageTrace, page.Messages[0].Traceparent)

	var span tracetest.SpanStub
	for _, s := range spans.GetSpans() {
		if s.Name == "room publish" {
			span = s
		}
	}
	require.Equal(t, "11111111111111111111111111111111", span.SpanContext.TraceID().String())
	require.Equal(t, "2222222222222222", span.Parent.SpanID().String())
	require.Len(t, span.Links, 1)
	require.Equal(t, linked(messageTrace), span.Links[0].SpanContext.TraceID())

	refused := gw.publish("rooms-1", "lobby", "stranger", "m3")
	require.NotNil(t, refused[0].Refused)
	got := collect(t, reader)
	require.Equal(t, int64(1), got["parley.room.active"])
	require.Equal(t, int64(2), got["parley.room.messages"])
	require.Equal(t, int64(1), got["parley.room.duplicates"])
	require.Equal(t, int64(1), got["parley.room.refused"])
	require.Equal(t, int64(1), got["parley.room.subscriptions"])
	require.Equal(t, int64(1), got["parley.room.publish.batch"])
	require.Equal(t, int64(1), got["parley.room.recover.duration"])
	require.Contains(t, got, "parley.room.queue.bytes")
}

// What two connections publish becomes durable in one commit and travels on together: each of them finds the append and
// the delivery from its own trace.
func TestTraceOfACommitOfTwo(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewInMemoryExporter()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	plan := persistencetest.NewPlan()
	plane := memory.NewPlane()
	gw := startGateway(t, plane, "gw-1")
	dir, err := plane.Open(t.Context(), memory.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dir.Close(context.Background())) })
	s, err := New(Config{DC: "dc-a", Node: "rooms-1", DataDir: t.TempDir()}, Deps{
		Backend:   persistencetest.Faulty(journalmemory.New(journalmemory.Options{}), plan),
		Directory: dir, Logger: testLogger(t), TracerProvider: tracer,
	})
	require.NoError(t, err)
	require.NoError(t, s.Start(t.Context()))
	t.Cleanup(func() { stopRooms(t, s) })
	gw.connect(s)
	gw.join("rooms-1", "lobby", "ada")
	gw.join("rooms-1", "lobby", "bob")
	gw.subscribe("rooms-1", "lobby")

	block, reached := make(chan struct{}), make(chan struct{})
	plan.Add(persistencetest.Fault{Op: persistencetest.OpAppend, Key: lobbyStream, Block: block, Reached: func() { close(reached) }})
	untraced := gw.start("rooms-1", "lobby", publishFrame("ada", "m0"))
	<-reached
	for member, traceparent := range map[string]string{"ada": frameTrace, "bob": messageTrace} {
		frame := publishFrame(member, "m1")
		frame.RoomId, frame.Connection = "lobby", 1
		body, err := proto.Marshal(frame)
		require.NoError(t, err)
		require.NoError(t, gw.node.Send("rooms-1", actorkit.Frame{Body: body, Traceparent: traceparent}))
	}
	// A room handles frames in order: when it answers this one, what came before waits for the commit in flight.
	require.NotNil(t, gw.ask("rooms-1", "lobby", &roomv1.Frame{Kind: &roomv1.Frame_PresenceQuery{PresenceQuery: &roomv1.PresenceQuery{}}}).GetPresenceList())
	close(block)
	require.NotNil(t, gw.await(untraced).GetPublished())
	gw.delivered("lobby", 3)
	named := func(name string) (found tracetest.SpanStubs) {
		for _, s := range spans.GetSpans() {
			if s.Name == name {
				found = append(found, s)
			}
		}
		return found
	}
	require.Eventually(t, func() bool { return len(named("room deliver")) == 1 }, patience, time.Millisecond)

	published, appended, delivered := named("room publish"), named("journal append"), named("room deliver")
	require.Len(t, published, 2)
	require.Len(t, appended, 1, "one commit")
	first, second := published[0].SpanContext, published[1].SpanContext
	require.NotEqual(t, first.TraceID(), second.TraceID())
	require.Equal(t, first.SpanID(), appended[0].Parent.SpanID())
	require.Equal(t, appended[0].SpanContext.SpanID(), delivered[0].Parent.SpanID())
	for _, span := range []tracetest.SpanStub{appended[0], delivered[0]} {
		require.Equal(t, first.TraceID(), span.SpanContext.TraceID(), span.Name)
		require.Len(t, span.Links, 1, span.Name)
		require.Equal(t, second.SpanID(), span.Links[0].SpanContext.SpanID(), span.Name)
	}
	require.False(t, appended[0].StartTime.Before(published[1].StartTime))
	require.False(t, delivered[0].StartTime.Before(appended[0].EndTime))
}

func linked(traceparent string) trace.TraceID {
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": traceparent})
	return trace.SpanContextFromContext(ctx).TraceID()
}

// collect sums each instrument: values of counters and gauges, numbers of measurements of histograms.
func collect(t *testing.T, reader sdkmetric.Reader) map[string]int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &all))
	got := make(map[string]int64)
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					got[m.Name] += p.Value
				}
			case metricdata.Gauge[int64]:
				for _, p := range d.DataPoints {
					got[m.Name] += p.Value
				}
			case metricdata.Histogram[int64]:
				for _, p := range d.DataPoints {
					got[m.Name] += int64(p.Count)
				}
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					got[m.Name] += int64(p.Count)
				}
			}
		}
	}
	return got
}
