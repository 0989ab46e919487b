package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/parley-rt/parley/libs/persistence/internal/instruments"
)

// meterName is the package's path, as names of meters and tracers are.
const meterName = "github.com/parley-rt/parley/libs/persistence/postgres"

type metrics struct {
	instruments.Journal

	commitDuration metric.Float64Histogram
	resubmitted    metric.Int64Counter
	settled        metric.Int64Counter
	breakerOpen    metric.Int64UpDownCounter
	registration   metric.Registration
	// writers are the attributes of commits, made once.
	writers []metric.MeasurementOption
}

func newMetrics(provider metric.MeterProvider, b *Backend) (*metrics, error) {
	meter := provider.Meter(meterName)
	journal, err := instruments.New(meter)
	if err != nil {
		return nil, err
	}
	m := &metrics{Journal: journal}
	for i := range b.lanes.all {
		m.writers = append(m.writers, metric.WithAttributeSet(attribute.NewSet(attribute.String("writer", strconv.Itoa(i)))))
	}
	var errs [6]error
	m.commitDuration, errs[0] = meter.Float64Histogram("parley.journal.commit.duration", metric.WithUnit("s"), instruments.Seconds(),
		metric.WithDescription("Time of a transaction that was answered, by writer."))
	m.resubmitted, errs[1] = meter.Int64Counter("parley.journal.resubmitted", metric.WithUnit("{batch}"),
		metric.WithDescription("Batches sent again because their answer was lost."))
	m.settled, errs[2] = meter.Int64Counter("parley.journal.settled", metric.WithUnit("{request}"),
		metric.WithDescription("Appends found stored by an attempt whose answer was lost."))
	m.breakerOpen, errs[3] = meter.Int64UpDownCounter("parley.journal.breaker.open", metric.WithUnit("{breaker}"),
		metric.WithDescription("1 while writes are refused because the server does not take them."))
	writers, err := meter.Int64ObservableGauge("parley.journal.writers", metric.WithUnit("{writer}"),
		metric.WithDescription("Writers that the lanes are spread over at the moment."))
	errs[4] = err
	lag, err := meter.Int64ObservableGauge("parley.journal.feed.lag", metric.WithUnit("{position}"),
		metric.WithDescription("Positions between a consumer's checkpoint and the end of its lane."))
	errs[5] = err
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

func (m *metrics) committed(writer int, d time.Duration) {
	m.commitDuration.Record(context.Background(), d.Seconds(), m.writers[writer])
}

func (m *metrics) breaker(change int64) { m.breakerOpen.Add(context.Background(), change) }
