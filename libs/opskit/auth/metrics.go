package auth

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

type metrics struct{ fetches metric.Int64Counter }

func newMetrics(mp metric.MeterProvider, i *issuer) (*metrics, error) {
	m := mp.Meter("github.com/parley-rt/parley/libs/opskit/auth")
	fetches, err1 := m.Int64Counter("parley.auth.keys.fetched",
		metric.WithUnit("{request}"), metric.WithDescription("Requests for the keys of the issuer of tokens by outcome."))
	keys, err2 := m.Int64ObservableGauge("parley.auth.keys",
		metric.WithUnit("{key}"), metric.WithDescription("Keys of the issuer of tokens that are in use."))
	age, err3 := m.Float64ObservableGauge("parley.auth.keys.age",
		metric.WithUnit("s"), metric.WithDescription("Since the keys of the issuer of tokens were last fetched; it grows while the issuer is away."))
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, fmt.Errorf("create instruments: %w", err)
	}
	_, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		count, old, ever := i.state()
		o.ObserveInt64(keys, int64(count))
		if ever {
			o.ObserveFloat64(age, old.Seconds())
		}
		return nil
	}, keys, age)
	if err != nil {
		return nil, fmt.Errorf("observe keys: %w", err)
	}
	return &metrics{fetches}, nil
}

func (m *metrics) fetch(ctx context.Context, err error) {
	outcome := "ok"
	if err != nil {
		outcome = "failed"
	}
	m.fetches.Add(ctx, 1, metric.WithAttributes(attribute.String("outcome", outcome)))
}
