//go:build linux

package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
)

// Options say how scenarios are run.
type Options struct {
	Target Target
	// Rounds is how often each server gets its turn; the median counts.
	Rounds int
	// Alone leaves the bare hub out.
	Alone bool
}

// Run drives one scenario against the server and the bare hub in turn, each started for its turn unless the target says where the
// server is. Progress is told as it goes.
func Run(ctx context.Context, opts Options, s Scenario, progress Progress) (Comparison, error) {
	if err := s.Validate(); err != nil {
		return Comparison{}, fmt.Errorf("scenario %s: %w", s.Name, err)
	}
	var results, bare []Result
	for round := range max(1, opts.Rounds) {
		if !opts.Alone && !s.TLS {
			progress.Begin(fmt.Sprintf("%s: bare hub, round %d", s.Title, round+1), s)
			r, err := once(ctx, hubTarget(s), s)
			if err != nil {
				return Comparison{}, fmt.Errorf("scenario %s, bare hub: %w", s.Name, err)
			}
			bare = append(bare, r)
		}
		progress.Begin(fmt.Sprintf("%s: parley, round %d", s.Title, round+1), s)
		target := opts.Target
		target.tls = s.TLS
		r, err := once(ctx, target, s)
		if err != nil {
			return Comparison{}, fmt.Errorf("scenario %s: %w", s.Name, err)
		}
		results = append(results, r)
	}
	return compare(s, results, bare), nil
}

// once is one turn of one server.
func once(ctx context.Context, t Target, s Scenario) (r Result, err error) {
	s.run = strconv.FormatUint(uint64(rand.Uint32()), 36)
	srv, err := startServer(ctx, t)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, srv.stop()) }()
	g, err := newGenerator(ctx, srv.url, s.Payload)
	if err != nil {
		return Result{}, err
	}
	defer g.close()
	drive := map[Kind]func(*generator, *server, Scenario) (Result, error){Traffic: traffic, Idle: idle, Recovery: recovery, Storm: storm}[s.Kind]
	if s.TLS {
		drive = idleTLS
	}
	if r, err = drive(g, srv, s); err != nil {
		return Result{}, err
	}
	r.finish(s.Unit)
	return r, nil
}

// hubTarget is the bare hub in a process of its own, of this binary.
func hubTarget(s Scenario) Target {
	tail := 0
	if s.Kind == Recovery {
		tail = s.Missed
	}
	return Target{Command: []string{"bench", "hub", "--listen", "127.0.0.1:0", "--tail", strconv.Itoa(tail)}}
}

// compare takes the round in the middle of each.
func compare(s Scenario, results, bare []Result) Comparison {
	weight := func(r Result) float64 {
		if s.Kind == Idle {
			return r.KiBLater
		}
		return r.PerCPU
	}
	middle := func(rs []Result) Result {
		slices.SortFunc(rs, func(a, b Result) int { return cmp.Compare(weight(a), weight(b)) })
		return rs[len(rs)/2]
	}
	c := Comparison{
		Scenario: s.Name, Title: s.Title, Rooms: s.Rooms, Connections: s.Connections, Payload: s.Payload, InFlight: s.InFlight, Rate: s.Rate,
		Unit: s.Unit, Budget: s.Budget, Parley: middle(results), Faults: faults(results) + faults(bare),
	}
	if len(bare) > 0 {
		b := middle(bare)
		c.BareHub = &b
		if w := weight(b); w > 0 {
			c.Ratio = weight(c.Parley) / w
		}
	}
	c.judge()
	return c
}
