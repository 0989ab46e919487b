//go:build linux

package bench

import (
	"fmt"
	"time"
)

// probes is how many connections measure delivery latency: all of them would spend the machine on clocks.
const probes = 8

// traffic publishes in a closed or an open loop and counts what arrives.
func traffic(g *generator, srv *server, s Scenario) (Result, error) {
	conns := newConns(s)
	ring := 1
	for ring < 2*s.Window || s.Rate > 0 && ring < maxWindow/max(1, s.Publishers/16) {
		ring *= 2
	}
	for i, c := range conns {
		c.probe = isProbe(i, len(conns))
		if i < s.Publishers {
			c.due = make([]int64, ring)
		}
	}
	if err := g.open(conns, 32); err != nil {
		return Result{}, fmt.Errorf("connect: %w", err)
	}
	publishers := conns[:s.Publishers]
	if s.Rate > 0 {
		openLoop(g, publishers, s.Rate)
	} else {
		closedLoop(g, publishers, s)
	}
	if err := g.run(time.Now().Add(s.Warmup), never); err != nil {
		return Result{}, err
	}
	if g.acked > 0 && s.Rate == 0 {
		g.expected = max(1, g.ackSum/int64(g.acked)/1000)
	}
	m, err := begin(g, srv)
	if err != nil {
		return Result{}, err
	}
	g.measuring = true
	if err := g.run(time.Now().Add(s.Duration), never); err != nil {
		return Result{}, err
	}
	r, err := m.end(g, srv)
	if err != nil {
		return Result{}, err
	}
	r.Ack, r.Delivery = percentiles(g.acks), percentiles(g.deliveries)
	if s.Rate > 0 {
		r.Lag = percentiles(g.lags)
	}
	return r, nil
}

// isProbe spreads the probes evenly over the connections: servers write to those first that came first.
func isProbe(i, of int) bool { return i*probes/of != (i+1)*probes/of }

func newConns(s Scenario) []*conn {
	conns := make([]*conn, s.Connections)
	for i := range conns {
		conns[i] = &conn{room: fmt.Sprintf("bench-%s-%d", s.run, i%s.Rooms)}
	}
	return conns
}

// closedLoop keeps as many publishes in flight as the scenario says; publishers take turns.
func closedLoop(g *generator, publishers []*conn, s Scenario) {
	turns := s.InFlight < s.Window*len(publishers)
	next := 0
	again := func(c *conn) {
		if turns {
			for range publishers {
				c = publishers[next]
				if next++; next == len(publishers) {
					next = 0
				}
				if c.outstanding < s.Window {
					break
				}
			}
		}
		g.publish(c, g.now())
	}
	g.onAck = again
	begun := false
	g.onTurn = func(int64) {
		if begun {
			return
		}
		begun = true
		for i := range s.InFlight {
			if turns {
				again(nil)
			} else {
				g.publish(publishers[i%len(publishers)], g.now())
			}
		}
	}
}

// openLoop publishes at a rate, whatever the server does.
func openLoop(g *generator, publishers []*conn, rate float64) {
	interval := float64(time.Second) / rate
	begin, count := g.now(), 0
	due := func() int64 { return begin + int64(float64(count+1)*interval) }
	g.nextDue = func() (int64, bool) { return due(), true }
	g.onTurn = func(now int64) {
		for ; due() <= now; count++ {
			if g.measuring {
				record(g.lags, now-due())
			}
			g.publish(publishers[count%len(publishers)], due())
		}
	}
}
