package persistencetest

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/parley-rt/parley/libs/persistence"
)

// maxViolations bounds what Check reports of one invariant: the first ones say what is wrong.
const maxViolations = 50

// Check reads the whole store back and returns which invariants it breaks, at most 50 violations of each. Nobody may be
// writing meanwhile, and the store may hold nothing but what the history tells of. feed may be nil, then I6 is left out.
// The error is that of reading, after which the violations are not all.
func (h *History) Check(ctx context.Context, j persistence.Journal, feed persistence.Feed) ([]Violation, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := &check{counts: map[Invariant]int{}, streams: map[persistence.StreamKey]*streamRows{}}
	c.add(h.found...)
	if feed != nil {
		if err := c.readFeed(ctx, feed); err != nil {
			return c.violations, err
		}
	}
	keys := map[persistence.StreamKey]struct{}{}
	for key := range h.streams {
		keys[key] = struct{}{}
	}
	for _, r := range c.feed {
		keys[r.key] = struct{}{}
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if err := c.readStream(ctx, j, key); err != nil {
			return c.violations, err
		}
		s, known := h.streams[key]
		if !known {
			s = &streamHistory{}
		}
		c.stream(key, s)
	}
	if feed != nil {
		c.compareFeed()
		c.compareConsumers(h.consumers)
	}
	return c.violations, nil
}

// check is one run of Check.
type check struct {
	violations []Violation
	counts     map[Invariant]int
	streams    map[persistence.StreamKey]*streamRows
	feed       []feedRow
}

func (c *check) add(violations ...Violation) {
	for _, v := range violations {
		if c.counts[v.Invariant]++; c.counts[v.Invariant] <= maxViolations {
			c.violations = append(c.violations, v)
		}
	}
}

func (c *check) failed(i Invariant, key persistence.StreamKey, format string, args ...any) {
	c.add(Violation{i, key, fmt.Sprintf(format, args...)})
}

// stream checks I1, I3, I4, I5 and I7.
func (c *check) stream(key persistence.StreamKey, s *streamHistory) {
	stored := c.streams[key]
	c.epochs(key, s, stored)
	calls := map[[16]byte][]*Call{}
	for _, call := range s.calls {
		for _, id := range call.ids {
			calls[id] = append(calls[id], call)
		}
	}
	c.once(key, stored)
	c.writers(key, s, stored, calls)
	c.acknowledged(key, s, stored)
	c.unacknowledged(key, s, stored, calls)
}

// epochs checks I3.
func (c *check) epochs(key persistence.StreamKey, s *streamHistory, stored *streamRows) {
	epoch := uint64(0)
	for _, r := range stored.rows {
		if r.epoch < epoch {
			c.failed(I3, key, "epoch falls from %d to %d at %d", epoch, r.epoch, r.seq)
		}
		epoch = max(epoch, r.epoch)
	}
	if epoch > stored.head.Epoch {
		c.failed(I3, key, "an event has epoch %d, the head %d", epoch, stored.head.Epoch)
	}
	c.heads(key, s, stored)
}

// heads checks that claims part the seqs: what is below the head a claim returned is older, what is above is not.
func (c *check) heads(key persistence.StreamKey, s *streamHistory, stored *streamRows) {
	first, last := map[uint64]uint64{}, map[uint64]uint64{} // seqs by epoch
	for _, r := range stored.rows {
		if _, known := first[r.epoch]; !known {
			first[r.epoch] = r.seq
		}
		last[r.epoch] = r.seq
	}
	events := slices.Sorted(maps.Keys(first))
	highest := uint64(0) // seq of the epochs below the claim's
	for _, claimed := range slices.Sorted(maps.Keys(s.claims)) {
		for len(events) > 0 && events[0] < claimed {
			highest = max(highest, last[events[0]])
			events = events[1:]
		}
		claim := s.claims[claimed]
		if highest > claim.lastSeq {
			c.failed(I3, key, "event %d has an older epoch than %d, but the claim of that by %s returned the head %d",
				highest, claimed, claim.writer, claim.lastSeq)
		}
		if len(events) > 0 && first[events[0]] <= claim.lastSeq {
			c.failed(I3, key, "event %d has epoch %d, but the claim of epoch %d by %s returned the head %d",
				first[events[0]], events[0], claimed, claim.writer, claim.lastSeq)
		}
	}
}

// once checks I5.
func (c *check) once(key persistence.StreamKey, stored *streamRows) {
	seen := map[[16]byte]uint64{}
	for _, r := range stored.rows {
		if at, twice := seen[r.id]; twice {
			c.failed(I5, key, "id %x is stored at %d and at %d", r.id, at, r.seq)
		}
		seen[r.id] = r.seq
	}
}

// writers checks I4 by who wrote what is stored; claims of one epoch were compared as they were recorded.
func (c *check) writers(key persistence.StreamKey, s *streamHistory, stored *streamRows, calls map[[16]byte][]*Call) {
	writer := map[uint64]string{}
	for epoch, claim := range s.claims {
		writer[epoch] = claim.writer
	}
	for _, r := range stored.rows {
		call := storing(calls[r.id], r)
		if call == nil {
			continue // I7
		}
		if other, known := writer[r.epoch]; known && other != call.writer {
			c.failed(I4, key, "epoch %d has events of %s and, at %d, of %s", r.epoch, other, r.seq, call.writer)
			continue
		}
		writer[r.epoch] = call.writer
	}
}

// acknowledged checks I1.
func (c *check) acknowledged(key persistence.StreamKey, s *streamHistory, stored *streamRows) {
	by := map[uint64]*Call{}
	for _, call := range s.calls {
		if call.outcome != acknowledged {
			continue
		}
		for i, id := range call.ids {
			seq := call.expected + 1 + uint64(i)
			if other, twice := by[seq]; twice {
				c.failed(I1, key, "seq %d was acknowledged to %s and to %s", seq, other.writer, call.writer)
			}
			by[seq] = call
			if seq <= stored.head.TrimSeq {
				continue
			}
			r, found := stored.at(seq)
			switch {
			case !found:
				c.failed(I1, key, "event %d, acknowledged to %s in epoch %d, is missing", seq, call.writer, call.epoch)
			case r.id != id || r.epoch != call.epoch:
				c.failed(I1, key, "event %d is %x of epoch %d, acknowledged to %s was %x of epoch %d",
					seq, r.id, r.epoch, call.writer, id, call.epoch)
			}
		}
	}
}

// storing returns the call that may have stored the row: the acknowledged one, or one whose outcome nobody was told.
func storing(calls []*Call, r row) (by *Call) {
	for _, call := range calls {
		if call.outcome == refused || call.epoch != r.epoch || r.seq <= call.expected || r.seq > call.expected+uint64(len(call.ids)) {
			continue
		}
		if call.ids[r.seq-call.expected-1] != r.id {
			continue
		}
		if by == nil || call.outcome == acknowledged {
			by = call
		}
	}
	return by
}

// unacknowledged checks I7.
func (c *check) unacknowledged(key persistence.StreamKey, s *streamHistory, stored *streamRows, calls map[[16]byte][]*Call) {
	count := map[*Call]int{}
	for _, r := range stored.rows {
		if call := storing(calls[r.id], r); call != nil {
			count[call]++
			continue
		}
		c.failed(I7, key, "event %d (%x of epoch %d) is stored, %s", r.seq, r.id, r.epoch, strangers(calls[r.id]))
	}
	for _, call := range s.calls {
		n := count[call]
		if n > 0 && n < len(call.ids) && call.outcome != acknowledged && call.expected >= stored.head.TrimSeq {
			c.failed(I7, key, "%d of the %d events after %d by %s are stored", n, len(call.ids), call.expected, call.writer)
		}
	}
}

func strangers(calls []*Call) string {
	if len(calls) == 0 {
		return "which nobody appended"
	}
	call := calls[0]
	for _, other := range calls {
		if other.outcome != refused {
			call = other
		}
	}
	if call.outcome == refused {
		return fmt.Sprintf("although the append by %s in epoch %d was refused", call.writer, call.epoch)
	}
	return fmt.Sprintf("although %s wanted it after %d in epoch %d", call.writer, call.expected, call.epoch)
}
