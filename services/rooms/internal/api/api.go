package api

import (
	"fmt"
	"net/http"

	"connectrpc.com/connect"

	"github.com/parley-rt/parley/libs/opskit/adminapi"
	"github.com/parley-rt/parley/libs/protocol/admin/v1/adminv1connect"
)

// API is the server of rooms.
type API = adminapi.Server

// New checks the configuration and builds everything; it listens to nothing yet.
func New(cfg Config, deps Deps) (*API, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	metrics, err := newMetrics(deps.Meter)
	if err != nil {
		return nil, fmt.Errorf("create metrics: %w", err)
	}
	service := &rooms{asker: deps.Rooms, heads: deps.Heads, now: deps.Now, blocks: deps.Blocks, audit: deps.Logger, metrics: metrics}
	own := adminapi.Part{Judge: judge, Service: func(options ...connect.HandlerOption) (string, http.Handler) {
		return adminv1connect.NewRoomServiceHandler(service, append(options, connect.WithInterceptors(connect.UnaryInterceptorFunc(authorize)))...)
	}}
	return adminapi.New(cfg.server(), adminapi.Deps{
		Logger: deps.Logger, Meter: deps.Meter, MeterProvider: deps.MeterProvider, Tracer: deps.Tracer, Now: deps.Now,
	}, append([]adminapi.Part{own}, deps.Others...)...)
}
