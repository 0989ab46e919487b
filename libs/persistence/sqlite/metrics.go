package sqlite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/parley-rt/parley/libs/persistence"
)

// meterName is the package's path, as names of meters are.
const meterName = "github.com/parley-rt/parley/libs/persistence/sqlite"

type metrics struct {
	appendDuration metric.Float64Histogram
	batchSize      metric.Int64Histogram
	queueAge       metric.Float64Histogram
	fenced         metric.Int64Counter
	conflicts      metric.Int64Counter
}

func newMetrics(provider metric.MeterProvider) (*metrics, error) {
	meter := provider.Meter(meterName)
	seconds := metric.WithExplicitBucketBoundaries(
		.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10)
	var m metrics
	var errs [5]error
	m.appendDuration, errs[0] = meter.Float64Histogram("parley.journal.append.duration", metric.WithUnit("s"), seconds,
		metric.WithDescription("Time from an append's call to its answer."))
	m.batchSize, errs[1] = meter.Int64Histogram("parley.journal.batch.size", metric.WithUnit("{event}"),
		metric.WithDescription("Rows written by one transaction."),
		metric.WithExplicitBucketBoundaries(1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000))
	m.queueAge, errs[2] = meter.Float64Histogram("parley.journal.queue.age", metric.WithUnit("s"), seconds,
		metric.WithDescription("Time the oldest request of a transaction waited for it."))
	m.fenced, errs[3] = meter.Int64Counter("parley.journal.fenced", metric.WithUnit("{request}"),
		metric.WithDescription("Writes refused because another claim took the stream."))
	m.conflicts, errs[4] = meter.Int64Counter("parley.journal.conflicts", metric.WithUnit("{request}"),
		metric.WithDescription("Appends refused because the expected position was not the head."))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("create instruments: %w", err)
	}
	return &m, nil
}

// taken records a batch that the writer took.
func (m *metrics) taken(b *batch) {
	ctx := context.Background()
	m.batchSize.Record(ctx, int64(b.events))
	if m.queueAge.Enabled(ctx) {
		m.queueAge.Record(ctx, time.Since(b.requests[0].since).Seconds())
	}
}

// appended records an append that was answered.
func (m *metrics) appended(ctx context.Context, start time.Time, err error) {
	if m.appendDuration.Enabled(ctx) {
		m.appendDuration.Record(ctx, time.Since(start).Seconds())
	}
	m.refused(ctx, err)
}

// refused counts err if it is a refusal.
func (m *metrics) refused(ctx context.Context, err error) {
	switch {
	case err == nil:
	case errors.Is(err, persistence.ErrFenced):
		m.fenced.Add(ctx, 1)
	case errors.Is(err, persistence.ErrConflict):
		m.conflicts.Add(ctx, 1)
	}
}
