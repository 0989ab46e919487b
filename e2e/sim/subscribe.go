package sim

import "time"

// resubscribe asks for the subscription anew, not at avoid unless nobody else is there. What is still received in order is
// delivered as before.
func (t *topic) resubscribe(avoid *process) {
	t.phase, t.hops, t.tries = subscribing, 0, 0
	t.avoid = nil
	if avoid != nil {
		t.avoid = []*process{avoid}
	}
	// Pages that are on their way may be of another epoch: they are asked for again when it is known.
	for _, q := range t.reads {
		for _, s := range q.subs {
			s.state = subIdle
		}
	}
	t.reads = nil
	t.subscribe()
}

func (t *topic) subscribe() {
	t.g.number++
	t.number = t.g.number
	t.w.stats.Subscribes++
	node, err := t.g.route(&frame{kind: subscribeFrame, room: t.room, request: t.number}, t.avoid)
	if err != nil {
		t.later(0)
		return
	}
	t.asked, t.askedAt = node, t.w.now
}

// later subscribes after a pause.
func (t *topic) later(atLeast time.Duration) {
	t.asked, t.hops = nil, 0
	t.retryAt = t.w.now + max(atLeast, retryFirst<<min(t.tries, maxBackoff))
	t.tries++
}

// subscribed takes the answer.
func (t *topic) subscribed(from *process, f *frame) {
	if t.phase != subscribing || f.request != t.number {
		return
	}
	if f.epoch < max(t.epoch, t.minEpoch) && !t.w.without.LowerEpoch { // a former owner that does not know yet
		t.w.stats.Former++
		t.avoid = []*process{from}
		t.later(0)
		return
	}
	t.g.setOwner(t.room, from)
	first := t.epoch == 0
	rewound := !first && f.last < t.last
	t.phase, t.node, t.asked = live, from, nil
	t.epoch = f.epoch
	if t.w.tracing() {
		t.w.tracef("%s: subscribed to room %d at %s, epoch %d, last %d (had %d)", t.g, t.room, from, f.epoch, f.last, t.last)
	}
	if first || rewound || f.last > t.last {
		t.restart(f)
	}
	for _, s := range t.subs {
		if s.state == subIdle {
			t.advance(s)
		}
	}
}

// restart begins the ring at the room's last message. Connections behind it catch up from their cursors; those ahead of it
// saw a history that is gone.
func (t *topic) restart(f *frame) {
	t.last = f.last
	t.ring = ring{base: f.last}
	for _, s := range t.subs {
		if s.cursor > f.head {
			s.c.conn.toClient(toClient{kind: resetStream, room: t.room, head: f.head})
			s.cursor = f.head
		}
		if s.state == subLive && s.cursor < t.last {
			s.state = subIdle
		}
	}
}

func (t *topic) moved(from *process, f *frame) {
	t.g.setOwner(t.room, f.owner)
	switch {
	case t.phase == subscribing && f.request == t.number:
		if t.hops++; t.hops > maxHops {
			t.later(0)
			return
		}
		t.avoid = nil
		if f.owner != from { // else it starts anew there
			t.avoid = []*process{from}
		}
		t.subscribe()
	case t.phase == live && t.findRead(f.request) != nil:
		t.resubscribe(nil)
	}
}

func (t *topic) refused(f *frame) {
	switch {
	case t.phase == subscribing && f.request == t.number:
		t.later(f.retryAfter)
	case t.phase == live:
		if q := t.findRead(f.request); q != nil {
			q.postpone(t.w.now + max(f.retryAfter, retryFirst))
		}
	}
}

// closed takes the end of the subscription.
func (t *topic) closed(from *process, f *frame) {
	if t.phase != live || f.epoch < t.epoch && !t.w.without.LowerEpoch {
		return
	}
	t.w.stats.Closed++
	avoid := from
	if f.owner != nil {
		t.g.setOwner(t.room, f.owner)
		if f.owner == from {
			avoid = nil
		}
	}
	t.resubscribe(avoid)
}

// gone: the node should not be asked if there is another.
func (t *topic) gone(node *process) {
	if t.concerns(node) {
		t.resubscribe(node)
	}
}

func (t *topic) concerns(node *process) bool {
	return t.phase == live && t.node == node || t.phase == subscribing && t.asked == node
}

func (t *topic) tick() {
	now := t.w.now
	switch {
	case t.phase == subscribing && t.asked == nil:
		if now >= t.retryAt {
			t.subscribe()
		}
	case t.phase == subscribing && now-t.askedAt >= silenceAfter:
		t.avoid = []*process{t.asked}
		t.subscribe()
	case t.phase == live && t.silentRead():
		t.resubscribe(nil)
	case t.phase == live:
		t.startReads()
	}
}
