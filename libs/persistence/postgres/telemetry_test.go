package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/postgres"
)

// TestTelemetry: the instruments count what happened, and a traced append is found from the commit that stored it.
func TestTelemetry(t *testing.T) {
	t.Parallel()
	reader := metric.NewManualReader()
	spans := tracetest.NewSpanRecorder()
	tracer := trace.NewTracerProvider(trace.WithSpanProcessor(spans))
	proxy, url := proxied(t, shared)
	b := opened(t, url, postgres.Options{MeterProvider: metric.NewMeterProvider(metric.WithReader(reader)), TracerProvider: tracer})
	old := claim(t, b, "room/1")
	c := claim(t, b, "room/1")
	ctx, span := tracer.Tracer("test").Start(t.Context(), "publish")
	proxy.LoseAnswers(1, "INSERT", "SELECT")
	_, err := b.Append(ctx, c, 0, event("secret content"))
	span.End()
	require.NoError(t, err)
	_, err = b.Append(t.Context(), old, 1, event("y"))
	require.ErrorIs(t, err, persistence.ErrFenced)
	_, err = b.Append(t.Context(), c, 7, event("y"))
	require.ErrorIs(t, err, persistence.ErrConflict)

	_, err = b.ClaimCheckpoint(t.Context(), "mail", c.Lane, "node-a")
	require.NoError(t, err)
	heads, err := b.Lanes(t.Context())
	require.NoError(t, err)

	got := collect(t, reader)
	require.EqualValues(t, heads[c.Lane].Pos, got["parley.journal.feed.lag"])
	require.EqualValues(t, 1, got["parley.journal.resubmitted"])
	require.EqualValues(t, 1, got["parley.journal.settled"])
	require.EqualValues(t, 1, got["parley.journal.fenced"])
	require.EqualValues(t, 1, got["parley.journal.conflicts"])
	require.EqualValues(t, 3, got["parley.journal.append.duration"])
	require.EqualValues(t, 3, got["parley.journal.batch.size"])
	require.EqualValues(t, 1, got["parley.journal.writers"])
	require.Positive(t, got["parley.journal.commit.duration"])
	require.Positive(t, got["parley.journal.queue.age"])

	var commits int
	for _, s := range spans.Ended() {
		if s.Name() != "journal commit" {
			continue
		}
		commits++
		require.Len(t, s.Links(), 1)
		require.Equal(t, span.SpanContext().SpanID(), s.Links()[0].SpanContext.SpanID())
	}
	require.Equal(t, 1, commits)
}

// collect returns the sum of each counter and gauge, and the count of each histogram.
func collect(t *testing.T, reader *metric.ManualReader) map[string]int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	require.NoError(t, reader.Collect(ctx, &all))
	out := map[string]int64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					out[m.Name] += p.Value
				}
			case metricdata.Gauge[int64]:
				for _, p := range d.DataPoints {
					out[m.Name] += p.Value
				}
			case metricdata.Histogram[int64]:
				for _, p := range d.DataPoints {
					out[m.Name] += int64(p.Count)
				}
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					out[m.Name] += int64(p.Count)
				}
			}
		}
	}
	return out
}
