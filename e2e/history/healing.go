package history

import "time"

// reached: whatever was acknowledged before the healing, every member has soon after it, or after it is connected again.
func (c *checker) reached(healed time.Duration) {
	head := c.acknowledgedBy(healed)
	if head == 0 {
		return
	}
	for _, s := range c.record.Streams {
		c.reachedBy(s, head, healed)
	}
}

func (c *checker) acknowledgedBy(t time.Duration) uint64 {
	var head uint64
	for _, chain := range c.record.Chains {
		for _, a := range chain.Attempts {
			if a.Outcome == Stored && a.Answered <= t {
				head = max(head, a.Seq)
			}
		}
	}
	return head
}

// reachedBy finds when the stream got past head, not counting the time before it was in the room.
func (c *checker) reachedBy(s *Stream, head uint64, healed time.Duration) {
	var cursor uint64
	in, began := false, false
	clock := healed // when the member's time began to run
	for _, e := range s.Events {
		if e.At > healed && began && cursor >= head {
			return
		}
		limit := c.bounds.Head
		if !in {
			limit = c.bounds.Reconnect
		}
		if e.At > healed && began && e.At-clock > limit {
			break
		}
		switch e.Kind {
		case Joined:
			in = true
			cursor = e.Place.Seq
			if e.Place.After != nil {
				cursor = *e.Place.After
			}
			if e.At > healed && !began {
				return // it came later, on its own account
			}
			began = true
			clock = max(clock, e.At)
		case Received:
			cursor = e.Entry.Seq
		case Reset:
			cursor = e.Place.Seq
		case Away:
			in = false
			clock = max(clock, e.At)
		}
	}
	switch {
	case !began || cursor >= head:
	case in:
		c.report("L2", "%s stood at %d, %v after the faults ended at %v (or it came back); %d was acknowledged before", s.Member, cursor,
			c.bounds.Head, round(healed), head)
	default:
		c.report("L2", "%s was not back in the room %v after the faults ended at %v", s.Member, c.bounds.Reconnect, round(healed))
	}
}

// writable: somebody's publish is acknowledged soon after the healing.
func (c *checker) writable(healed time.Duration) {
	asked := false
	for _, chain := range c.record.Chains {
		for _, a := range chain.Attempts {
			if a.Outcome == Stored && a.Answered > healed && a.Answered <= healed+c.bounds.Writable {
				return
			}
			// One that was asked for in the last moment proves nothing.
			asked = asked || a.Asked <= healed+c.bounds.Writable/2 && (a.Answered > healed || a.Outcome == Unanswered && a.Asked > healed)
		}
	}
	if asked {
		c.report("L3", "no publish was acknowledged within %v after the faults ended at %v", c.bounds.Writable, round(healed))
	}
}

// settled: once the time for a duel is over, the writer stays until the next healing is due.
func (c *checker) settled(healed time.Duration) {
	from, to := healed+c.bounds.Duel, healed+2*c.bounds.Duel
	var first, last *Claim
	for i := range c.record.Claims {
		claim := &c.record.Claims[i]
		if claim.At < from || claim.At > to {
			continue
		}
		if first == nil {
			first = claim
		}
		last = claim
	}
	if first != nil && last.Epoch > first.Epoch+uint64(c.bounds.Claims) {
		c.report("L6", "%v after the faults ended at %v the room is in epoch %d of %s, %v later in epoch %d of %s", round(first.At-healed), round(healed),
			first.Epoch, first.Owner, round(last.At-first.At), last.Epoch, last.Owner)
	}
}
