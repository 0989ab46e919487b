package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/parley-rt/parley/libs/persistence"
)

// meterName is the package's path, as names of meters and tracers are.
const meterName = "github.com/parley-rt/parley/libs/persistence/postgres"

type metrics struct {
	b *Backend

	appendDuration metric.Float64Histogram
	batchSize      metric.Int64Histogram
	queueAge       metric.Float64Histogram
	commitDuration metric.Float64Histogram
	fenced         metric.Int64Counter
	conflicts      metric.Int64Counter
	resubmitted    metric.Int64Counter
	settled        metric.Int64Counter
	breakerOpen    metric.Int64UpDownCounter
	registration   metric.Registration
	// writers are the attributes of commits, made once.
	writers []metric.MeasurementOption
}

func newMetrics(provider metric.MeterProvider, b *Backend) (*metrics, error) {
	meter := provider.Meter(meterName)
	seconds := metric.WithExplicitBucketBoundaries(
		.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10)
	m := &metrics{b: b}
	for i := range b.lanes.all {
		m.writers = append(m.writers, metric.WithAttributeSet(attribute.NewSet(attribute.String("writer", strconv.Itoa(i)))))
	}
	var errs [11]error
	m.appendDuration, errs[0] = meter.Float64Histogram("parley.journal.append.duration", metric.WithUnit("s"), seconds,
		metric.WithDescription("Time from an append's call to its answer."))
	m.batchSize, errs[1] = meter.Int64Histogram("parley.journal.batch.size", metric.WithUnit("{event}"),
		metric.WithDescription("Events appended by one transaction."),
		metric.WithExplicitBucketBoundaries(1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000))
	m.queueAge, errs[2] = meter.Float64Histogram("parley.journal.queue.age", metric.WithUnit("s"), seconds,
		metric.WithDescription("Time the oldest request of a transaction waited for it."))
	m.commitDuration, errs[3] = meter.Float64Histogram("parley.journal.commit.duration", metric.WithUnit("s"), seconds,
		metric.WithDescription("Time of a transaction that was answered, by writer."))
	m.fenced, errs[4] = meter.Int64Counter("parley.journal.fenced", metric.WithUnit("{request}"),
		metric.WithDescription("Writes refused because another claim took the stream."))
	m.conflicts, errs[5] = meter.Int64Counter("parley.journal.conflicts", metric.WithUnit("{request}"),
		metric.WithDescription("Appends refused because the expected position was not the head."))
	m.resubmitted, errs[6] = meter.Int64Counter("parley.journal.resubmitted", metric.WithUnit("{batch}"),
		metric.WithDescription("Batches sent again because their answer was lost."))
	m.settled, errs[7] = meter.Int64Counter("parley.journal.settled", metric.WithUnit("{request}"),
		metric.WithDescription("Appends found stored by an attempt whose answer was lost."))
	m.breakerOpen, errs[8] = meter.Int64UpDownCounter("parley.journal.breaker.open", metric.WithUnit("{breaker}"),
		metric.WithDescription("1 while writes are refused because the server does not take them."))
	writers, err := meter.Int64ObservableGauge("parley.journal.writers", metric.WithUnit("{writer}"),
		metric.WithDescription("Writers that the lanes are spread over at the moment."))
	errs[9] = err
	lag, err := meter.Int64ObservableGauge("parley.journal.feed.lag", metric.WithUnit("{position}"),
		metric.WithDescription("Positions between a consumer's checkpoint and the end of its lane."))
	errs[10] = err
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("create instruments: %w", err)
	}
	m.registration, err = meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		o.ObserveInt64(writers, int64(b.lanes.writers()))
		return b.observeLag(ctx, o, lag)
	}, writers, lag)
	if err != nil {
		return nil, fmt.Errorf("create instruments: %w", err)
	}
	return m, nil
}

// lagTimeout bounds what a scrape waits for the server.
const lagTimeout = time.Second

// observeLag reads the checkpoints; without any it reports nothing. Every process that has the journal open reports all.
func (b *Backend) observeLag(ctx context.Context, o metric.Observer, lag metric.Int64Observable) error {
	ctx, cancel := context.WithTimeout(ctx, lagTimeout)
	defer cancel()
	rows, err := b.pool.Query(ctx, `SELECT c.name, c.lane, l.pos - c.pos FROM journal_checkpoint c JOIN journal_lane l USING (lane) WHERE NOT c.deleted`)
	if err != nil {
		return fmt.Errorf("read checkpoints: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var lane, behind int64
		if err := rows.Scan(&name, &lane, &behind); err != nil {
			return fmt.Errorf("read checkpoints: %w", err)
		}
		o.ObserveInt64(lag, behind, metric.WithAttributes(attribute.String("consumer", name), attribute.Int64("lane", lane)))
	}
	return rows.Err()
}

func (m *metrics) close() error {
	if err := m.registration.Unregister(); err != nil {
		return fmt.Errorf("remove instruments: %w", err)
	}
	return nil
}

// taken records a batch that a writer took.
func (m *metrics) taken(b *batch) {
	ctx := context.Background()
	if b.events > 0 {
		m.batchSize.Record(ctx, int64(b.events))
	}
	if m.queueAge.Enabled(ctx) {
		m.queueAge.Record(ctx, time.Since(b.oldest).Seconds())
	}
}

func (m *metrics) committed(writer int, d time.Duration) {
	m.commitDuration.Record(context.Background(), d.Seconds(), m.writers[writer])
}

func (m *metrics) breaker(change int64) { m.breakerOpen.Add(context.Background(), change) }

// appended records an append that was answered.
func (m *metrics) appended(ctx context.Context, start time.Time, err error) {
	if m.appendDuration.Enabled(ctx) && !start.IsZero() {
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
