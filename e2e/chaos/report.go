package chaos

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/parley-rt/parley/e2e/history"
)

// Outage is how long something was not available because of one strike.
type Outage struct {
	Class string
	// What is a room, or a producer for faults of gateways and of the ways to them.
	What string
	Took time.Duration
}

// Outages measures the strikes that came alone: for faults of gateways, and of the ways between them and rooms nodes, how long each
// producer that was connected there had no acknowledgement, for the others how long each room had none that the hit node wrote, or
// every room for what all share. It is the longest such time until a while after the fault's end: a handed over room has its pause
// some time after SIGTERM.
func Outages(strikes []*Strike, records []*history.Record, gateways []string) []Outage {
	var all []Outage
	for _, s := range strikes {
		if !s.Alone {
			continue
		}
		until := s.To + quietLeast
		for _, r := range records {
			switch {
			case strings.HasPrefix(r.Room, "silent"):
			case slices.Contains(gateways, s.Target) || slices.Contains(gateways, s.Peer):
				if !strings.HasPrefix(s.Class, "gateway") {
					all = appendAround(all, s, r, until)
					continue
				}
				for _, c := range r.Chains {
					if through(c, s) {
						all = append(all, Outage{s.Class, r.Room + "/" + c.Name, longestGap(acksOf(c), s.From, until)})
					}
				}
			default:
				all = appendRoom(all, s, r, until)
			}
		}
	}
	return all
}

// noFault is the class of what Calm measures.
const noFault = "(none)"

// Calm measures the same of every room in the times without faults: the load alone leaves such gaps.
func Calm(healings []history.Healing, records []*history.Record) []Outage {
	var all []Outage
	for _, h := range healings {
		for _, r := range records {
			if !strings.HasPrefix(r.Room, "silent") {
				all = append(all, Outage{noFault, r.Room, longestGap(acksIn(r), h.From+calmAfter, h.To-calmAfter)})
			}
		}
	}
	return all
}

// calmAfter keeps what a fault leaves behind out of the times without one.
const calmAfter = time.Second

func acksIn(r *history.Record) []time.Duration {
	var acks []time.Duration
	for _, c := range r.Chains {
		acks = append(acks, acksOf(c)...)
	}
	return acks
}

// appendAround measures what one gateway and the rooms node that writes a room cannot tell each other, which must go around: each
// producer of such a room at that gateway for itself, and the room through all others.
func appendAround(all []Outage, s *Strike, r *history.Record, until time.Duration) []Outage {
	if !slices.Contains(s.Owned, r.Room) {
		return all
	}
	var acks []time.Duration
	others := 0
	for _, c := range r.Chains {
		switch {
		case through(c, s):
			all = append(all, Outage{s.Class, r.Room + "/" + c.Name, longestGap(acksOf(c), s.From, until)})
		case !c.Blind:
			acks = append(acks, acksOf(c)...)
			others++
		}
	}
	if others == 0 {
		return all
	}
	return append(all, Outage{s.Class, r.Room, longestGap(acks, s.From, until)})
}

func appendRoom(all []Outage, s *Strike, r *history.Record, until time.Duration) []Outage {
	shared := s.Target == postgres || s.Target == controlPlane
	if !shared && !slices.Contains(s.Owned, r.Room) {
		return all
	}
	return append(all, Outage{s.Class, r.Room, longestGap(acksIn(r), s.From, until)})
}

// through tells whether the producer was connected to the hit gateway.
func through(c *history.Chain, s *Strike) bool {
	return slices.ContainsFunc(c.Conns, func(conn history.Conn) bool {
		return slices.Contains(s.side(), conn.Gateway) && conn.Opened < s.From && (conn.Ended == 0 || conn.Ended > s.From)
	})
}

func acksOf(c *history.Chain) []time.Duration {
	var acks []time.Duration
	for _, a := range c.Attempts {
		if a.Outcome == history.Stored {
			acks = append(acks, a.Answered)
		}
	}
	return acks
}

// longestGap is the longest time without an ack that begins at from or later and before until.
func longestGap(acks []time.Duration, from, until time.Duration) time.Duration {
	slices.Sort(acks)
	last, longest := from, time.Duration(0)
	for _, at := range acks {
		if at <= from {
			continue
		}
		if last >= until {
			break
		}
		longest = max(longest, at-last)
		last = at
	}
	if last == from { // none at all is the longest there is
		return until - from
	}
	return longest
}

// budgets are what is promised about the time until a room takes publishes again: the median, and the slowest of a hundred.
var budgets = map[string][2]time.Duration{
	"rooms killed":            {time.Second, 5 * time.Second},
	"rooms frozen":            {4 * time.Second, 10 * time.Second},
	"rooms cut from rooms":    {4 * time.Second, 10 * time.Second},
	"rooms cut from gateway":  {4 * time.Second, 10 * time.Second},
	"rooms cut from postgres": {4 * time.Second, 10 * time.Second},
	"nodes split off":         {4 * time.Second, 10 * time.Second},
	"rooms drained":           {250 * time.Millisecond, 250 * time.Millisecond},
}

// outageSlack is what a busy machine may add to the budget of a single outage.
const outageSlack = 10 * time.Second

// Overdue are the outages that took longer than even the slowest may (L3). Pauses of hand-overs are shorter than producers'
// paces, and measured elsewhere.
func Overdue(outages []Outage) []history.Violation {
	var all []history.Violation
	for _, o := range outages {
		if b, ok := budgets[o.Class]; ok && o.Class != "rooms drained" && o.Took > b[1]+outageSlack {
			all = append(all, history.Violation{Promise: "L3", Room: o.What, Text: fmt.Sprintf("%s: nothing was acknowledged for %v, %v is the most",
				o.Class, o.Took.Round(time.Millisecond), b[1])})
		}
	}
	return all
}

// Table shows the outages by class.
func Table(outages []Outage) string {
	byClass := make(map[string][]time.Duration)
	for _, o := range outages {
		byClass[o.Class] = append(byClass[o.Class], o.Took)
	}
	classes := make([]string, 0, len(byClass))
	for c := range byClass {
		classes = append(classes, c)
	}
	slices.SortFunc(classes, func(a, b string) int { return cmp.Compare(a, b) })
	var text strings.Builder
	fmt.Fprintf(&text, "%-32s %6s %8s %8s %8s   %s\n", "fault", "count", "p50", "p99", "max", "budget p50, p99")
	for _, c := range classes {
		took := byClass[c]
		slices.Sort(took)
		at := func(q float64) time.Duration { return took[int(q*float64(len(took)-1))].Round(time.Millisecond) }
		budget := ""
		if b, ok := budgets[c]; ok {
			budget = fmt.Sprintf("%v, %v", b[0], b[1])
		}
		fmt.Fprintf(&text, "%-32s %6d %8v %8v %8v   %s\n", c, len(took), at(0.5), at(0.99), at(1), budget)
	}
	return text.String()
}
