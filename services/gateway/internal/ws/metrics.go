package ws

import (
	"context"
	"errors"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Why frames were dropped.
const (
	dropOverflow = "overflow"
	dropDeadline = "deadline"
	dropBacklog  = "backlog"
)

type metrics struct {
	active   metric.Int64UpDownCounter
	duration metric.Float64Histogram
	drops    metric.Int64Counter
	refused  metric.Int64Counter
	faults   metric.Int64Counter
}

func newMetrics(mp metric.MeterProvider) (*metrics, error) {
	m := mp.Meter("github.com/parley-rt/parley/services/gateway/internal/ws")
	active, err1 := m.Int64UpDownCounter("parley.gateway.active_connections",
		metric.WithUnit("{connection}"), metric.WithDescription("Open WebSocket connections."))
	duration, err2 := m.Float64Histogram("parley.gateway.connection.duration",
		metric.WithUnit("s"), metric.WithDescription("Life of a connection by the code that closed it; 0: cut without a close frame."),
		metric.WithExplicitBucketBoundaries(0.1, 1, 5, 15, 60, 300, 900, 3600, 4*3600, 24*3600))
	drops, err3 := m.Int64Counter("parley.gateway.outbox.drops",
		metric.WithUnit("{connection}"), metric.WithDescription("Connections closed because they read too slowly."))
	refused, err4 := m.Int64Counter("parley.gateway.upgrades.refused",
		metric.WithUnit("{request}"), metric.WithDescription("Upgrade requests refused by HTTP status."))
	faults, err5 := m.Int64Counter("parley.gateway.connections.failed",
		metric.WithUnit("{connection}"), metric.WithDescription("Connections closed because of a fault in their handler."))
	return &metrics{active, duration, drops, refused, faults}, errors.Join(err1, err2, err3, err4, err5)
}

func (m *metrics) opened() { m.active.Add(context.Background(), 1) }

func (m *metrics) closed(code int, lived time.Duration) {
	m.active.Add(context.Background(), -1)
	m.duration.Record(context.Background(), lived.Seconds(), metric.WithAttributes(attribute.String("close_code", strconv.Itoa(codeLabel(code)))))
}

func (m *metrics) dropped(reason string) {
	m.drops.Add(context.Background(), 1, metric.WithAttributes(attribute.String("reason", reason)))
}

func (m *metrics) refusedWith(status int) {
	m.refused.Add(context.Background(), 1, metric.WithAttributes(attribute.Int("status", status)))
}

// codeLabel keeps a peer from minting label values: it may send any code from 3000 on.
func codeLabel(code int) int {
	if code == 0 || (code >= 1000 && code <= 1015) || (code >= 4000 && code <= 4010) || (code >= 4500 && code <= 4510) {
		return code
	}
	return 3000
}
