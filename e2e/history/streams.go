package history

// The reasons of a Reset, as the protocol has them.
const (
	ReasonRewound     = "rewound"
	ReasonTrimmed     = "trimmed"
	ReasonReplayLimit = "replay_limit"
)

// stream follows one member: between two openly new beginnings it has every message of the room, once, in order.
func (c *checker) stream(s *Stream) {
	w := &walk{checker: c, member: s.Member}
	for i, e := range s.Events {
		var next *Event
		if i+1 < len(s.Events) {
			next = &s.Events[i+1]
		}
		switch e.Kind {
		case Joined:
			w.joined(e, next)
		case Received:
			w.received(e)
		case Reset:
			w.reset(e)
		case Leaving:
			w.leaving = true
		case Away:
			w.in = false
		}
	}
	if w.in && !w.leaving && w.cursor < c.head() {
		c.report("L2", "%s stands at %d in the end, the head is %d", s.Member, w.cursor, c.head())
	}
}

// walk is a position in a stream.
type walk struct {
	*checker
	member string
	cursor uint64
	in     bool
	// leaving: it has asked to be out of the room.
	leaving bool
	// incarnation is 0 before the first join.
	incarnation uint64
}

func (w *walk) joined(e Event, next *Event) {
	p := e.Place
	w.in, w.leaving = true, false
	if p.Incarnation != w.incarnation && w.incarnation != 0 && !w.bounds.LostTail {
		w.report("S7", "%s was told incarnation %d and then %d", w.member, w.incarnation, p.Incarnation)
	}
	w.incarnation = p.Incarnation
	if p.After == nil {
		w.cursor = p.Seq
		return
	}
	w.cursor = *p.After
	switch reset := next != nil && next.Kind == Reset; {
	case p.Recovered && reset:
		w.report("S5", "%s was told that its stream goes on after %d, and then that it does not", w.member, w.cursor)
	case !p.Recovered && !reset && next != nil && next.Kind != Away:
		w.report("S5", "%s was told that its stream does not go on after %d, and not where it does", w.member, w.cursor)
	}
}

func (w *walk) received(e Event) {
	m := e.Entry
	if !w.in {
		w.report("S5", "%s got %d without being in the room", w.member, m.Seq)
	}
	switch {
	case m.Seq <= w.cursor:
		w.report("S5", "%s got %d again at %v, it had everything up to %d", w.member, m.Seq, round(e.At), w.cursor)
		return
	case m.Prev > w.cursor:
		w.report("S5", "%s got %d, which follows %d, at %v; it had everything up to %d: a gap", w.member, m.Seq, m.Prev, round(e.At), w.cursor)
	}
	w.cursor = m.Seq
	if stored := w.bySeq[m.Seq]; stored == nil || *stored != *m {
		w.report("S2", "%s got %+v at %v; stored is %+v", w.member, *m, round(e.At), stored)
	}
}

func (w *walk) reset(e Event) {
	p := e.Place
	skipped := 0
	for _, m := range w.record.Content {
		if m.Seq > w.cursor && m.Seq <= p.Seq {
			skipped++
		}
	}
	switch {
	case w.bounds.LostTail:
	case p.Reason == ReasonRewound:
		w.report("S7", "%s was rewound from %d to %d at %v, and nothing was lost", w.member, w.cursor, p.Seq, round(e.At))
	case p.Reason != ReasonReplayLimit:
		w.report("S5", "%s was reset to %d: %s", w.member, p.Seq, p.Reason)
	case skipped <= w.bounds.ReplayLimit:
		w.report("S5", "%s was reset from %d to %d because of too many messages, there were %d", w.member, w.cursor, p.Seq, skipped)
	}
	w.cursor = p.Seq
}
