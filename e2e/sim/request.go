package sim

import (
	"slices"
	"time"
)

// request is something asked of a room's owner that is not answered yet. It is sent again, unchanged, when it was refused or
// lost: joins are idempotent, publishes are by their ids.
type request struct {
	number uint64
	room   roomID
	ops    []*op // one, or the publishes of a batch
	frame  *frame

	node    *process // that it was sent to; nil: it waits for retryAt
	avoid   []*process
	sent    bool
	hops    int
	tries   int
	sentAt  time.Duration
	retryAt time.Duration
}

func (c *core) ask(room roomID, ops []*op, f *frame) *request {
	c.next++
	f.room, f.conn, f.request = room, c.number, c.next
	q := &request{number: c.next, room: room, ops: ops, frame: f}
	c.requests = append(c.requests, q)
	c.send(q)
	return q
}

func (c *core) send(q *request) {
	if q.sent {
		c.w.stats.Resends++
		if c.w.without.ResendOrder {
			q.ops = slices.Clone(q.ops)
			slices.Reverse(q.ops)
			again := *q.frame
			again.drafts = draftsOf(q.ops)
			q.frame = &again
		}
	}
	node, err := c.g.route(q.frame, q.avoid)
	if err != nil {
		c.later(q, 0)
		return
	}
	q.node, q.sent, q.sentAt = node, true, c.w.now
	if c.w.tracing() {
		c.w.tracef("%s: asks %s for %s (%v), number %d", c.g, node, c.conn.client, q.frame.drafts, q.number%1000)
	}
}

// later sends a request again after a pause.
func (c *core) later(q *request, atLeast time.Duration) {
	q.node, q.avoid, q.hops = nil, nil, 0
	q.retryAt = c.w.now + max(atLeast, retryFirst<<min(q.tries, maxBackoff))
	q.tries++
}

func (c *core) tickRequest(q *request) {
	c.expire(q)
	switch {
	case !slices.Contains(c.requests, q):
	case q.node == nil:
		if c.w.now >= q.retryAt {
			c.send(q)
		}
	case c.w.now >= q.sentAt+silenceAfter:
		q.avoid = []*process{q.node}
		c.send(q)
	}
}

// expire answers the ops whose time is up. The request lives on while others of it wait.
func (c *core) expire(q *request) {
	waiting := 0
	for _, o := range q.ops {
		switch {
		case o.answered:
		case c.w.now < o.at+answerWithin || c.w.without.Deadline:
			waiting++
		case !o.join && q.sent:
			c.fail(o, unknownOutcome)
		default:
			c.fail(o, unavailable)
		}
	}
	if waiting == 0 {
		c.end(q)
		c.pump(&c.rooms[q.room])
	}
}

// end forgets a request; an answer that still comes is ignored.
func (c *core) end(q *request) {
	c.requests = slices.DeleteFunc(slices.Clone(c.requests), func(o *request) bool { return o == q })
	r := &c.rooms[q.room]
	switch {
	case r.batch == q:
		r.batch = nil
	case r.active == q.ops[0]:
		r.active = nil
	}
}

func (c *core) linkDown(node *process) {
	for _, q := range slices.Clone(c.requests) {
		if q.node == node {
			q.avoid = []*process{node}
			c.send(q)
		}
	}
}

// answer takes a rooms node's answer.
func (c *core) answer(from *process, f *frame) {
	i := slices.IndexFunc(c.requests, func(q *request) bool { return q.number == f.request })
	if c.phase != open || i < 0 {
		return
	}
	q := c.requests[i]
	switch f.kind {
	case movedFrame:
		c.w.stats.Moved++
		if q.hops++; q.hops > maxHops {
			c.later(q, 0)
			return
		}
		q.avoid = nil
		c.g.setOwner(q.room, f.owner)
		if f.owner != from { // else the room starts anew there
			q.avoid = []*process{from}
		}
		c.send(q)
	case refusedFrame:
		if f.code.passing() {
			c.later(q, f.retryAfter)
			return
		}
		c.end(q)
		for _, o := range q.ops {
			c.fail(o, f.code)
		}
		c.pump(&c.rooms[q.room])
	case joinedFrame:
		if q.ops[0].join {
			c.g.setOwner(q.room, from)
			c.end(q)
			c.joined(q, from, f)
		}
	case publishedFrame:
		if !q.ops[0].join {
			c.g.setOwner(q.room, from)
			c.end(q)
			c.published(q, f.outcomes)
			c.pump(&c.rooms[q.room])
		}
	}
}

func (c *core) joined(q *request, from *process, f *frame) {
	r := &c.rooms[q.room]
	r.joined, r.attached = true, true
	q.ops[0].answered = true
	c.g.topic(q.room).attach(c, f, from)
	c.pump(r)
}

func (c *core) published(q *request, outcomes []outcome) {
	for _, o := range q.ops {
		i := slices.IndexFunc(outcomes, func(out outcome) bool { return out.id == o.id })
		if i >= 0 {
			c.succeed(o, outcomes[i].seq)
		}
	}
}
