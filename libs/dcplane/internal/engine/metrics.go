package engine

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/parley-rt/parley/libs/dcplane"
)

// metrics holds the directory's instruments. Node names never become attributes.
type metrics struct {
	failed   metric.Int64Counter
	callback metric.Registration
}

func newMetrics(provider metric.MeterProvider, r *replica) (*metrics, error) {
	if provider == nil {
		provider = noop.NewMeterProvider()
	}
	meter := provider.Meter("github.com/parley-rt/parley/libs/dcplane")
	failed, err := meter.Int64Counter("parley.dc.renewals.failed", metric.WithUnit("{renewal}"),
		metric.WithDescription("Renewals of this process's node records that the control plane did not confirm."))
	if err != nil {
		return nil, err
	}
	age, err := meter.Float64ObservableGauge("parley.dc.cache.age", metric.WithUnit("s"),
		metric.WithDescription("Time since the node directory's cache was last known to be complete."))
	if err != nil {
		return nil, err
	}
	nodes, err := meter.Int64ObservableGauge("parley.dc.nodes", metric.WithUnit("{node}"),
		metric.WithDescription("Live nodes of all datacenters as this process sees them."))
	if err != nil {
		return nil, err
	}
	callback, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveFloat64(age, r.age().Seconds())
		type label struct {
			service string
			state   dcplane.NodeState
		}
		counts := make(map[label]int64)
		for _, nodes := range r.view.Load().groups {
			for _, n := range nodes {
				counts[label{n.Service, n.State}]++
			}
		}
		for l, count := range counts {
			o.ObserveInt64(nodes, count, metric.WithAttributes(
				attribute.String("service", l.service), attribute.String("state", string(l.state))))
		}
		return nil
	}, age, nodes)
	if err != nil {
		return nil, err
	}
	return &metrics{failed: failed, callback: callback}, nil
}

func (m *metrics) renewalFailed(key dcplane.Key) {
	m.failed.Add(context.Background(), 1, metric.WithAttributes(attribute.String("service", key.Service)))
}

// close is safe on metrics that were never made.
func (m *metrics) close() {
	if m != nil {
		_ = m.callback.Unregister() // fails only for a provider that is gone as well
	}
}
