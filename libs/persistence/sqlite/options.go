package sqlite

import (
	"log/slog"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
)

// Options refines Open; the zero value is right for production.
type Options struct {
	// Logger hears of recovery from store errors. Nil: silence.
	Logger *slog.Logger
	// MeterProvider makes the instruments. Nil: the global one.
	MeterProvider metric.MeterProvider
	// Now is the backend's clock: expiry of sessions and leases, times of events. Nil: time.Now.
	Now func() time.Time
	// Readers is the number of connections that serve reads beside the one that writes. 0: 4.
	Readers int
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.MeterProvider == nil {
		o.MeterProvider = otel.GetMeterProvider()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Readers <= 0 {
		o.Readers = 4
	}
	return o
}
