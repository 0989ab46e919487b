package gateway

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// observeEntrance shows how newcomers are let in.
func observeEntrance(mp metric.MeterProvider, e *entrance, h *handshakes) error {
	m := mp.Meter("github.com/parley-rt/parley/services/gateway")
	pace, err1 := m.Float64ObservableGauge("parley.gateway.accept.pace",
		metric.WithUnit("{connection}/s"), metric.WithDescription("Connections that are taken a second at most now."))
	waiting, err2 := m.Int64ObservableGauge("parley.gateway.accept.waiting",
		metric.WithUnit("{connection}"), metric.WithDescription("Sockets that are no connections yet, by what they wait for: turn, to be taken; refusal, to be told when to come back; request, whose request is to come or is answered."))
	cut, err3 := m.Int64ObservableCounter("parley.gateway.accept.cut",
		metric.WithUnit("{connection}"), metric.WithDescription("Sockets that were cut because they sent no request while more came than may wait with one."))
	if err := errors.Join(err1, err2, err3); err != nil {
		return fmt.Errorf("create instruments: %w", err)
	}
	waits := func(what string) metric.ObserveOption { return metric.WithAttributes(attribute.String("for", what)) }
	turn, refusal, request := waits("turn"), waits("refusal"), waits("request")
	_, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		perSecond, turns, refusals := e.state()
		o.ObserveFloat64(pace, perSecond)
		o.ObserveInt64(waiting, int64(turns), turn)
		o.ObserveInt64(waiting, int64(refusals), refusal)
		open, sofar := h.state()
		o.ObserveInt64(waiting, int64(open), request)
		o.ObserveInt64(cut, sofar)
		return nil
	}, pace, waiting, cut)
	if err != nil {
		return fmt.Errorf("observe the entrance: %w", err)
	}
	return nil
}
