package api

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// metrics are the instruments of what is no request to a room. Ids of members are never attributes.
type metrics struct{ rulings metric.Int64Counter }

func newMetrics(meter metric.Meter) (*metrics, error) {
	rulings, err := meter.Int64Counter("parley.member.rulings", metric.WithUnit("{ruling}"),
		metric.WithDescription("Blocks of members that were set and lifted, by kind (block, unblock) and outcome (enacted, unchanged)."))
	if err != nil {
		return nil, err
	}
	return &metrics{rulings}, nil
}

// ruled counts a block that was set or lifted; changed: it was not so before.
func (m *metrics) ruled(ctx context.Context, kind string, changed bool) {
	outcome := "enacted"
	if !changed {
		outcome = "unchanged"
	}
	m.rulings.Add(ctx, 1, metric.WithAttributes(attribute.String("kind", kind), attribute.String("outcome", outcome)))
}
