package adminapi

import (
	"context"
	"strings"
	"time"

	"connectrpc.com/connect"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/parley-rt/parley/libs/opskit/auth"
)

// metrics are the API's instruments. Ids of rooms and members are never attributes.
type metrics struct {
	duration metric.Float64Histogram
	refused  metric.Int64Counter
}

func newMetrics(meter metric.Meter) (*metrics, error) {
	duration, err := meter.Float64Histogram("parley.api.request.duration", metric.WithUnit("s"),
		metric.WithDescription("Requests of the admin API, by method and code, from decoded to answered."))
	if err != nil {
		return nil, err
	}
	refused, err := meter.Int64Counter("parley.api.refused", metric.WithUnit("{request}"),
		metric.WithDescription("Requests of the admin API that were refused before they were read, by reason."))
	if err != nil {
		return nil, err
	}
	return &metrics{duration: duration, refused: refused}, nil
}

func (m *metrics) answered(ctx context.Context, procedure string, err error, took time.Duration) {
	code := "ok"
	if err != nil {
		code = connect.CodeOf(err).String()
	}
	m.duration.Record(ctx, took.Seconds(), metric.WithAttributes(
		attribute.String("method", procedure[strings.LastIndexByte(procedure, '/')+1:]), attribute.String("code", code)))
}

func (m *metrics) unauthenticated(ctx context.Context, reason auth.Reason) {
	m.refused.Add(ctx, 1, metric.WithAttributes(attribute.String("reason", "token_"+string(reason))))
}

func (m *metrics) full(ctx context.Context) {
	m.refused.Add(ctx, 1, metric.WithAttributes(attribute.String("reason", "in_flight")))
}
