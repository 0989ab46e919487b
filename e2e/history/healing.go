package history

import "time"

// reached: whatever was acknowledged before the healing, every member has soon after it, or after it is connected again.
func (c *checker) reached(h Healing) {
	head := c.acknowledgedBy(h.From)
	if head == 0 {
		return
	}
	for _, s := range c.record.Streams {
		if !s.Page {
			c.reachedBy(s, head, h)
		}
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

// reachedBy finds when the stream got to head. What happens after the next fault has begun does not count.
func (c *checker) reachedBy(s *Stream, head uint64, h Healing) {
	var cursor uint64
	in, began := false, false
	clock := h.From // when the time began to run that the member now has
	limit := c.bounds.Reconnect
	late := func(now time.Duration) bool { return now <= h.To && now-clock > limit }
	for _, e := range s.Events {
		if e.At > h.From {
			if !began || cursor >= head { // it came later on its own account, or is there
				return
			}
			if late(e.At) {
				c.lag(s, cursor, head, in, h, limit)
				return
			}
		}
		switch e.Kind {
		case Joined:
			in, began = true, true
			cursor = e.Place.Seq
			if e.Place.After != nil {
				cursor = *e.Place.After
			}
			clock, limit = max(h.From, e.At), c.bounds.Head
			if s.Blind {
				limit += c.bounds.Reconnect
			}
		case Received:
			cursor = e.Entry.Seq
		case Reset:
			cursor = e.Place.Seq
		case Leaving:
			began = false
		case Away:
			in = false
			clock, limit = max(h.From, e.At), c.bounds.Reconnect
		}
	}
	if began && cursor < head && late(h.To) {
		c.lag(s, cursor, head, in, h, limit)
	}
}

func (c *checker) lag(s *Stream, cursor, head uint64, in bool, h Healing, limit time.Duration) {
	where := "was in the room"
	if !in {
		where = "was not back in the room"
	}
	c.report("L2", "%s %s and stood at %d, %v after it could have got %d, which was acknowledged before the faults ended at %v",
		s.Member, where, cursor, limit, head, round(h.From))
}

// writable: somebody's publish is acknowledged soon after the healing.
func (c *checker) writable(h Healing) {
	by := h.From + c.bounds.Writable
	if by > h.To {
		return
	}
	asked := false
	for _, chain := range c.record.Chains {
		for _, a := range chain.Attempts {
			if a.Outcome == Stored && a.Answered > h.From && a.Answered <= by {
				return
			}
			// One that was asked for in the last moment proves nothing.
			asked = asked || a.Asked <= h.From+c.bounds.Writable/2 && (a.Answered > h.From || a.Outcome == Unanswered && a.Asked > h.From)
		}
	}
	if asked {
		c.report("L3", "no publish was acknowledged within %v after the faults ended at %v", c.bounds.Writable, round(h.From))
	}
}

// settled: once the time for a duel is over, the writer stays.
func (c *checker) settled(h Healing) {
	var first, last *Claim
	for i := range c.record.Claims {
		claim := &c.record.Claims[i]
		if claim.At < h.From+c.bounds.Duel || claim.At > h.To {
			continue
		}
		if first == nil {
			first = claim
		}
		last = claim
	}
	if first != nil && last.Epoch > first.Epoch+uint64(c.bounds.Claims) {
		c.report("L6", "%v after the faults ended at %v the room was in epoch %d of %s, %v later in epoch %d of %s", round(first.At-h.From),
			round(h.From), first.Epoch, first.Owner, round(last.At-first.At), last.Epoch, last.Owner)
	}
}

// delivered: what is acknowledged in a time reaches everybody who is in the room then and stays there.
func (c *checker) delivered(during Healing) {
	for _, chain := range c.record.Chains {
		for _, a := range chain.Attempts {
			if a.Outcome != Stored || a.Answered < during.From || a.Answered > during.To {
				continue
			}
			for _, s := range c.record.Streams {
				if !s.Page {
					c.deliveredTo(s, a)
				}
			}
		}
	}
}

func (c *checker) deliveredTo(s *Stream, a Attempt) {
	by := a.Answered + c.bounds.Deliver
	var cursor uint64
	in, stayed := false, true
	for _, e := range s.Events {
		if e.At > by {
			break
		}
		stayed = stayed && (e.At <= a.Answered || e.Kind == Received || e.Kind == Reset)
		switch e.Kind {
		case Joined:
			in, cursor = true, e.Place.Seq
			if e.Place.After != nil {
				cursor = *e.Place.After
			}
		case Received:
			cursor = e.Entry.Seq
		case Reset:
			cursor = e.Place.Seq
		case Leaving, Away:
			in = false
		}
	}
	if in && stayed && cursor < a.Seq {
		c.report("L2", "%s was in the room and stood at %d, %v after %d was acknowledged at %v", s.Member, cursor, c.bounds.Deliver, a.Seq, round(a.Answered))
	}
}
