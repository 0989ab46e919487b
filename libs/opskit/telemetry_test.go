package opskit

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

func setupTelemetry(t *testing.T) *Telemetry {
	t.Helper()
	tel, err := SetupTelemetry(t.Context(), TelemetryConfig{Service: "rooms", Version: "v1.2.3", Node: "rooms-1", DC: "eu-1"})
	require.NoError(t, err)
	return tel
}

func scrape(t *testing.T, tel *Telemetry) string {
	t.Helper()
	rec := httptest.NewRecorder()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
	tel.MetricsHandler().ServeHTTP(rec, req)
	require.Equal(t, http.StatusOK, rec.Code)
	return rec.Body.String()
}

func TestTelemetryServesMetricsWithIdentity(t *testing.T) {
	t.Parallel()
	tel := setupTelemetry(t)
	meter := tel.MeterProvider().Meter("test")
	duration, err := meter.Float64Histogram("parley.test.duration", metric.WithUnit("s"))
	require.NoError(t, err)
	size, err := meter.Int64Histogram("parley.test.size", metric.WithUnit("By"))
	require.NoError(t, err)
	own, err := meter.Int64Histogram("parley.test.batch", metric.WithUnit("{event}"), metric.WithExplicitBucketBoundaries(3, 33))
	require.NoError(t, err)
	count, err := meter.Int64Counter("parley.test.frames")
	require.NoError(t, err)
	duration.Record(t.Context(), 0.003)
	size.Record(t.Context(), 100)
	own.Record(t.Context(), 5)
	count.Add(t.Context(), 2)

	body := scrape(t, tel)
	require.Contains(t, body, `target_info{parley_dc="eu-1",service_instance_id="rooms-1",service_name="rooms",service_version="v1.2.3"`)
	require.Regexp(t, `parley_test_duration_seconds_bucket\{[^}]*le="0.0025"\} 0\n`, body)
	require.Regexp(t, `parley_test_duration_seconds_bucket\{[^}]*le="0.005"\} 1\n`, body)
	require.Regexp(t, `parley_test_duration_seconds_bucket\{[^}]*le="60"\} 1\n`, body)
	require.Regexp(t, `parley_test_size_bytes_bucket\{[^}]*le="64"\} 0\n`, body)
	require.Regexp(t, `parley_test_size_bytes_bucket\{[^}]*le="256"\} 1\n`, body)
	require.Regexp(t, `parley_test_size_bytes_bucket\{[^}]*le="1.6777216e\+07"\} 1\n`, body)
	require.Regexp(t, `parley_test_batch_bucket\{[^}]*le="3"\} 0\n`, body, "other units keep their own buckets")
	require.Regexp(t, `parley_test_batch_bucket\{[^}]*le="33"\} 1\n`, body)
	require.Regexp(t, `parley_test_frames_total\{[^}]*\} 2\n`, body)
	require.Contains(t, body, "go_memstats_heap_alloc_bytes ")
	require.Contains(t, body, "process_cpu_seconds_total ")
	require.NoError(t, tel.Shutdown(t.Context()))
}

func TestTwoTelemetriesDoNotShareARegistry(t *testing.T) {
	t.Parallel()
	a, b := setupTelemetry(t), setupTelemetry(t)
	count, err := a.MeterProvider().Meter("test").Int64Counter("parley.only_a")
	require.NoError(t, err)
	count.Add(t.Context(), 1)
	require.Contains(t, scrape(t, a), "parley_only_a_total")
	require.NotContains(t, scrape(t, b), "parley_only_a_total")
	require.NoError(t, a.Shutdown(t.Context()))
	require.NoError(t, b.Component().Stop(t.Context()))
}

func TestWithoutExporterSpansCarryIdsButAreNotRecorded(t *testing.T) {
	t.Parallel()
	tel := setupTelemetry(t)
	ctx, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "publish")
	defer span.End()
	require.True(t, span.SpanContext().IsValid())
	require.False(t, span.IsRecording())

	carrier := propagation.MapCarrier{}
	otel.GetTextMapPropagator().Inject(ctx, carrier)
	require.Regexp(t, `^00-[0-9a-f]{32}-[0-9a-f]{16}-00$`, carrier["traceparent"])

	remote := otel.GetTextMapPropagator().Extract(t.Context(), propagation.MapCarrier{
		"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	})
	_, child := tel.TracerProvider().Tracer("test").Start(remote, "deliver")
	defer child.End()
	require.Equal(t, "4bf92f3577b34da6a3ce929d0e0e4736", child.SpanContext().TraceID().String())
	require.True(t, child.SpanContext().IsSampled(), "the caller's decision is handed on")
	require.NoError(t, tel.Shutdown(t.Context()))
}

// collector counts what an OTLP/HTTP exporter sends.
func collector(t *testing.T) (url string, traces, metrics *atomic.Int32) {
	t.Helper()
	traces, metrics = new(atomic.Int32), new(atomic.Int32)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", func(http.ResponseWriter, *http.Request) { traces.Add(1) })
	mux.HandleFunc("POST /v1/metrics", func(http.ResponseWriter, *http.Request) { metrics.Add(1) })
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv.URL, traces, metrics
}

func TestShutdownFlushesToTheConfiguredCollector(t *testing.T) {
	url, traces, metrics := collector(t)
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	t.Setenv("OTEL_METRICS_EXPORTER", "otlp")
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
	t.Setenv("OTEL_SERVICE_NAME", "renamed")
	tel := setupTelemetry(t)
	_, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "publish")
	require.True(t, span.IsRecording())
	span.End()
	count, err := tel.MeterProvider().Meter("test").Int64Counter("parley.test.frames")
	require.NoError(t, err)
	count.Add(t.Context(), 1)
	require.Contains(t, scrape(t, tel), `service_name="renamed"`)

	require.NoError(t, tel.Shutdown(t.Context()))
	require.EqualValues(t, 1, traces.Load())
	require.EqualValues(t, 1, metrics.Load())
}

func TestShutdownIsBoundedWhenTheCollectorIsAway(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // accepts, never answers
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, listener.Close()) })
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+listener.Addr().String())
	tel := setupTelemetry(t)
	_, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "publish")
	span.End()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()

	begin := time.Now()
	require.Error(t, tel.Shutdown(ctx))
	require.Less(t, time.Since(begin), telemetryShutdownTimeout)
}

func TestUnknownExporterIsAnError(t *testing.T) {
	t.Run("traces", func(t *testing.T) {
		t.Setenv("OTEL_TRACES_EXPORTER", "zipkinn")
		_, err := SetupTelemetry(t.Context(), TelemetryConfig{Service: "rooms"})
		require.ErrorContains(t, err, "set up traces: OTEL_TRACES_EXPORTER")
	})
	t.Run("metrics", func(t *testing.T) {
		t.Setenv("OTEL_METRICS_EXPORTER", "statsd")
		_, err := SetupTelemetry(t.Context(), TelemetryConfig{Service: "rooms"})
		require.ErrorContains(t, err, "set up metrics: OTEL_METRICS_EXPORTER")
	})
	t.Run("none", func(t *testing.T) {
		t.Setenv("OTEL_TRACES_EXPORTER", "none")
		t.Setenv("OTEL_METRICS_EXPORTER", "none")
		tel := setupTelemetry(t)
		_, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "x")
		require.False(t, span.IsRecording())
		span.End()
		require.NoError(t, tel.Shutdown(t.Context()))
	})
}

func TestExportErrorsAreLoggedOnceASecond(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	handle := exportErrors(NewLogger(LogConfig{Format: LogJSON, Writer: &buf}))
	handle(errors.New("collector away"))
	handle(errors.New("collector away"))
	require.Equal(t, 1, bytes.Count(buf.Bytes(), []byte("telemetry export failed")))
	exportErrors(nil)(errors.New("dropped"))
}

func spanContext(t *testing.T) context.Context {
	t.Helper()
	return trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2},
	}))
}
