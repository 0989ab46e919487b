package history

import (
	"cmp"
	"slices"
	"time"
)

// acknowledged: what was answered is true for good.
func (c *checker) acknowledged() {
	stored := make(map[string]bool, len(c.bySeq))
	for _, e := range c.bySeq {
		stored[e.ID] = true
	}
	for _, chain := range c.record.Chains {
		seqs := make(map[int]uint64)
		open := make(map[int]bool) // an attempt may have stored it
		for _, a := range chain.Attempts {
			if a.Outcome != RefusedForGood {
				open[a.N] = true
			}
			if a.Outcome != Stored {
				continue
			}
			if before, ok := seqs[a.N]; ok && before != a.Seq {
				c.report("S2", "%q was acknowledged at %d and at %d", chain.ID(a.N), before, a.Seq)
			}
			seqs[a.N] = a.Seq
			if e := c.bySeq[a.Seq]; e == nil || e.ID != chain.ID(a.N) {
				c.report("S1", "%q was acknowledged at %d after %v; there is %+v", chain.ID(a.N), a.Seq, round(a.Answered), e)
			}
		}
		for _, a := range chain.Attempts {
			if a.Outcome == RefusedForGood && !open[a.N] && stored[chain.ID(a.N)] {
				c.report("S1", "%q was refused for good (%s) and is stored", chain.ID(a.N), a.Code)
			}
		}
	}
}

// realTime: a publish that was acknowledged before another was asked for is stored before it.
func (c *checker) realTime() {
	type span struct {
		id             string
		asked, settled time.Duration
		seq            uint64
	}
	var byAsked []span
	for _, chain := range c.record.Chains {
		at := make(map[int]int)
		for _, a := range chain.Attempts {
			i, ok := at[a.N]
			if !ok {
				i = len(byAsked)
				at[a.N] = i
				byAsked = append(byAsked, span{id: chain.ID(a.N), asked: a.Asked})
			}
			if s := &byAsked[i]; a.Outcome == Stored && s.seq == 0 {
				s.settled, s.seq = a.Answered, a.Seq
			}
		}
	}
	byAsked = slices.DeleteFunc(byAsked, func(s span) bool { return s.seq == 0 })
	bySettled := slices.Clone(byAsked)
	slices.SortFunc(byAsked, func(a, b span) int { return cmp.Compare(a.asked, b.asked) })
	slices.SortFunc(bySettled, func(a, b span) int { return cmp.Compare(a.settled, b.settled) })
	var highest span
	next := 0
	for _, s := range byAsked {
		for ; next < len(bySettled) && bySettled[next].settled < s.asked; next++ {
			if bySettled[next].seq > highest.seq {
				highest = bySettled[next]
			}
		}
		if highest.seq >= s.seq {
			c.report("S2", "%q was acknowledged at %d before %q was asked for, which is stored at %d", highest.id, highest.seq, s.id, s.seq)
		}
	}
}

// order: a chain's messages are stored with rising numbers, but for those of which an attempt was refused.
func (c *checker) order() {
	refused := make(map[string]map[int]bool)
	for _, chain := range c.record.Chains {
		if chain.Blind {
			continue
		}
		refused[chain.Name] = make(map[int]bool)
		for _, a := range chain.Attempts {
			if a.Outcome == Refused || a.Outcome == RefusedForGood {
				refused[chain.Name][a.N] = true
			}
		}
	}
	last := make(map[string]int)
	for _, e := range c.record.Content {
		name, n, ok := ParseID(e.ID)
		if !ok || refused[name] == nil || refused[name][n] {
			continue
		}
		if n < last[name] {
			c.report("S4", "%q is stored at %d, behind number %d of its producer", e.ID, e.Seq, last[name])
		}
		last[name] = max(last[name], n)
	}
}

// answered: every attempt on a connection that lived was answered in time.
func (c *checker) answered() {
	for _, chain := range c.record.Chains {
		if chain.Blind {
			continue
		}
		for _, a := range chain.Attempts {
			conn := chain.Conns[a.Conn]
			until := a.Answered
			if a.Outcome == Unanswered {
				until = conn.Ended
			}
			if until == 0 {
				c.report("L1", "%q, asked for after %v through %s, was never answered", chain.ID(a.N), round(a.Asked), conn.Gateway)
				continue
			}
			if took := c.served(conn.Gateway, a.Asked, until); took > c.bounds.Answer {
				c.report("L1", "%q, asked for after %v through %s, was answered (%s) only after %v",
					chain.ID(a.N), round(a.Asked), conn.Gateway, a.Outcome, round(took))
			}
		}
	}
}

// served is the part of a time in which the gateway had no excuse.
func (c *checker) served(gateway string, from, to time.Duration) time.Duration {
	took := to - from
	for _, e := range c.record.Excused {
		if e.Gateway == gateway {
			took -= max(0, min(to, e.To)-max(from, e.From))
		}
	}
	return took
}

// String names the outcome.
func (o Outcome) String() string {
	switch o {
	case Stored:
		return "stored"
	case Refused:
		return "refused"
	case RefusedForGood:
		return "refused for good"
	default:
		return "unanswered"
	}
}
