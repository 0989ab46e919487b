package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"go.opentelemetry.io/otel/metric"

	"github.com/parley-rt/parley/services/gateway/internal/ws"
)

// admissionMetrics show how near the node is to its memory limit, and what it does about that.
type admissionMetrics struct {
	level atomic.Int64
	shed  metric.Int64Counter
}

func newAdmissionMetrics(mp metric.MeterProvider, memory Memory, backlog *ws.Backlog) (*admissionMetrics, error) {
	m := mp.Meter("github.com/parley-rt/parley/services/gateway")
	am := &admissionMetrics{}
	var err1 error
	am.shed, err1 = m.Int64Counter("parley.gateway.connections.shed",
		metric.WithUnit("{connection}"), metric.WithDescription("Connections closed to come back because memory ran out."))
	level, err2 := m.Int64ObservableGauge("parley.gateway.memory.level",
		metric.WithUnit("1"), metric.WithDescription("What is done about memory: 0 nothing, 1 newcomers are refused, 2 connections are closed."))
	used, err3 := m.Int64ObservableGauge("parley.gateway.memory.used",
		metric.WithUnit("By"), metric.WithDescription("Memory that counts towards the nearest limit."))
	limit, err4 := m.Int64ObservableGauge("parley.gateway.memory.limit",
		metric.WithUnit("By"), metric.WithDescription("That limit."))
	waits, err5 := m.Int64ObservableGauge("parley.gateway.backlog.bytes",
		metric.WithUnit("By"), metric.WithDescription("Bytes that wait for slow connections and for rooms, and of unfinished messages."))
	most, err6 := m.Int64ObservableGauge("parley.gateway.backlog.limit",
		metric.WithUnit("By"), metric.WithDescription("How many of them may."))
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
		return nil, fmt.Errorf("create instruments: %w", err)
	}
	_, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(level, am.level.Load())
		o.ObserveInt64(waits, backlog.Bytes())
		o.ObserveInt64(most, backlog.Limit())
		if memory == nil {
			return nil
		}
		n, of, err := memory.Used()
		if err != nil {
			return err
		}
		o.ObserveInt64(used, n)
		o.ObserveInt64(limit, of)
		return nil
	}, level, used, limit, waits, most)
	if err != nil {
		return nil, fmt.Errorf("observe memory: %w", err)
	}
	return am, nil
}
