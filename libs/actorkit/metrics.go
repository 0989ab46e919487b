package actorkit

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

const scope = "github.com/parley-rt/parley/libs/actorkit"

// metrics are a node's instruments. Frames are counted per batch, not one by one.
type metrics struct {
	frames   metric.Int64Counter
	bytes    metric.Int64Counter
	batches  metric.Int64Counter
	rtt      metric.Float64Histogram
	events   metric.Int64Counter
	rejected metric.Int64Counter
	panics   metric.Int64Counter
	relayed  metric.Int64Counter
	queued   metric.Int64ObservableGauge
	up       metric.Int64ObservableGauge
	reg      metric.Registration

	sent, received metric.MeasurementOption
	kinds          map[LinkEventKind]metric.MeasurementOption
	full, down     metric.MeasurementOption
	// What happened to a relayed batch here; the first is sent.
	forwarded, refused metric.MeasurementOption
}

func newMetrics(mp metric.MeterProvider, n *Node) (*metrics, error) {
	meter := mp.Meter(scope)
	m := &metrics{
		sent:      metric.WithAttributeSet(attribute.NewSet(attribute.String("direction", "sent"))),
		received:  metric.WithAttributeSet(attribute.NewSet(attribute.String("direction", "received"))),
		full:      metric.WithAttributeSet(attribute.NewSet(attribute.String("reason", "full"))),
		down:      metric.WithAttributeSet(attribute.NewSet(attribute.String("reason", "down"))),
		forwarded: metric.WithAttributeSet(attribute.NewSet(attribute.String("direction", "forwarded"))),
		refused:   metric.WithAttributeSet(attribute.NewSet(attribute.String("direction", "refused"))),
		kinds:     map[LinkEventKind]metric.MeasurementOption{},
	}
	for _, k := range []LinkEventKind{LinkUp, LinkDown, LinkLost} {
		m.kinds[k] = metric.WithAttributeSet(attribute.NewSet(attribute.String("kind", k.String())))
	}
	var errs [10]error
	m.frames, errs[0] = meter.Int64Counter("parley.link.frames", metric.WithDescription("Frames sent and handed over."))
	m.bytes, errs[1] = meter.Int64Counter("parley.link.bytes", metric.WithUnit("By"), metric.WithDescription("Bytes of frame bodies sent and handed over."))
	m.batches, errs[2] = meter.Int64Counter("parley.link.batches", metric.WithDescription("Batches, heartbeats included."))
	m.rtt, errs[3] = meter.Float64Histogram("parley.link.batch.duration", metric.WithUnit("s"), metric.WithDescription("From sending a batch to its answer."))
	m.events, errs[4] = meter.Int64Counter("parley.link.events", metric.WithDescription("Links that went up, went down or lost batches."))
	m.rejected, errs[5] = meter.Int64Counter("parley.link.rejected", metric.WithDescription("Frames that Send did not take."))
	m.panics, errs[6] = meter.Int64Counter("parley.door.panics", metric.WithDescription("Panics of the handler behind the door."))
	m.queued, errs[7] = meter.Int64ObservableGauge("parley.link.queue.size", metric.WithUnit("By"), metric.WithDescription("Bytes waiting for all peers."))
	m.up, errs[8] = meter.Int64ObservableGauge("parley.link.up", metric.WithDescription("Links that are up."))
	m.relayed, errs[9] = meter.Int64Counter("parley.link.relayed", metric.WithDescription("Batches that went over a third node: sent by this node and answered, forwarded for another one, or refused to it."))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	reg, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		queued, up := n.load()
		o.ObserveInt64(m.queued, queued)
		o.ObserveInt64(m.up, up)
		return nil
	}, m.queued, m.up)
	m.reg = reg
	return m, err
}

// sentBatch counts a batch that was answered.
func (m *metrics) sentBatch(ctx context.Context, took time.Duration, frames, bodies int64) {
	m.rtt.Record(ctx, took.Seconds())
	m.batches.Add(ctx, 1, m.sent)
	m.frames.Add(ctx, frames, m.sent)
	m.bytes.Add(ctx, bodies, m.sent)
}
