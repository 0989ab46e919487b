package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	// probes is how many connections measure delivery latency: all of them would spend the machine on clocks.
	probes = 8
	// maxWindow bounds the ring of send times.
	maxWindow = 4096
	// stampBytes is the send time at the start of a payload: nanoseconds since the run began, in decimal.
	stampBytes = 20
)

// client is one connection of the load.
type client struct {
	wire    *wire
	room    string
	started time.Time
	probe   bool
	// window holds a token per publish that may be sent now.
	window chan struct{}
	// due is when publish n should have been sent, in nanoseconds since started, at n % maxWindow.
	due [maxWindow]atomic.Int64

	measuring                 atomic.Bool
	acked, delivered, refused atomic.Uint64

	// The reader's own.
	cursor     uint64
	chained    bool
	misordered uint64
	acks       *hdrhistogram.Histogram
	deliveries *hdrhistogram.Histogram
}

// joinRoom connects and waits until the room is joined.
func joinRoom(ctx context.Context, url, room string, s Scenario, started time.Time, probe bool) (*client, error) {
	w, err := dialWire(ctx, url)
	if err != nil {
		return nil, err
	}
	c := &client{wire: w, room: room, started: started, probe: probe, window: make(chan struct{}, s.Window)}
	for range s.Window {
		c.window <- struct{}{}
	}
	if err := w.send([]byte(`{"join_room":{"room_id":"` + room + `"}}`)); err != nil {
		c.close()
		return nil, fmt.Errorf("join: %w", err)
	}
	err = w.read(func(frame []byte) error {
		switch {
		case bytes.HasPrefix(frame, []byte(`{"room_joined"`)):
			return errEnough
		case bytes.HasPrefix(frame, []byte(`{"error"`)):
			return fmt.Errorf("join refused: %s", frame)
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		c.close()
		return nil, fmt.Errorf("join: %w", err)
	}
	return c, nil
}

// errEnough stops reading before the connection ends.
var errEnough = errors.New("read enough")

func (c *client) close() { _ = c.wire.conn.Close() }

func (c *client) now() int64 { return time.Since(c.started).Nanoseconds() }

// read takes frames until the connection ends, and returns why.
func (c *client) read() error {
	if c.probe {
		c.deliveries = newHistogram()
	}
	return c.wire.read(func(frame []byte) error {
		switch {
		case bytes.HasPrefix(frame, []byte(`{"message"`)):
			return c.onMessage(frame)
		case bytes.HasPrefix(frame, []byte(`{"ack"`)):
			return c.onAck(frame)
		case bytes.HasPrefix(frame, []byte(`{"error"`)):
			c.refused.Add(1)
			c.release()
		}
		return nil
	})
}

func (c *client) onMessage(frame []byte) error {
	seq, err := uintField(frame, `"seq"`)
	if err != nil {
		return err
	}
	previous, err := uintField(frame, `"prev_seq"`)
	if err != nil {
		previous = 0 // the room's first message carries none
	}
	if c.chained && previous != c.cursor {
		c.misordered++
	}
	c.cursor, c.chained = seq, true
	c.delivered.Add(1)
	if c.probe && c.measuring.Load() {
		if sent, ok := stampOf(frame); ok {
			record(c.deliveries, c.now()-sent)
		}
	}
	return nil
}

func (c *client) onAck(frame []byte) error {
	number, err := uintField(frame, `"message_id"`)
	if err != nil {
		return err
	}
	if c.acks == nil {
		c.acks = newHistogram()
	}
	c.acked.Add(1)
	if c.measuring.Load() {
		record(c.acks, c.now()-c.due[number%maxWindow].Load())
	}
	c.release()
	return nil
}

// release gives a window token back; in an open loop nobody takes them.
func (c *client) release() {
	select {
	case c.window <- struct{}{}:
	default:
	}
}

func record(h *hdrhistogram.Histogram, nanoseconds int64) {
	_ = h.RecordValue(min(max(nanoseconds/1000, 1), time.Minute.Microseconds()))
}

func stampOf(frame []byte) (int64, bool) {
	const key = `"content":"`
	at := bytes.Index(frame, []byte(key))
	if at < 0 || len(frame) < at+len(key)+stampBytes {
		return 0, false
	}
	sent, err := strconv.ParseInt(string(frame[at+len(key):at+len(key)+stampBytes]), 10, 64)
	return sent, err == nil
}

// publish sends until the context ends: as the window allows, or at the scenario's rate. index spreads the publishers of
// an open loop evenly over one interval.
func (c *client) publish(ctx context.Context, s Scenario, index int) error {
	padding := bytes.Repeat([]byte{'x'}, s.Payload-stampBytes)
	var frame []byte
	var pace *pacer
	if s.Rate > 0 {
		interval := time.Duration(float64(time.Second) * float64(s.Publishers) / s.Rate)
		pace = newPacer(c.started, c.now(), interval, time.Duration(index)*interval/time.Duration(s.Publishers))
	}
	for number := uint64(1); ; number++ {
		due, err := c.next(ctx, pace)
		if err != nil {
			return nil //nolint:nilerr // the run is over.
		}
		c.due[number%maxWindow].Store(due)
		frame = append(frame[:0], `{"message":{"target":"`...)
		frame = append(frame, c.room...)
		frame = append(frame, `","message_id":"`...)
		frame = strconv.AppendUint(frame, number, 10)
		frame = append(frame, `","content":"`...)
		frame = fmt.Appendf(frame, "%0*d", stampBytes, due)
		frame = append(frame, padding...)
		frame = append(frame, `"}}`...)
		if err := c.wire.send(frame); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
	}
}

// next waits until a publish may be sent and returns when it was due.
func (c *client) next(ctx context.Context, pace *pacer) (int64, error) {
	if pace != nil {
		return pace.next(ctx)
	}
	select {
	case <-c.window:
		return c.now(), nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// pacer gives out due times at a fixed interval, late ones at once.
type pacer struct {
	started  time.Time
	due      int64
	interval int64
}

func newPacer(started time.Time, now int64, interval, offset time.Duration) *pacer {
	return &pacer{started: started, due: now + offset.Nanoseconds(), interval: interval.Nanoseconds()}
}

func (p *pacer) next(ctx context.Context) (int64, error) {
	p.due += p.interval
	if wait := p.due - time.Since(p.started).Nanoseconds(); wait > 0 {
		if err := pause(ctx, time.Duration(wait)); err != nil {
			return 0, err
		}
	}
	return p.due, context.Cause(ctx)
}

// ackTimes and deliveryTimes are read after the readers ended.
func (c *client) ackTimes() *hdrhistogram.Histogram {
	if c.acks == nil {
		return newHistogram()
	}
	return c.acks
}

func (c *client) deliveryTimes() *hdrhistogram.Histogram {
	if c.deliveries == nil {
		return newHistogram()
	}
	return c.deliveries
}
