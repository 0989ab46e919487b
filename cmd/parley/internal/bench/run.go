// Package bench loads a server over real sockets and reports what it did per second and per CPU second of the server.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"
)

// Scenario says what is loaded how. Connections are spread evenly over the rooms.
type Scenario struct {
	Name        string
	Rooms       int
	Connections int
	// Publishers of the connections publish; the others only receive.
	Publishers int
	// Window is how many publishes of one connection are unacknowledged at most (closed loop).
	Window int
	// Rate, if set, is publishes per second over all publishers (open loop): each is timed from when it was due, so that a
	// stalled server is charged for the publishes it held up.
	Rate     float64
	Payload  int
	Warmup   time.Duration
	Duration time.Duration
}

// Validate returns all problems of the scenario joined.
func (s Scenario) Validate() error {
	var problems []error
	check := func(ok bool, text string) {
		if !ok {
			problems = append(problems, errors.New(text))
		}
	}
	check(s.Rooms > 0 && s.Connections >= s.Rooms, "at least one room, and a connection for each")
	check(s.Publishers > 0 && s.Publishers <= s.Connections, "between one publisher and one per connection")
	check(s.Window > 0 && s.Window <= maxWindow, fmt.Sprintf("a window of 1 to %d", maxWindow))
	check(s.Payload >= stampBytes && s.Payload <= 32<<10, fmt.Sprintf("a payload of %d to %d bytes", stampBytes, 32<<10))
	check(s.Duration > 0, "a duration")
	return errors.Join(problems...)
}

// Run starts or finds the server, drives the scenario and reports. Progress goes to progress as plain lines.
func Run(ctx context.Context, target Target, s Scenario, progress io.Writer) (report Report, err error) {
	if err := s.Validate(); err != nil {
		return Report{}, fmt.Errorf("scenario %s: %w", s.Name, err)
	}
	srv, err := startServer(ctx, target, progress)
	if err != nil {
		return Report{}, err
	}
	defer func() { err = errors.Join(err, srv.stop()) }()

	started := time.Now()
	clients, err := connect(ctx, srv.url, s, started)
	if err != nil {
		return Report{}, err
	}
	_, _ = fmt.Fprintf(progress, "%d connections joined in %.1f s\n", len(clients), time.Since(started).Seconds())
	return measure(ctx, srv, s, clients)
}

// connect opens all connections, 32 at a time, and joins each to its room.
func connect(ctx context.Context, url string, s Scenario, started time.Time) ([]*client, error) {
	clients := make([]*client, s.Connections)
	errs := make([]error, s.Connections)
	slots := make(chan struct{}, 32)
	var wait sync.WaitGroup
	for i := range clients {
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			clients[i], errs[i] = joinRoom(ctx, url, fmt.Sprintf("bench-%d", i%s.Rooms), s, started, i < probes)
		})
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		for _, c := range clients {
			if c != nil {
				c.close()
			}
		}
		return nil, fmt.Errorf("connect: %w", err)
	}
	return clients, nil
}

// measure warms up, counts for the scenario's duration and closes the clients.
func measure(ctx context.Context, srv *server, s Scenario, clients []*client) (Report, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var readers, writers sync.WaitGroup
	for _, c := range clients {
		readers.Go(func() {
			if err := c.read(); ctx.Err() == nil {
				cancel(err)
			}
		})
	}
	for i, c := range clients[:s.Publishers] {
		writers.Go(func() {
			if err := c.publish(ctx, s, i); err != nil && ctx.Err() == nil {
				cancel(err)
			}
		})
	}
	report := Report{
		Scenario: s.Name, Connections: s.Connections, Rooms: s.Rooms, Window: s.Window, Rate: s.Rate, PayloadSize: s.Payload,
	}
	err := pause(ctx, s.Warmup)
	if err == nil {
		err = count(ctx, srv, s, clients, &report)
	}
	cancel(errDone)
	for _, c := range clients {
		c.close()
	}
	writers.Wait()
	readers.Wait()
	if err != nil {
		return Report{}, fmt.Errorf("scenario %s: %w", s.Name, err)
	}
	ack, delivery := newHistogram(), newHistogram()
	for _, c := range clients {
		report.Misordered += c.misordered
		ack.Merge(c.ackTimes())
		delivery.Merge(c.deliveryTimes())
	}
	report.AckMillis, report.DeliveryMillis = percentiles(ack), percentiles(delivery)
	report.finish()
	return report, nil
}

var errDone = errors.New("the run is over")

// count fills in what happened between now and the end of the scenario's duration.
func count(ctx context.Context, srv *server, s Scenario, clients []*client, report *Report) error {
	before, err := sample(srv, clients)
	if err != nil {
		return err
	}
	for _, c := range clients {
		c.measuring.Store(true)
	}
	if err := pause(ctx, s.Duration); err != nil {
		return err
	}
	after, err := sample(srv, clients)
	if err != nil {
		return err
	}
	report.Seconds = after.at.Sub(before.at).Seconds()
	report.ServerCPUSeconds = (after.server.cpu - before.server.cpu).Seconds()
	report.ClientCPUSeconds = (after.client - before.client).Seconds()
	report.ServerResidentMiB = float64(after.server.residentBytes) / (1 << 20)
	report.Published = after.acked - before.acked
	report.Delivered = after.delivered - before.delivered
	report.Refused = after.refused - before.refused
	return nil
}

type totals struct {
	at                        time.Time
	server                    usage
	client                    time.Duration
	acked, delivered, refused uint64
}

func sample(srv *server, clients []*client) (totals, error) {
	t := totals{at: time.Now()}
	var err error
	if t.server, err = processUsage(srv.pid); err != nil {
		return totals{}, err
	}
	var own syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &own); err != nil {
		return totals{}, fmt.Errorf("read own usage: %w", err)
	}
	t.client = time.Duration(own.Utime.Nano() + own.Stime.Nano())
	for _, c := range clients {
		t.acked += c.acked.Load()
		t.delivered += c.delivered.Load()
		t.refused += c.refused.Load()
	}
	return t, nil
}

// pause waits for d or the cause of the context's end.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
