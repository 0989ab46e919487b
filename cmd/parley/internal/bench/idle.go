//go:build linux

package bench

import (
	"fmt"
	"time"
)

// openAtOnce connections are being opened at any time.
const openAtOnce = 64

// idle opens connections that do nothing but answer pings, and weighs the server before, after, and some time later.
func idle(g *generator, srv *server, s Scenario) (Result, error) {
	g.shrink = true
	return weigh(g, srv, s, func() error { return g.open(newConns(s), openAtOnce) })
}

// weigh weighs the server around an opening of the scenario's connections, and while they idle.
func weigh(g *generator, srv *server, s Scenario, open func() error) (Result, error) {
	before, err := processUsage(srv.pid)
	if err != nil {
		return Result{}, err
	}
	m, err := begin(g, srv)
	if err != nil {
		return Result{}, err
	}
	if err := open(); err != nil {
		return Result{}, fmt.Errorf("connect: %w", err)
	}
	opened, err := m.end(g, srv)
	if err != nil {
		return Result{}, err
	}
	joined, err := processUsage(srv.pid)
	if err != nil {
		return Result{}, err
	}
	// What the opening left to do is no cost of idleness.
	if err := g.run(time.Now().Add(s.Warmup), never); err != nil {
		return Result{}, err
	}
	if m, err = begin(g, srv); err != nil {
		return Result{}, err
	}
	if err := g.run(time.Now().Add(s.Duration), never); err != nil {
		return Result{}, err
	}
	r, err := m.end(g, srv)
	if err != nil {
		return Result{}, err
	}
	later, err := processUsage(srv.pid)
	if err != nil {
		return Result{}, err
	}
	r.weigh(s.Connections, before, joined, later, opened)
	r.Open = percentiles(g.opens)
	return r, nil
}
