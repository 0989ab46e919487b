package member

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
	"github.com/parley-rt/parley/libs/protocol/codes"
)

// kindUnreadable labels frames whose kind could not be read.
const kindUnreadable = "unreadable"

type metrics struct {
	frames   metric.Int64Counter
	publish  metric.Float64Histogram
	in, out  map[string][]metric.AddOption
	outcomes map[string][]metric.RecordOption
	blocks   metric.Int64Counter
	// connecting and connected are blocks' options.
	connecting, connected metric.AddOption
}

// openingMetrics shows what waits at the gate.
func openingMetrics(mp metric.MeterProvider, g *Gate) error {
	m := mp.Meter(meterName)
	opening, err1 := m.Int64ObservableGauge("parley.gateway.sessions.opening",
		metric.WithUnit("{connection}"), metric.WithDescription("Connections whose session is being opened, by state: opening, or waiting for its turn."))
	age, err2 := m.Float64ObservableGauge("parley.gateway.sessions.opening.age",
		metric.WithUnit("s"), metric.WithDescription("How long the first connection that waits for its turn has waited; upgrades are refused from 1 s on."))
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	active, waiting := metric.WithAttributes(attribute.String("state", "opening")), metric.WithAttributes(attribute.String("state", "waiting"))
	_, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		n, w, a := g.State()
		o.ObserveInt64(opening, int64(n), active)
		o.ObserveInt64(opening, int64(w), waiting)
		o.ObserveFloat64(age, a.Seconds())
		return nil
	}, opening, age)
	return err
}

const meterName = "github.com/parley-rt/parley/services/gateway/internal/member"

func newMetrics(mp metric.MeterProvider) (*metrics, error) {
	m := mp.Meter(meterName)
	frames, err1 := m.Int64Counter("parley.gateway.frames",
		metric.WithUnit("{frame}"), metric.WithDescription("Frames from and to clients by direction and kind."))
	publish, err2 := m.Float64Histogram("parley.gateway.publish.duration",
		metric.WithUnit("s"), metric.WithDescription("From the receipt of a publish to its answer, by outcome: ok or the error's code."),
		metric.WithExplicitBucketBoundaries(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5))
	blocks, err3 := m.Int64Counter("parley.gateway.blocked",
		metric.WithUnit("{connection}"), metric.WithDescription("Connections of blocked members that were closed, by state: connecting, before they got a session, or connected."))
	state := func(name string) metric.AddOption {
		return metric.WithAttributeSet(attribute.NewSet(attribute.String("state", name)))
	}
	x := &metrics{
		frames: frames, publish: publish, in: map[string][]metric.AddOption{}, out: map[string][]metric.AddOption{}, outcomes: map[string][]metric.RecordOption{},
		blocks: blocks, connecting: state("connecting"), connected: state("connected"),
	}
	kinds := (*clientv1.Envelope)(nil).ProtoReflect().Descriptor().Oneofs().ByName("kind").Fields()
	for i := range kinds.Len() {
		x.kind(string(kinds.Get(i).Name()))
	}
	x.kind(kindUnreadable)
	outcomes := []string{outcomeOK, outcomeClosed}
	for _, c := range codes.Errors() {
		outcomes = append(outcomes, codes.ErrorName(c))
	}
	for _, o := range outcomes {
		x.outcomes[o] = []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(attribute.String("outcome", o)))}
	}
	return x, errors.Join(err1, err2, err3)
}

func (m *metrics) kind(name string) {
	for direction, options := range map[string]map[string][]metric.AddOption{"in": m.in, "out": m.out} {
		set := attribute.NewSet(attribute.String("direction", direction), attribute.String("type", name))
		options[name] = []metric.AddOption{metric.WithAttributeSet(set)}
	}
}

func (m *metrics) received(cmd *Command) {
	kind := kindUnreadable
	if cmd.Err == nil {
		kind = codec.Kind(cmd.Env)
	}
	m.frames.Add(context.Background(), 1, m.in[kind]...)
}

func (m *metrics) sent(env *clientv1.Envelope) {
	m.frames.Add(context.Background(), 1, m.out[codec.Kind(env)]...)
}

func (m *metrics) published(took time.Duration, outcome string) {
	m.publish.Record(context.Background(), took.Seconds(), m.outcomes[outcome]...)
}

func (m *metrics) blocked(open bool) {
	state := m.connecting
	if open {
		state = m.connected
	}
	m.blocks.Add(context.Background(), 1, state)
}
