// Package instruments holds the measurements that every backend with a group commit makes, so that one dashboard fits all.
package instruments

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/parley-rt/parley/libs/persistence"
)

// Seconds are the bounds of histograms of time.
func Seconds() metric.HistogramOption {
	return metric.WithExplicitBucketBoundaries(
		.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10)
}

// Journal measures appends and the transactions that they travel in. Safe for concurrent use.
type Journal struct {
	appendDuration metric.Float64Histogram
	batchSize      metric.Int64Histogram
	queueAge       metric.Float64Histogram
	fenced         metric.Int64Counter
	conflicts      metric.Int64Counter
}

// New makes the instruments.
func New(meter metric.Meter) (Journal, error) {
	var j Journal
	var errs [5]error
	j.appendDuration, errs[0] = meter.Float64Histogram("parley.journal.append.duration", metric.WithUnit("s"), Seconds(),
		metric.WithDescription("Time from an append's call to its answer."))
	j.batchSize, errs[1] = meter.Int64Histogram("parley.journal.batch.size", metric.WithUnit("{event}"),
		metric.WithDescription("Events or rows written by one transaction."),
		metric.WithExplicitBucketBoundaries(1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000))
	j.queueAge, errs[2] = meter.Float64Histogram("parley.journal.queue.age", metric.WithUnit("s"), Seconds(),
		metric.WithDescription("Time the oldest request of a transaction waited for it."))
	j.fenced, errs[3] = meter.Int64Counter("parley.journal.fenced", metric.WithUnit("{request}"),
		metric.WithDescription("Writes refused because another claim took the stream."))
	j.conflicts, errs[4] = meter.Int64Counter("parley.journal.conflicts", metric.WithUnit("{request}"),
		metric.WithDescription("Appends refused because the expected position was not the head."))
	if err := errors.Join(errs[:]...); err != nil {
		return Journal{}, fmt.Errorf("create instruments: %w", err)
	}
	return j, nil
}

// Taken records a batch that a writer took: how many events it has, and since when its oldest request waited.
func (j *Journal) Taken(events int, oldest time.Time) {
	ctx := context.Background()
	if events > 0 {
		j.batchSize.Record(ctx, int64(events))
	}
	if j.queueAge.Enabled(ctx) {
		j.queueAge.Record(ctx, time.Since(oldest).Seconds())
	}
}

// Appended records an append that was answered.
func (j *Journal) Appended(ctx context.Context, start time.Time, err error) {
	if j.appendDuration.Enabled(ctx) && !start.IsZero() {
		j.appendDuration.Record(ctx, time.Since(start).Seconds())
	}
	j.Refused(ctx, err)
}

// Refused counts err if it is a refusal.
func (j *Journal) Refused(ctx context.Context, err error) {
	switch {
	case err == nil:
	case errors.Is(err, persistence.ErrFenced):
		j.fenced.Add(ctx, 1)
	case errors.Is(err, persistence.ErrConflict):
		j.conflicts.Add(ctx, 1)
	}
}
