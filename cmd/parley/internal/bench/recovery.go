//go:build linux

package bench

import (
	"fmt"
	"time"
)

// recovery fills the rooms, and then lets everybody come at once who has seen nothing of that.
func recovery(g *generator, srv *server, s Scenario) (Result, error) {
	if err := fill(g, s); err != nil {
		return Result{}, fmt.Errorf("fill rooms: %w", err)
	}
	g.delivered, g.gaps, g.busy, g.opens = 0, 0, 0, newHistogram()
	conns := newConns(s)
	for _, c := range conns {
		c.after, c.chained = "0", true
	}
	done, times := 0, newHistogram()
	g.onMsg = func(c *conn) {
		if c.received == s.Missed {
			done++
			record(times, time.Since(c.began).Nanoseconds())
		}
	}
	m, err := begin(g, srv)
	if err != nil {
		return Result{}, err
	}
	if err := g.open(conns, len(conns)); err != nil {
		return Result{}, fmt.Errorf("come back: %w", err)
	}
	const patience = time.Minute
	if err := g.run(time.Now().Add(patience), func() bool { return done == len(conns) }); err != nil {
		return Result{}, err
	}
	if done < len(conns) {
		return Result{}, fmt.Errorf("%d of %d clients have what they missed after %s", done, len(conns), patience)
	}
	r, err := m.end(g, srv)
	if err != nil {
		return Result{}, err
	}
	for _, c := range conns {
		if c.received != s.Missed {
			r.Gaps++
		}
	}
	r.Open, r.Recovery = percentiles(g.opens), percentiles(times)
	return r, nil
}

// fill publishes what is missed later, with one connection for each room.
func fill(g *generator, s Scenario) error {
	s.Connections, s.Publishers = s.Rooms, s.Rooms
	conns := newConns(s)
	const window = 64
	for _, c := range conns {
		c.due = make([]int64, 2*window)
	}
	if err := g.open(conns, 32); err != nil {
		return err
	}
	full := 0
	g.onAck = func(c *conn) {
		switch {
		case int(c.number) < s.Missed:
			g.publish(c, g.now())
		case c.outstanding == 0:
			full++
		}
	}
	for _, c := range conns {
		for range min(window, s.Missed) {
			g.publish(c, g.now())
		}
	}
	if err := g.run(time.Now().Add(2*time.Minute), func() bool { return full == len(conns) }); err != nil {
		return err
	}
	if full < len(conns) || g.refused > 0 {
		return fmt.Errorf("%d of %d rooms filled, %d publishes refused", full, len(conns), g.refused)
	}
	g.onAck = nil
	for _, c := range conns {
		g.drop(c)
	}
	return nil
}

// storm lets everybody connect and join at once.
func storm(g *generator, srv *server, s Scenario) (Result, error) {
	g.shrink = true
	m, err := begin(g, srv)
	if err != nil {
		return Result{}, err
	}
	if err := g.open(newConns(s), s.Connections); err != nil {
		return Result{}, fmt.Errorf("connect: %w", err)
	}
	r, err := m.end(g, srv)
	if err != nil {
		return Result{}, err
	}
	r.Opened = uint64(s.Connections)
	r.Open = percentiles(g.opens)
	return r, nil
}
