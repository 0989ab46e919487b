package sim

import "time"

// clientRoom is a client's place in one room.
type clientRoom struct {
	c      *client
	room   roomID
	cursor cursor
	// placed: the cursor means something.
	placed    bool
	confirmed bool // joined on this connection
	wantJoin  bool
	joinAt    time.Duration
	joinTries int
	out       outbox
	published int
	// publishes: it is a publisher here.
	publishes bool
	ackedAt   time.Duration // when the last ack came
}

// place is where a room's stream goes on.
func (r *clientRoom) place() *cursor {
	if !r.placed {
		return nil
	}
	at := r.cursor
	return &at
}

func (r *clientRoom) joined(f toClient) {
	r.confirmed, r.wantJoin, r.joinTries = true, false, 0
	if !r.placed {
		r.placed = true
		r.cursor = cursor{seq: f.head}
	}
	r.pump()
}

// take judges a message by the client's rule: it must follow the cursor.
func (r *clientRoom) take(m message) {
	h := r.c.w.history
	switch {
	case !r.placed || !r.confirmed:
		h.violation(kindS5, "%s got message %d of room %d before it was told that it is in it", r.c, m.seq, r.room)
	case m.seq <= r.cursor.seq:
		h.violation(kindS5, "%s got message %d of room %d again: its cursor is %d", r.c, m.seq, r.room, r.cursor.seq)
	case m.prev > r.cursor.seq:
		h.violation(kindS5, "%s got message %d after %d of room %d with its cursor at %d: a gap", r.c, m.seq, m.prev, r.room, r.cursor.seq)
	}
	h.delivered(r.c, r.room, m)
	if r.c.w.tracing() {
		r.c.w.tracef("%s gets %d (%v) of room %d", r.c, m.seq, m.id, r.room)
	}
	r.cursor = cursor{seq: m.seq, id: m.id}
	if m.id.client == r.c.id { // durable, whether or not its ack arrives
		r.acked(m.id, m.seq)
	}
}

func (r *clientRoom) acked(id messageID, seq uint64) {
	r.c.w.history.acked(r.c, r.room, id, seq)
	if p := r.out.find(id); p != nil {
		if r.c.w.tracing() {
			r.c.w.tracef("%s: %v is acknowledged at %d of room %d", r.c, id, seq, r.room)
		}
		r.out.settle(p)
		r.ackedAt = r.c.w.now
		r.c.w.history.answered(r.room, p, seq)
	}
	r.pump()
}

func (r *clientRoom) refused(id messageID, why code) {
	p := r.out.find(id)
	if p == nil || p.state != sent {
		return
	}
	r.c.w.stats.Refusals++
	r.c.w.history.refused(r.room, id)
	r.out.refuse(p, r.c.w.now+r.c.retryDelay(p.attempts-1))
	if r.c.w.tracing() {
		r.c.w.tracef("%s: %v is refused with %s in room %d", r.c, id, why, r.room)
	}
}

// pump sends what may be sent now.
func (r *clientRoom) pump() {
	c := r.c
	if c.conn == nil || !c.opened {
		return
	}
	if r.wantJoin && c.w.now >= r.joinAt {
		r.wantJoin = false
		c.conn.toGateway(fromClient{kind: joinRoom, joins: []join{{r.room, r.place()}}})
	}
	if !r.confirmed {
		return
	}
	r.out.unanswered(c.w.now, func(p *publication) { c.w.history.refused(r.room, p.id) })
	for _, p := range r.out.take(c.w.now) {
		if p.attempts == 1 {
			p.floor = c.w.history.rooms[r.room].highest
		}
		c.conn.toGateway(fromClient{kind: publish, room: r.room, id: p.id})
		if c.w.tracing() {
			c.w.tracef("%s publishes %v in room %d (attempt %d)", c, p.id, r.room, p.attempts)
		}
		r.expectAnswer(p)
	}
}

// expectAnswer checks L1: on a connection that works every publish is answered in time.
func (r *clientRoom) expectAnswer(p *publication) {
	c, n, attempt, at := r.c, r.c.conn, p.attempts, r.c.w.now
	c.w.after(answerBound, func() {
		if c.conn == n && n.undisturbed(at) && p.state == sent && p.attempts == attempt {
			c.w.history.violation(kindL1, "%s: nobody answered the publish of %v in room %d for %s", c, p.id, r.room, answerBound)
		}
	})
}

// publish starts the publish of one more message.
func (r *clientRoom) publish() *publication {
	r.published++
	p := &publication{id: messageID{r.c.id, r.published}, began: r.c.w.now}
	r.out.list = append(r.out.list, p)
	r.c.w.stats.Published++
	r.pump()
	return p
}
