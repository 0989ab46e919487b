package hub

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codes"
)

// metrics are recorded once per frame of a rooms node, never per connection.
type metrics struct {
	frames  metric.Int64Counter
	delay   metric.Float64Histogram
	resubs  metric.Int64Counter
	topics  metric.Int64UpDownCounter
	failed  metric.Int64Counter
	dropped metric.Int64Counter
	message []metric.AddOption
	signal  []metric.AddOption
	coming  []metric.AddOption

	evictions  metric.Int64Counter
	eviction   metric.Float64Histogram
	evictedFor map[clientv1.EvictionReason]metric.MeasurementOption
}

func newMetrics(mp metric.MeterProvider) (*metrics, error) {
	m := mp.Meter("github.com/parley-rt/parley/services/gateway/internal/hub")
	frames, err1 := m.Int64Counter("parley.gateway.frames",
		metric.WithUnit("{frame}"), metric.WithDescription("Frames from and to clients by direction and kind."))
	delay, err2 := m.Float64Histogram("parley.delivery.delay",
		metric.WithUnit("s"), metric.WithDescription("From a room's accepting a message to its hand-over to the connections' outboxes."),
		metric.WithExplicitBucketBoundaries(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10))
	resubs, err3 := m.Int64Counter("parley.gateway.subscriptions.asked",
		metric.WithUnit("{request}"), metric.WithDescription("Subscriptions asked of rooms nodes, first ones and repeated ones."))
	topics, err4 := m.Int64UpDownCounter("parley.gateway.topics",
		metric.WithUnit("{room}"), metric.WithDescription("Rooms that this node is subscribed to."))
	failed, err5 := m.Int64Counter("parley.gateway.topics.failed",
		metric.WithUnit("{room}"), metric.WithDescription("Rooms whose connections were closed because of a fault in the hub."))
	dropped, err6 := m.Int64Counter("parley.gateway.deliveries.dropped",
		metric.WithUnit("{frame}"), metric.WithDescription("Frames of messages and signals dropped because too much waited for the hub; the messages are read again."))
	evictions, err7 := m.Int64Counter("parley.gateway.evictions",
		metric.WithUnit("{connection}"), metric.WithDescription("Connections taken out of a room because the room said so, by reason."))
	eviction, err8 := m.Float64Histogram("parley.eviction.delay",
		metric.WithUnit("s"), metric.WithDescription("From the seq of what took members out of a room to the end of their streams on this node."),
		metric.WithExplicitBucketBoundaries(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10))
	evictedFor := make(map[clientv1.EvictionReason]metric.MeasurementOption)
	for number := range clientv1.EvictionReason_name {
		reason := clientv1.EvictionReason(number)
		evictedFor[reason] = metric.WithAttributeSet(attribute.NewSet(attribute.String("reason", codes.EvictionName(reason))))
	}
	option := func(kind string) []metric.AddOption {
		return []metric.AddOption{metric.WithAttributeSet(attribute.NewSet(attribute.String("direction", "out"), attribute.String("type", kind)))}
	}
	return &metrics{
		frames, delay, resubs, topics, failed, dropped, option("message"), option("signal"), option("coming"), evictions, eviction, evictedFor,
	}, errors.Join(err1, err2, err3, err4, err5, err6, err7, err8)
}

func (m *metrics) delivered(n int) { m.frames.Add(context.Background(), int64(n), m.message...) }

func (m *metrics) signalled(n int) { m.frames.Add(context.Background(), int64(n), m.signal...) }

func (m *metrics) came(n int) { m.frames.Add(context.Background(), int64(n), m.coming...) }

func (m *metrics) delayed(d time.Duration) {
	// The clocks of two nodes differ: a negative delay says nothing more than "none".
	m.delay.Record(context.Background(), max(d, 0).Seconds())
}
