package adminapi

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"connectrpc.com/connect"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/parley-rt/parley/libs/opskit"
	"github.com/parley-rt/parley/libs/opskit/logkey"
)

// observer is what all handlers have around them: a deadline, a span, a measure, and the end of errors and panics.
type observer struct {
	within  time.Duration
	metrics *metrics
	tracer  trace.Tracer
	logger  *slog.Logger
	judge   Judge
}

func newObserver(cfg Config, m *metrics, deps Deps, judge Judge) connect.Interceptor {
	o := &observer{within: cfg.Within, metrics: m, tracer: deps.Tracer, logger: opskit.RateLimited(deps.Logger), judge: judge}
	return connect.UnaryInterceptorFunc(o.around)
}

func (o *observer) around(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		began := time.Now()
		procedure := req.Spec().Procedure
		ctx, cancel := context.WithTimeout(ctx, o.within)
		defer cancel()
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(req.Header()))
		ctx, span := o.tracer.Start(ctx, procedure[1:], trace.WithSpanKind(trace.SpanKindServer))
		defer span.End()

		res, err := o.call(ctx, next, req)
		if err != nil {
			told := o.judge.Error(ctx, err)
			if connect.CodeOf(told) == connect.CodeInternal {
				o.logger.Error("api request failed", slog.String("procedure", procedure), slog.Any(logkey.Err, err))
			}
			span.RecordError(err)
			span.SetStatus(otelcodes.Error, connect.CodeOf(told).String())
			err = told
		}
		o.metrics.answered(ctx, procedure, err, time.Since(began))
		return res, err
	}
}

// call turns a panic of a handler into an error, as far as the caller is concerned.
func (o *observer) call(ctx context.Context, next connect.UnaryFunc, req connect.AnyRequest) (_ connect.AnyResponse, err error) {
	defer func() {
		if p := recover(); p != nil {
			o.logger.Error("api handler panicked", slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
			err = fmt.Errorf("%w: %v", ErrPanic, p)
		}
	}()
	return next(ctx, req)
}
