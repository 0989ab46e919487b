package adminapi

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/parley-rt/parley/libs/opskit/auth"
)

// Config of a server. Zero values mean the defaults named; Listen and Auth.Mode have none.
type Config struct {
	// Listen is host:port; port 0 takes a free one, see Server.Addr.
	Listen string
	Auth   auth.Config
	// MaxInFlight requests are worked on at a time; more get RESOURCE_EXHAUSTED. Default 256.
	MaxInFlight int
	// MaxRequestBytes bounds a request. Default 1 MiB.
	MaxRequestBytes int
	// Within bounds one request, reading it not included. Default 5 s.
	Within time.Duration
}

func (c Config) withDefaults() Config {
	if c.MaxInFlight == 0 {
		c.MaxInFlight = 256
	}
	if c.MaxRequestBytes == 0 {
		c.MaxRequestBytes = 1 << 20
	}
	if c.Within == 0 {
		c.Within = 5 * time.Second
	}
	return c
}

// Check reports every problem, joined.
func (c Config) Check() error {
	var problems []error
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		problems = append(problems, fmt.Errorf("PARLEY_API_LISTEN: %q is not host:port", c.Listen))
	}
	problems = append(problems, c.Auth.Check())
	for _, n := range []struct {
		name  string
		value int64
	}{{"max in flight", int64(c.MaxInFlight)}, {"max request bytes", int64(c.MaxRequestBytes)}, {"within", int64(c.Within)}} {
		if n.value < 0 {
			problems = append(problems, fmt.Errorf("api %s is negative", n.name))
		}
	}
	return errors.Join(problems...)
}

// Deps are what a server is given; all but MeterProvider are required.
type Deps struct {
	Logger *slog.Logger
	Meter  metric.Meter
	// MeterProvider is for the meter of authentication; nil: none.
	MeterProvider metric.MeterProvider
	Tracer        trace.Tracer
	Now           func() time.Time
}
