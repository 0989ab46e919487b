package sqlite

import (
	"go.opentelemetry.io/otel/metric"

	"github.com/parley-rt/parley/libs/persistence/internal/instruments"
)

// meterName is the package's path, as names of meters are.
const meterName = "github.com/parley-rt/parley/libs/persistence/sqlite"

type metrics struct{ instruments.Journal }

func newMetrics(provider metric.MeterProvider) (*metrics, error) {
	journal, err := instruments.New(provider.Meter(meterName))
	if err != nil {
		return nil, err
	}
	return &metrics{Journal: journal}, nil
}

// taken records a batch that the writer took.
func (m *metrics) taken(b *batch) { m.Taken(b.events, b.requests[0].Since) }
