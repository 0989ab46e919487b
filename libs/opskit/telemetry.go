package opskit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/parley-rt/parley/libs/opskit/logkey"
)

// telemetryShutdownTimeout bounds the last flush: a collector that is away must
// not hold up a rollout.
const telemetryShutdownTimeout = 5 * time.Second

// TelemetryConfig names the process in everything it exports.
type TelemetryConfig struct {
	Service string // service.name; OTEL_SERVICE_NAME overrides it
	Version string // service.version
	Node    string // service.instance.id
	DC      string // parley.dc
	// Logger gets the exporters' own errors, at most one a second; nil drops them.
	Logger *slog.Logger
}

// Telemetry owns the process's OpenTelemetry SDK. It is safe for concurrent use.
type Telemetry struct {
	registry *prometheus.Registry
	meters   *sdkmetric.MeterProvider
	tracers  *sdktrace.TracerProvider
}

// SetupTelemetry builds the SDK and makes it the global one, together with the
// W3C trace-context propagator. Metrics are always served by MetricsHandler; the
// standard OTEL_* variables add exporters, of which there are none by default:
// OTEL_TRACES_EXPORTER=otlp and OTEL_METRICS_EXPORTER=otlp turn them on. An
// unknown exporter name is an error. Call it once, before any instrument is
// made, and Shutdown at the end.
func SetupTelemetry(ctx context.Context, cfg TelemetryConfig) (*Telemetry, error) {
	res, err := newResource(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("describe process to telemetry: %w", err)
	}
	t := &Telemetry{registry: newRegistry()}
	if t.meters, err = newMeterProvider(ctx, res, t.registry); err != nil {
		return nil, fmt.Errorf("set up metrics: %w", err)
	}
	if t.tracers, err = newTracerProvider(ctx, res); err != nil {
		return nil, errors.Join(fmt.Errorf("set up traces: %w", err), t.meters.Shutdown(ctx))
	}
	otel.SetErrorHandler(exportErrors(cfg.Logger))
	otel.SetMeterProvider(t.meters)
	otel.SetTracerProvider(t.tracers)
	otel.SetTextMapPropagator(propagation.TraceContext{})
	return t, nil
}

// MetricsHandler serves the metrics in Prometheus' formats, with those of the Go
// runtime and the process.
func (t *Telemetry) MetricsHandler() http.Handler {
	return promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// MeterProvider is what components make their instruments from.
func (t *Telemetry) MeterProvider() metric.MeterProvider { return t.meters }

// TracerProvider is what components make their spans from.
func (t *Telemetry) TracerProvider() trace.TracerProvider { return t.tracers }

// Shutdown exports what is buffered and stops the exporters, within five seconds
// or less when ctx ends before. Instruments and spans used later do nothing.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, telemetryShutdownTimeout)
	defer cancel()
	// Traces first: the last metrics then count their export.
	if err := errors.Join(t.tracers.Shutdown(ctx), t.meters.Shutdown(ctx)); err != nil {
		return fmt.Errorf("flush telemetry: %w", err)
	}
	return nil
}

// Component returns a Component that shuts the telemetry down when it is
// stopped. Give it to Run first, so that it is stopped last.
func (t *Telemetry) Component() Component { return NewComponent("telemetry", nil, t.Shutdown) }

func newResource(ctx context.Context, cfg TelemetryConfig) (*resource.Resource, error) {
	return resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithAttributes(
			attribute.String("service.name", cfg.Service),
			attribute.String("service.version", cfg.Version),
			attribute.String("service.instance.id", cfg.Node),
			attribute.String("parley.dc", cfg.DC),
		),
		resource.WithFromEnv(), // last: the operator's word counts
	)
}

// newRegistry keeps off Prometheus' global registry, which any library may fill.
func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return r
}

func newMeterProvider(ctx context.Context, res *resource.Resource, reg *prometheus.Registry) (*sdkmetric.MeterProvider, error) {
	prom, err := otelprom.New(otelprom.WithRegisterer(reg))
	if err != nil {
		return nil, fmt.Errorf("prometheus exporter: %w", err)
	}
	opts := []sdkmetric.Option{sdkmetric.WithResource(res), sdkmetric.WithReader(prom), sdkmetric.WithView(histogramView)}
	reader, err := autoexport.NewMetricReader(ctx, autoexport.WithFallbackMetricReader(
		func(context.Context) (sdkmetric.Reader, error) { return nil, nil }))
	if err != nil {
		return nil, fmt.Errorf("OTEL_METRICS_EXPORTER: %w", err)
	}
	if reader != nil && !autoexport.IsNoneMetricReader(reader) {
		opts = append(opts, sdkmetric.WithReader(reader))
	}
	return sdkmetric.NewMeterProvider(opts...), nil
}

func newTracerProvider(ctx context.Context, res *resource.Resource) (*sdktrace.TracerProvider, error) {
	exporter, err := autoexport.NewSpanExporter(ctx, autoexport.WithFallbackSpanExporter(
		func(context.Context) (sdktrace.SpanExporter, error) { return nil, nil }))
	if err != nil {
		return nil, fmt.Errorf("OTEL_TRACES_EXPORTER: %w", err)
	}
	if exporter == nil || autoexport.IsNoneSpanExporter(exporter) {
		// Nobody looks, so nothing is recorded; spans still carry valid ids,
		// which logs and error frames quote, and a caller's sampling decision is
		// handed on.
		return sdktrace.NewTracerProvider(sdktrace.WithResource(res),
			sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.NeverSample()))), nil
	}
	// The sampler is the SDK's own, set by OTEL_TRACES_SAMPLER.
	return sdktrace.NewTracerProvider(sdktrace.WithResource(res), sdktrace.WithBatcher(exporter)), nil
}

func exportErrors(logger *slog.Logger) otel.ErrorHandlerFunc {
	if logger == nil {
		return func(error) {}
	}
	limited := RateLimited(logger)
	return func(err error) { limited.Warn("telemetry export failed", slog.Any(logkey.Err, err)) }
}
