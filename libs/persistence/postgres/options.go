package postgres

import (
	"context"
	"log/slog"
	"net"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// Options refines Open; the zero value is right for production.
type Options struct {
	// Logger hears of lost connections, refused commits and the like. Nil: silence.
	Logger *slog.Logger
	// MeterProvider makes the instruments. Nil: the global one.
	MeterProvider metric.MeterProvider
	// TracerProvider makes the spans of commits and reads. Nil: the global one.
	TracerProvider trace.TracerProvider
	// Dial opens the connections to the server, for networks that need more than a plain dial. Nil: a net.Dialer with
	// keepalives. Connections that write are dialled once: see the package comment.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// NoMigration: Open expects a schema within its range and does not migrate. Else it brings the schema up to date,
	// alone among all that open it at once.
	NoMigration bool
	// Readers is the largest number of connections for reads. 0: 4.
	Readers int
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.MeterProvider == nil {
		o.MeterProvider = otel.GetMeterProvider()
	}
	if o.TracerProvider == nil {
		o.TracerProvider = otel.GetTracerProvider()
	}
	if o.Dial == nil {
		// A server that has vanished is noticed in about 11 s; one that still answers keepalives and nothing else, by the
		// deadline of the attempt.
		dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: keepIdle, Interval: keepInterval, Count: keepCount}}
		o.Dial = dialer.DialContext
	}
	if o.Readers <= 0 {
		o.Readers = 4
	}
	return o
}
