package book

import (
	"context"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Metrics are the book's instruments. Ids of schedules and rooms are never attributes.
type Metrics struct {
	lateness metric.Float64Histogram
	firings  metric.Int64Counter
	attempts metric.Int64Counter
	missed   metric.Int64Counter

	done, failed metric.MeasurementOption
	// What a node without the book has none of.
	schedules, open, sending atomic.Int64
}

// NewMetrics makes them once per node.
func NewMetrics(provider metric.MeterProvider) (*Metrics, error) {
	meter := provider.Meter("github.com/parley-rt/parley/services/scheduler")
	m := &Metrics{
		done:   metric.WithAttributeSet(attribute.NewSet(attribute.String("outcome", "done"))),
		failed: metric.WithAttributeSet(attribute.NewSet(attribute.String("outcome", "failed"))),
	}
	var err error
	if m.lateness, err = meter.Float64Histogram("parley.scheduler.lateness", metric.WithUnit("s"),
		metric.WithDescription("From when a firing was due, before its jitter, to when its room had it.")); err != nil {
		return nil, err
	}
	if m.firings, err = meter.Int64Counter("parley.scheduler.firings", metric.WithUnit("{firing}"),
		metric.WithDescription("Firings that have ended, by outcome.")); err != nil {
		return nil, err
	}
	if m.attempts, err = meter.Int64Counter("parley.scheduler.attempts", metric.WithUnit("{attempt}"),
		metric.WithDescription("Firings sent to rooms, attempts after the first included.")); err != nil {
		return nil, err
	}
	if m.missed, err = meter.Int64Counter("parley.scheduler.missed", metric.WithUnit("{firing}"),
		metric.WithDescription("Firings left out because they could not be started in time.")); err != nil {
		return nil, err
	}
	for _, g := range []struct {
		name, unit, description string
		value                   *atomic.Int64
	}{
		{"parley.scheduler.schedules", "{schedule}", "Schedules in the book, on the node that has it.", &m.schedules},
		{"parley.scheduler.open", "{firing}", "Firings started and not ended, on the node that has the book.", &m.open},
		{"parley.scheduler.sending", "{firing}", "Firings that are being sent.", &m.sending},
	} {
		if _, err := meter.Int64ObservableGauge(g.name, metric.WithUnit(g.unit), metric.WithDescription(g.description),
			metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
				o.Observe(g.value.Load())
				return nil
			})); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Metrics) ended(failed bool, late time.Duration) {
	ctx := context.Background()
	if failed {
		m.firings.Add(ctx, 1, m.failed)
		return
	}
	m.firings.Add(ctx, 1, m.done)
	m.lateness.Record(ctx, max(late, 0).Seconds())
}
