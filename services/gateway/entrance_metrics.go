package gateway

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// observeEntrance shows how newcomers are let in.
func observeEntrance(mp metric.MeterProvider, e *entrance) error {
	m := mp.Meter("github.com/parley-rt/parley/services/gateway")
	pace, err1 := m.Float64ObservableGauge("parley.gateway.accept.pace",
		metric.WithUnit("{connection}/s"), metric.WithDescription("Connections that are taken a second at most now."))
	waiting, err2 := m.Int64ObservableGauge("parley.gateway.accept.waiting",
		metric.WithUnit("{connection}"), metric.WithDescription("Connections that wait to be taken, or to be told when to come back, by what they wait for: turn or refusal."))
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("create instruments: %w", err)
	}
	turn, refusal := metric.WithAttributes(attribute.String("for", "turn")), metric.WithAttributes(attribute.String("for", "refusal"))
	_, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		perSecond, turns, refusals := e.state()
		o.ObserveFloat64(pace, perSecond)
		o.ObserveInt64(waiting, int64(turns), turn)
		o.ObserveInt64(waiting, int64(refusals), refusal)
		return nil
	}, pace, waiting)
	if err != nil {
		return fmt.Errorf("observe the entrance: %w", err)
	}
	return nil
}
