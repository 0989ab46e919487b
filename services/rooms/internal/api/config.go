package api

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/parley-rt/parley/libs/opskit/adminapi"
	"github.com/parley-rt/parley/libs/opskit/auth"
	"github.com/parley-rt/parley/libs/persistence"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// Config of the API. Zero values mean the defaults named; Listen and Auth.Mode have none.
type Config struct {
	// Listen is host:port; port 0 takes a free one, see API.Addr.
	Listen string
	Auth   auth.Config
	// MaxInFlight requests are worked on at a time; more get RESOURCE_EXHAUSTED. Default 256.
	MaxInFlight int
	// MaxContentBytes of a message, as rooms have it: it decides how large a request may be. Default 64 KiB.
	MaxContentBytes int
	// Within bounds one request, reading it not included. Default 5 s.
	Within time.Duration
}

func (c Config) withDefaults() Config {
	if c.MaxContentBytes == 0 {
		c.MaxContentBytes = 64 << 10
	}
	return c
}

// maxRequestBytes leaves room for a content whose every byte JSON writes as \u00XX, and for the other fields.
func (c Config) maxRequestBytes() int { return 6*c.MaxContentBytes + 16<<10 }

func (c Config) server() adminapi.Config {
	return adminapi.Config{Listen: c.Listen, Auth: c.Auth, MaxInFlight: c.MaxInFlight, MaxRequestBytes: c.maxRequestBytes(), Within: c.Within}
}

// Check reports every problem, joined.
func (c Config) Check() error {
	problems := []error{c.server().Check()}
	if c.MaxContentBytes < 0 {
		problems = append(problems, errors.New("api max content bytes is negative"))
	}
	return errors.Join(problems...)
}

// Asker asks the writer of a room: *ask.Asker, whose errors it has.
type Asker interface {
	Ask(ctx context.Context, frame *roomv1.Frame) (*roomv1.Frame, error)
}

// Heads tells whether a room was ever used: a persistence.Journal.
type Heads interface {
	Head(ctx context.Context, key persistence.StreamKey) (persistence.Head, error)
}

// Deps are what the API is given; all but Others are required.
type Deps struct {
	Rooms  Asker
	Heads  Heads
	Blocks persistence.BlockStore
	// Others are served at the same address.
	Others []adminapi.Part
	Logger *slog.Logger
	Meter  metric.Meter
	// MeterProvider is for the meter of authentication; nil: none.
	MeterProvider metric.MeterProvider
	Tracer        trace.Tracer
	Now           func() time.Time
}
