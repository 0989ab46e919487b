package ratelimit

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

const meterName = "github.com/parley-rt/parley/libs/ratelimit"

// observe shows what is decided. Nothing is counted on the way of a decision but a number under a lock that it holds anyway.
func (l *Limiter) observe() error {
	m := l.cfg.MeterProvider.Meter(meterName)
	decided, err1 := m.Int64ObservableCounter("parley.ratelimit.decisions", metric.WithUnit("{decision}"),
		metric.WithDescription("Decisions about rate limits by scope, outcome (allowed, refused, or unlimited: there was no place to remember the key) and by what decided: a leased share, the node's own part of the limit, or the store that was asked."))
	keys, err2 := m.Int64ObservableGauge("parley.ratelimit.keys", metric.WithUnit("{key}"),
		metric.WithDescription("Keys remembered, by scope."))
	up, err3 := m.Int64ObservableGauge("parley.ratelimit.redis.up",
		metric.WithDescription("1: the store of rate limits answers. 0: it does not, and each node limits by itself. Absent without a store."))
	lost, err4 := m.Int64ObservableCounter("parley.ratelimit.redis.lost", metric.WithUnit("{event}"),
		metric.WithDescription("How often the store of rate limits stopped to answer."))
	reports, err5 := m.Int64ObservableCounter("parley.ratelimit.redis.reports", metric.WithUnit("{report}"),
		metric.WithDescription("Keys in use that were reported to the store of rate limits."))
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return fmt.Errorf("create instruments: %w", err)
	}
	r, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		tell := func(scope, outcome, by string, n uint64) {
			if n > 0 {
				o.ObserveInt64(decided, int64(n), metric.WithAttributes(
					attribute.String("scope", scope), attribute.String("outcome", outcome), attribute.String("by", by)))
			}
		}
		for _, s := range l.tables() {
			sum, n := s.counted()
			for i, outcome := range []string{"refused", "allowed"} {
				tell(s.scope, outcome, "leased", sum.leased[i])
				tell(s.scope, outcome, "own", sum.local[i])
			}
			tell(s.scope, "unlimited", "own", sum.unlimited)
			o.ObserveInt64(keys, int64(n), metric.WithAttributes(attribute.String("scope", s.scope)))
		}
		for i, outcome := range []string{"refused", "allowed"} {
			for _, d := range l.direct {
				tell(d.own.scope, outcome, "asked", d.asked[i].Load())
			}
			for _, own := range l.own {
				tell(own.scope, outcome, "own", own.local[i].Load())
			}
		}
		if l.store != nil {
			there := int64(1)
			if l.away.Load() {
				there = 0
			}
			o.ObserveInt64(up, there)
			o.ObserveInt64(lost, int64(l.lost.Load()))
			o.ObserveInt64(reports, int64(l.synced.Load()))
		}
		return nil
	}, decided, keys, up, lost, reports)
	if err != nil {
		return fmt.Errorf("observe: %w", err)
	}
	l.unlisten = func() { _ = r.Unregister() }
	return nil
}
