package gateway

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
)

// faultyTracers panic when a signal arrives: that is on its connection's own goroutine.
type faultyTracers struct{ noop.TracerProvider }

func (faultyTracers) Tracer(string, ...trace.TracerOption) trace.Tracer { return faultyTracer{} }

type faultyTracer struct{ noop.Tracer }

func (f faultyTracer) Start(ctx context.Context, name string, o ...trace.SpanStartOption) (context.Context, trace.Span) {
	if name == "client signal" {
		panic("as if")
	}
	return f.Tracer.Start(ctx, name, o...)
}

// S9: a fault while a frame is read closes its connection to resume, and nobody else's.
func TestFaultWhileReadingAFrame(t *testing.T) {
	t.Parallel()
	g := setup(t, 0)
	s, err := New(Config{
		DC: "local", Node: "gateway-2", DataDir: t.TempDir(), Listen: "127.0.0.1:0", Auth: noAuth, DrainTimeout: time.Second,
	}, Deps{Backend: g.backend, Directory: g.dir, TracerProvider: faultyTracers{}})
	require.NoError(t, err)
	require.NoError(t, s.Start(context.Background()))
	t.Cleanup(func() { g.stop(s) })
	g2 := &bundle{t: t, service: s, backend: g.backend, dir: g.dir, http: g.http}
	hit, other := g2.connect(""), g2.connect("")
	hit.send(`{"signal":{"target":"r"}}`)
	hit.expectClose(clientv1.CloseCode_CLOSE_CODE_INTERNAL)
	other.send(`{"id":1,"ping":{}}`)
	other.expect("pong")
}
