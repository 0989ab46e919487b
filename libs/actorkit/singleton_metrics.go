package actorkit

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/parley-rt/parley/libs/persistence"
)

// singletonMetrics are a singleton's instruments. All have its name as an attribute.
type singletonMetrics struct {
	name  attribute.KeyValue
	terms metric.Int64Counter
	ends  metric.Int64Counter
	renew metric.Float64Histogram
	reg   metric.Registration
}

func newSingletonMetrics(s *Singleton) (*singletonMetrics, error) {
	meter := s.cfg.MeterProvider.Meter(scope)
	m := &singletonMetrics{name: attribute.String("singleton", s.cfg.Name)}
	var errs [4]error
	m.terms, errs[0] = meter.Int64Counter("parley.singleton.terms", metric.WithDescription("Terms that this node began: takeovers."))
	m.ends, errs[1] = meter.Int64Counter("parley.singleton.ends", metric.WithDescription("Terms of this node that are over, by reason."))
	m.renew, errs[2] = meter.Float64Histogram("parley.singleton.renew.duration", metric.WithUnit("s"), metric.WithDescription("Renewals of the lease, failed ones included."))
	held, err := meter.Int64ObservableGauge("parley.singleton.held", metric.WithDescription("1 while the singleton's actor runs here."))
	errs[3] = err
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	m.reg, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		value := int64(0)
		if _, _, here := s.Actor(); here {
			value = 1
		}
		o.ObserveInt64(held, value, metric.WithAttributes(m.name))
		return nil
	}, held)
	return m, err
}

func (m *singletonMetrics) unregister() { _ = m.reg.Unregister() } // it only fails for a registration of another provider

func (m *singletonMetrics) began(ctx context.Context) {
	m.terms.Add(ctx, 1, metric.WithAttributes(m.name))
}

func (m *singletonMetrics) renewed(ctx context.Context, took time.Duration, err error) {
	m.renew.Record(ctx, took.Seconds(), metric.WithAttributes(m.name, attribute.Bool("failed", err != nil)))
}

// ended counts a term by why it is over: lost (another node took the lease), late (not renewed in time), failed (the actor did not start or
// ended of itself) or stopped.
func (m *singletonMetrics) ended(ctx context.Context, err error) {
	reason := "stopped"
	switch {
	case errors.Is(err, persistence.ErrLeaseLost):
		reason = "lost"
	case errors.Is(err, errActorEnded), errors.Is(err, errNotStarted):
		reason = "failed"
	case errors.Is(err, ErrTermOver):
		reason = "late"
	}
	m.ends.Add(ctx, 1, metric.WithAttributes(m.name, attribute.String("reason", reason)))
}
