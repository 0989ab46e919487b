package certs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

type metrics struct{ reloads metric.Int64Counter }

func newMetrics(mp metric.MeterProvider, p *Pair) (*metrics, error) {
	m := mp.Meter("github.com/parley-rt/parley/libs/opskit/certs")
	reloads, err1 := m.Int64Counter("parley.tls.reloads",
		metric.WithUnit("{certificate}"), metric.WithDescription("Certificates that replaced the one in use, by outcome; failed: it stays in use."))
	left, err2 := m.Float64ObservableGauge("parley.tls.certificate.left",
		metric.WithUnit("s"), metric.WithDescription("How long the certificate in use is valid still; negative: clients refuse it."))
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("create instruments: %w", err)
	}
	_, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveFloat64(left, time.Until(p.Leaf().NotAfter).Seconds())
		return nil
	}, left)
	if err != nil {
		return nil, fmt.Errorf("observe certificate: %w", err)
	}
	return &metrics{reloads}, nil
}

func (m *metrics) reloaded(ctx context.Context, err error) {
	outcome := "ok"
	if err != nil {
		outcome = "failed"
	}
	m.reloads.Add(ctx, 1, metric.WithAttributes(attribute.String("outcome", outcome)))
}
