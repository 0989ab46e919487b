// Package durability kills the built binary under load and checks what its clients were promised.
package durability

import (
	"fmt"
	"sort"
	"sync"
	"time"
)

// entry is one message as somebody saw it.
type entry struct {
	seq, prevSeq uint64
	id, sender   string
	content      string
}

// history records what the clients of one room saw, and checks it against what the room holds in the end.
type history struct {
	room string

	mu sync.Mutex
	// acked maps message ids to the seq of their ack.
	acked map[string]uint64
	// refused are ids of which an attempt was refused: they are left out of the order promise.
	refused map[string]bool
	// streams are what each reader received, over all its connections.
	streams [][]entry
	// slowest is how long the slowest answer to a publish took.
	slowest time.Duration
	// violations seen while recording.
	violations []string
	// waiting get the next ack.
	waiting []chan<- acked
}

// acked is an ack that came.
type acked struct {
	seq uint64
	at  time.Time
}

func newHistory(room string) *history {
	return &history{room: room, acked: map[string]uint64{}, refused: map[string]bool{}}
}

func (h *history) ack(id string, seq uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if before, ok := h.acked[id]; ok && before != seq {
		h.violations = append(h.violations, fmt.Sprintf("S2: %s was acknowledged at %d and at %d", id, before, seq))
	}
	h.acked[id] = seq
	for _, c := range h.waiting {
		c <- acked{seq: seq, at: time.Now()} // it has room for one
	}
	h.waiting = nil
}

// next returns a channel that gets the next ack.
func (h *history) next() <-chan acked {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := make(chan acked, 1)
	h.waiting = append(h.waiting, c)
	return c
}

// highest is the highest seq that was acknowledged.
func (h *history) highest() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	var seq uint64
	for _, s := range h.acked {
		seq = max(seq, s)
	}
	return seq
}

// noted are the violations seen so far.
func (h *history) noted() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.violations...)
}

func (h *history) refuse(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refused[id] = true
}

func (h *history) answered(took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.slowest = max(h.slowest, took)
}

func (h *history) stream(s []entry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.streams = append(h.streams, s)
}

func (h *history) note(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.violations = append(h.violations, fmt.Sprintf(format, args...))
}

func (h *history) acknowledged() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.acked)
}

// check returns every violation of S1 to S5, given the room's whole content read back at the end.
func (h *history) check(content []entry) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	found := append([]string(nil), h.violations...)
	report := func(format string, args ...any) {
		found = append(found, h.room+": "+fmt.Sprintf(format, args...))
	}
	byID, bySeq := map[string]entry{}, map[uint64]entry{}
	var cursor uint64
	for _, e := range content {
		if e.prevSeq != cursor || e.seq <= cursor {
			report("S5: message %d says it follows %d, it follows %d", e.seq, e.prevSeq, cursor)
		}
		cursor = e.seq
		key := e.sender + "\x00" + e.id
		if first, ok := byID[key]; ok {
			report("S3: %s of %s is stored at %d and %d", e.id, e.sender, first.seq, e.seq)
		}
		byID[key], bySeq[e.seq] = e, e
	}
	for id, seq := range h.acked {
		if stored, ok := bySeq[seq]; !ok || stored.id != id {
			report("S1: %s was acknowledged at %d; there is %q", id, seq, stored.id)
		}
	}
	found = append(found, h.checkOrder(content)...)
	for i, stream := range h.streams {
		for j, e := range stream {
			if stored := bySeq[e.seq]; stored != e {
				report("S2: reader %d received %+v; stored is %+v", i, e, stored)
			}
			if j > 0 && e.prevSeq != stream[j-1].seq {
				report("S5: reader %d received %d (after %d) behind %d", i, e.seq, e.prevSeq, stream[j-1].seq)
			}
		}
	}
	return found
}

// checkOrder: the ids "<publisher>/<n>" of a publisher must be stored with rising n, but for those of which an attempt
// was refused (S4).
func (h *history) checkOrder(content []entry) []string {
	var found []string
	last := map[string]int{}
	for _, e := range content {
		publisher, n, err := splitID(e.id)
		if err != nil {
			found = append(found, err.Error())
			continue
		}
		if h.refused[e.id] {
			continue
		}
		if n <= last[publisher] {
			found = append(found, fmt.Sprintf("S4: %s of %s is stored after %d", e.id, h.room, last[publisher]))
		}
		last[publisher] = n
	}
	return found
}

func splitID(id string) (publisher string, n int, err error) {
	if _, err := fmt.Sscanf(id, "%s %d", &publisher, &n); err != nil {
		return "", 0, fmt.Errorf("foreign message id %q: %w", id, err)
	}
	return publisher, n, nil
}

// missing lists what a complete reader lacks of the content after its first message.
func missing(stream, content []entry) []uint64 {
	if len(stream) == 0 {
		return nil
	}
	have := map[uint64]bool{}
	for _, e := range stream {
		have[e.seq] = true
	}
	var lacking []uint64
	for _, e := range content {
		if e.seq > stream[0].seq && !have[e.seq] {
			lacking = append(lacking, e.seq)
		}
	}
	sort.Slice(lacking, func(i, j int) bool { return lacking[i] < lacking[j] })
	return lacking
}
