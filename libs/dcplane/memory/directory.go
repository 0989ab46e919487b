package memory

import (
	"context"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/libs/dcplane/internal/engine"
)

// Config is all optional; zero durations mean the defaults of package dcplane.
type Config struct {
	Lease, RefreshEvery, MaxCacheStaleness time.Duration
	Logger                                 *slog.Logger         // nil discards
	MeterProvider                          metric.MeterProvider // nil counts nothing
}

// Directory is a dcplane.Directory on a Plane.
type Directory struct {
	dcplane.Directory
	plane  *Plane
	engine *engine.Directory
}

// Close implements dcplane.Directory.
func (d *Directory) Close(ctx context.Context) error {
	err := d.engine.Close(ctx)
	d.plane.forget(d)
	return err
}

// Crash stops the directory without deregistering anything, as kill -9 of its process would: the others see its nodes
// until their leases run out.
func (d *Directory) Crash() {
	d.engine.Abandon()
	d.plane.forget(d)
}
