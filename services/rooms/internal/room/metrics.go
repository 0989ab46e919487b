package room

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codes"
)

// Metrics are the instruments of a node's rooms. Room, member and session ids are never attributes.
type Metrics struct {
	active        metric.Int64UpDownCounter
	recovered     metric.Float64Histogram
	batch         metric.Int64Histogram
	messages      metric.Int64Counter
	duplicates    metric.Int64Counter
	refused       metric.Int64Counter
	ended         metric.Int64Counter
	subscriptions metric.Int64UpDownCounter
	lost          metric.Int64Counter
	answersLost   metric.Int64Counter
	reads         metric.Int64Counter
	moves         metric.Int64Counter
	movePause     metric.Float64Histogram
	rulings       metric.Int64Counter

	refusedBy map[clientv1.ErrorCode]metric.MeasurementOption
	fromTail  metric.MeasurementOption
	fromStore metric.MeasurementOption
}

// NewMetrics creates the instruments. node counts what waits on the whole node.
func NewMetrics(provider metric.MeterProvider, node *Meter) (*Metrics, error) {
	b := &builder{meter: provider.Meter("github.com/parley-rt/parley/services/rooms")}
	m := &Metrics{
		active:        b.upDown("parley.room.active", "Rooms running on this node.", "{room}"),
		recovered:     b.seconds("parley.room.recover.duration", "Claim and recovery of a room."),
		batch:         b.histogram("parley.room.publish.batch", "Messages stored by one append of one room.", "{message}"),
		messages:      b.counter("parley.room.messages", "Messages stored.", "{message}"),
		duplicates:    b.counter("parley.room.duplicates", "Messages recognised as stored before.", "{message}"),
		refused:       b.counter("parley.room.refused", "Requests and messages refused, by error code.", "{request}"),
		ended:         b.counter("parley.room.ended", "Activations ended, by reason.", "{room}"),
		subscriptions: b.upDown("parley.room.subscriptions", "Gateway nodes subscribed, summed over rooms.", "{subscription}"),
		lost:          b.counter("parley.room.subscriptions.lost", "Subscriptions ended because the gateway node could not be sent to or its frames are missing.", "{subscription}"),
		answersLost:   b.counter("parley.room.answers.lost", "Answers that no link took; the asker asks again.", "{frame}"),
		reads:         b.counter("parley.room.reads", "Pages read, by where they came from.", "{page}"),
		moves:         b.counter("parley.room.moves", "Rooms offered to other nodes, by reason and what became of it.", "{room}"),
		movePause:     b.seconds("parley.room.move.pause", "How long a room that moved took no frames."),
		rulings:       b.counter("parley.room.rulings", "Commands about settings and members, by kind and outcome.", "{command}"),
		refusedBy:     make(map[clientv1.ErrorCode]metric.MeasurementOption),
		fromTail:      metric.WithAttributeSet(attribute.NewSet(attribute.String("source", "memory"))),
		fromStore:     metric.WithAttributeSet(attribute.NewSet(attribute.String("source", "journal"))),
	}
	for _, c := range codes.Errors() {
		m.refusedBy[c] = metric.WithAttributeSet(attribute.NewSet(attribute.String("code", codes.ErrorName(c))))
	}
	b.gauge("parley.room.queue.bytes", "Bytes of frames waiting for rooms of this node.", "By", node.Used)
	return m, b.err
}

// Refused counts a refusal of a request or of a message in it.
func (m *Metrics) Refused(code clientv1.ErrorCode, n int) {
	if option, ok := m.refusedBy[code]; ok {
		m.refused.Add(context.Background(), int64(n), option)
	}
}

// MoveReason is why a room is given to another node.
type MoveReason string

const (
	// MoveDrain: this node stops.
	MoveDrain MoveReason = "drain"
	// MoveJoin: the other node has joined and is the room's first choice.
	MoveJoin MoveReason = "join"
)

// Moved counts the end of a room's move; pause is that of one that succeeded.
func (m *Metrics) Moved(reason MoveReason, result string, pause time.Duration) {
	why := attribute.String("reason", string(reason))
	m.moves.Add(context.Background(), 1, metric.WithAttributes(why, attribute.String("result", result)))
	if pause > 0 {
		m.movePause.Record(context.Background(), pause.Seconds(), metric.WithAttributes(why))
	}
}

// AnswerLost counts an answer that could not be sent.
func (m *Metrics) AnswerLost() { m.answersLost.Add(context.Background(), 1) }

func (m *Metrics) started(took time.Duration) {
	m.active.Add(context.Background(), 1)
	m.recovered.Record(context.Background(), took.Seconds())
}

func (m *Metrics) stopped(why string, subscribers int) {
	m.active.Add(context.Background(), -1)
	m.subscriptions.Add(context.Background(), -int64(subscribers))
	m.ended.Add(context.Background(), 1, metric.WithAttributes(attribute.String("reason", why)))
}

// builder collects the first error of creating instruments.
type builder struct {
	meter metric.Meter
	err   error
}

func (b *builder) keep(err error) {
	if b.err == nil {
		b.err = err
	}
}

func (b *builder) counter(name, what, unit string) metric.Int64Counter {
	i, err := b.meter.Int64Counter(name, metric.WithDescription(what), metric.WithUnit(unit))
	b.keep(err)
	return i
}

func (b *builder) upDown(name, what, unit string) metric.Int64UpDownCounter {
	i, err := b.meter.Int64UpDownCounter(name, metric.WithDescription(what), metric.WithUnit(unit))
	b.keep(err)
	return i
}

func (b *builder) histogram(name, what, unit string) metric.Int64Histogram {
	i, err := b.meter.Int64Histogram(name, metric.WithDescription(what), metric.WithUnit(unit),
		metric.WithExplicitBucketBoundaries(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024))
	b.keep(err)
	return i
}

func (b *builder) seconds(name, what string) metric.Float64Histogram {
	i, err := b.meter.Float64Histogram(name, metric.WithDescription(what), metric.WithUnit("s"),
		metric.WithExplicitBucketBoundaries(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10))
	b.keep(err)
	return i
}

func (b *builder) gauge(name, what, unit string, value func() int64) {
	_, err := b.meter.Int64ObservableGauge(name, metric.WithDescription(what), metric.WithUnit(unit),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(value())
			return nil
		}))
	b.keep(err)
}
