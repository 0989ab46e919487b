package history

import (
	"fmt"
	"time"
)

// Bounds are the promises that are numbers. Each has a margin for the time that a busy machine takes to notice.
type Bounds struct {
	// Answer is how soon a publish is answered (L1).
	Answer time.Duration
	// Deliver is how soon an acknowledged message reaches the members while a node is dead or frozen (L2).
	Deliver time.Duration
	// Head is how soon a connected member reaches the head after a healing, Reconnect how soon it is connected at all (L2).
	Head, Reconnect time.Duration
	// Writable is how soon after a healing a publish is acknowledged (L3).
	Writable time.Duration
	// Duel is how soon after a healing a room has one writer; afterwards it may change Claims times until the next fault (L6).
	Duel   time.Duration
	Claims int
	// ReplayLimit is how many missed messages a server sends again.
	ReplayLimit int
	// LostTail: the run loses acknowledged messages on purpose, so streams may be rewound.
	LostTail bool
}

// DefaultBounds are the promised ones with a second for the machine that the test shares with everything it tests.
func DefaultBounds() Bounds {
	const margin = time.Second
	return Bounds{
		Answer: 5*time.Second + margin, Deliver: 10*time.Second + margin, Head: 5*time.Second + margin, Reconnect: 10 * time.Second,
		Writable: 10*time.Second + margin, Duel: 5 * time.Second, Claims: 1, ReplayLimit: 10_000,
	}
}

// Check returns every violation in the record, those of safety first.
func Check(r *Record, b Bounds) []Violation {
	c := &checker{record: r, bounds: b, bySeq: make(map[uint64]*Entry, len(r.Content)), found: append([]Violation(nil), r.Notes...)}
	c.content()
	c.rows()
	c.acknowledged()
	c.realTime()
	c.order()
	for _, s := range r.Streams {
		c.stream(s)
	}
	c.answered()
	for _, p := range r.Prompt {
		c.delivered(p)
	}
	for _, h := range r.Healings {
		c.reached(h)
		c.writable(h)
		c.settled(h)
	}
	return c.found
}

// checker collects violations. bySeq is the content.
type checker struct {
	record *Record
	bounds Bounds
	bySeq  map[uint64]*Entry
	found  []Violation
}

func (c *checker) report(promise, format string, args ...any) {
	c.found = append(c.found, Violation{Promise: promise, Room: c.record.Room, Text: fmt.Sprintf(format, args...)})
}

func (c *checker) head() uint64 {
	if n := len(c.record.Content); n > 0 {
		return c.record.Content[n-1].Seq
	}
	return 0
}

func round(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
