package ws

import (
	"context"
	"errors"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Why frames were dropped.
const (
	dropOverflow = "overflow"
	dropDeadline = "deadline"
	dropBacklog  = "backlog"
)

type metrics struct {
	active   metric.Int64UpDownCounter
	duration metric.Float64Histogram
	drops    metric.Int64Counter
	refused  metric.Int64Counter
	faults   metric.Int64Counter

	writers  []tally
	flushers tally
}

func newMetrics(mp metric.MeterProvider) (*metrics, error) {
	m := mp.Meter("github.com/parley-rt/parley/services/gateway/internal/ws")
	active, err1 := m.Int64UpDownCounter("parley.gateway.active_connections",
		metric.WithUnit("{connection}"), metric.WithDescription("Open WebSocket connections."))
	duration, err2 := m.Float64Histogram("parley.gateway.connection.duration",
		metric.WithUnit("s"), metric.WithDescription("Life of a connection by the code that closed it; 0: cut without a close frame."),
		metric.WithExplicitBucketBoundaries(0.1, 1, 5, 15, 60, 300, 900, 3600, 4*3600, 24*3600))
	drops, err3 := m.Int64Counter("parley.gateway.outbox.drops",
		metric.WithUnit("{connection}"), metric.WithDescription("Connections closed because they read too slowly."))
	refused, err4 := m.Int64Counter("parley.gateway.upgrades.refused",
		metric.WithUnit("{request}"), metric.WithDescription("Upgrade requests refused by HTTP status."))
	faults, err5 := m.Int64Counter("parley.gateway.connections.failed",
		metric.WithUnit("{connection}"), metric.WithDescription("Connections closed because of a fault in their handler."))
	writes, err6 := m.Int64ObservableCounter("parley.gateway.writes",
		metric.WithUnit("{write}"), metric.WithDescription("Writes to sockets by who made them: a writer, which does not wait, or a connection's own flusher."))
	frames, err7 := m.Int64ObservableCounter("parley.gateway.writes.frames",
		metric.WithUnit("{frame}"), metric.WithDescription("Frames in these writes; how many go into one is what sets the cost of a delivery."))
	all := &metrics{active: active, duration: duration, drops: drops, refused: refused, faults: faults, writers: make([]tally, runtime.GOMAXPROCS(0))}
	_, err8 := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		all.observe(o, writes, frames)
		return nil
	}, writes, frames)
	return all, errors.Join(err1, err2, err3, err4, err5, err6, err7, err8)
}

// tally counts the writes of a writer, or of all flushers, without disturbing others.
type tally struct {
	writes, frames atomic.Int64
	_              [48]byte // a line of the processors' caches to itself
}

func (t *tally) add(writes, frames int) {
	t.writes.Add(int64(writes))
	t.frames.Add(int64(frames))
}

func (m *metrics) observe(o metric.Observer, writes, frames metric.Int64Observable) {
	var w, f int64
	for i := range m.writers {
		w += m.writers[i].writes.Load()
		f += m.writers[i].frames.Load()
	}
	writer, flusher := metric.WithAttributes(attribute.String("by", "writer")), metric.WithAttributes(attribute.String("by", "flusher"))
	o.ObserveInt64(writes, w, writer)
	o.ObserveInt64(frames, f, writer)
	o.ObserveInt64(writes, m.flushers.writes.Load(), flusher)
	o.ObserveInt64(frames, m.flushers.frames.Load(), flusher)
}

func (m *metrics) opened() { m.active.Add(context.Background(), 1) }

func (m *metrics) closed(code int, lived time.Duration) {
	m.active.Add(context.Background(), -1)
	m.duration.Record(context.Background(), lived.Seconds(), metric.WithAttributes(attribute.String("close_code", strconv.Itoa(codeLabel(code)))))
}

func (m *metrics) dropped(reason string) {
	m.drops.Add(context.Background(), 1, metric.WithAttributes(attribute.String("reason", reason)))
}

func (m *metrics) refusedWith(status int) {
	m.refused.Add(context.Background(), 1, metric.WithAttributes(attribute.Int("status", status)))
}

// codeLabel keeps a peer from minting label values: it may send any code from 3000 on.
func codeLabel(code int) int {
	if code == 0 || (code >= 1000 && code <= 1015) || (code >= 4000 && code <= 4010) || (code >= 4500 && code <= 4510) {
		return code
	}
	return 3000
}
