package sim

import (
	"errors"
	"slices"
	"time"
)

type corePhase uint8

const (
	opening corePhase = iota
	open
	over
)

// core is one connection at its gateway: what its client asked for and what is asked of the rooms' owners for it.
type core struct {
	g      *gateway
	w      *world
	conn   *conn
	number uint64

	phase   corePhase
	asked   time.Duration
	session session
	held    []fromClient
	rooms   []coreRoom

	requests []*request // oldest first
	next     uint64
	// drainBy is when a draining connection closes at the latest; 0: it does not drain.
	drainBy time.Duration
}

// coreRoom is a connection's business in one room. Commands have their turn in the order they came; publishes wait while a
// batch is out.
type coreRoom struct {
	joined, attached bool
	active           *op
	batch            *request
	waiting          []*op
}

// op is one command of the client: a join, or the publish of a message.
type op struct {
	join     bool
	room     roomID
	at       time.Duration
	cursor   *cursor
	id       messageID
	answered bool
}

func (g *gateway) accept(c *conn) *core {
	g.conns++
	k := &core{g: g, w: g.w, conn: c, number: g.conns, next: g.w.rng.Uint64() >> 1, rooms: make([]coreRoom, len(g.topics))}
	g.cores = append(g.cores, k)
	return k
}

// hello opens the session: it resumes the one of a token, or makes a new one. Only a token that is certainly no good gives a
// new session: a store that cannot be asked closes the connection.
func (c *core) hello(f fromClient) {
	c.asked = c.w.now
	token, attempt, next := f.token, f.attempt, c.w.newToken()
	var s session
	resumed := token != 0
	c.w.journal.call(&c.g.process, true, storeTimeout, func() (err error) {
		if s, err = c.w.journal.openSession(token, attempt, next); errors.Is(err, errSession) {
			resumed = false
			s, err = c.w.journal.openSession(0, attempt, next)
		}
		return err
	}, func(err error) {
		switch {
		case c.phase != opening:
		case err != nil:
			c.close()
		default:
			c.opened(s, next, resumed, f)
		}
	})
}

func (c *core) opened(s session, token int, resumed bool, f fromClient) {
	c.phase, c.session = open, s
	for _, o := range slices.Clone(c.g.cores) {
		if o != c && o.phase == open && o.session.member == s.member && o.session.generation < s.generation {
			o.replaced()
		}
	}
	c.conn.toClient(toClient{kind: sessionOpened, token: token, member: s.member, resumed: resumed})
	for _, j := range f.joins {
		c.enqueue(&op{join: true, room: j.room, at: c.w.now, cursor: j.cursor})
	}
	held := c.held
	c.held = nil
	for _, f := range held {
		c.frame(f)
	}
}

// frame takes one frame of the client.
func (c *core) frame(f fromClient) {
	switch {
	case c.phase == over:
	case f.kind == upgrade:
		c.conn.toClient(toClient{kind: upgraded})
	case f.kind == hello:
		c.hello(f)
	case c.phase == opening:
		c.held = append(c.held, f)
	case f.kind == joinRoom:
		c.enqueue(&op{join: true, room: f.joins[0].room, at: c.w.now, cursor: f.joins[0].cursor})
	case f.kind == publish:
		c.enqueue(&op{room: f.room, at: c.w.now, id: f.id})
	}
}

func (c *core) enqueue(o *op) {
	r := &c.rooms[o.room]
	r.waiting = append(r.waiting, o)
	c.pump(r)
}

// pump starts what may start in a room.
func (c *core) pump(r *coreRoom) {
	for len(r.waiting) > 0 && r.active == nil {
		o := r.waiting[0]
		switch {
		case o.answered:
			r.waiting = r.waiting[1:]
		case o.join:
			r.waiting = r.waiting[1:]
			r.active = o
			c.ask(o.room, []*op{o}, &frame{kind: joinFrame, member: c.session.member, cursor: o.cursor})
		case !r.joined:
			r.waiting = r.waiting[1:]
			c.fail(o, unavailable)
		case r.batch != nil && !c.w.without.OneBatch:
			return
		default:
			c.startBatch(r)
		}
	}
}

// startBatch sends the publishes at the front of the queue, as many as a batch holds.
func (c *core) startBatch(r *coreRoom) {
	n := 0
	for n < len(r.waiting) && n < batchMessages && !r.waiting[n].join {
		n++
	}
	ops := slices.Clone(r.waiting[:n])
	r.waiting = slices.Clone(r.waiting[n:])
	r.batch = c.ask(ops[0].room, ops, &frame{kind: publishFrame, member: c.session.member, drafts: draftsOf(ops)})
}

func draftsOf(ops []*op) []messageID {
	drafts := make([]messageID, len(ops))
	for i, o := range ops {
		drafts[i] = o.id
	}
	return drafts
}

func (c *core) fail(o *op, why code) {
	if !o.answered {
		o.answered = true
		if c.w.tracing() {
			c.w.tracef("%s: answers %v of %s with %s", c.g, o.id, c.conn.client, why)
		}
		kind := refusal
		if o.join {
			kind = joinRefusal
		} else {
			c.w.history.refused(o.room, o.id) // whether or not the client hears of it
		}
		c.conn.toClient(toClient{kind: kind, room: o.room, message: message{id: o.id}, code: why})
	}
}

func (c *core) succeed(o *op, seq uint64) {
	if !o.answered {
		o.answered = true
		c.conn.toClient(toClient{kind: ack, room: o.room, message: message{id: o.id, seq: seq}})
	}
}

func (c *core) tick() {
	switch c.phase {
	case opening:
		if c.asked > 0 && c.w.now-c.asked >= openWithin {
			c.close()
		}
		return
	case over:
		return
	case open:
	}
	for _, q := range slices.Clone(c.requests) {
		if slices.Contains(c.requests, q) {
			c.tickRequest(q)
		}
	}
	for i := range c.rooms {
		r := &c.rooms[i]
		for len(r.waiting) > 0 && c.w.now >= r.waiting[0].at+answerWithin && !c.w.without.Deadline {
			c.fail(r.waiting[0], unavailable)
			r.waiting = r.waiting[1:]
		}
		c.pump(r)
	}
	if c.drainBy > 0 && (c.idle() || c.w.now >= c.drainBy) {
		c.close()
	}
}

func (c *core) idle() bool {
	for i := range c.rooms {
		if r := &c.rooms[i]; r.active != nil || len(r.waiting) > 0 {
			return false
		}
	}
	return len(c.requests) == 0
}

// drain tells the client to come back elsewhere and closes once its commands are answered.
func (c *core) drain() {
	if c.phase == open && c.drainBy == 0 {
		c.drainBy = c.w.now + time.Second
		c.conn.toClient(toClient{kind: reconnect})
	}
}

// replaced: a newer connection has the session.
func (c *core) replaced() {
	c.conn.toClient(toClient{kind: replaced})
	c.close()
}

// close closes the connection behind everything that was sent.
func (c *core) close() {
	c.conn.closeByGateway()
	c.stop()
}

// stop: the socket is gone, and nothing more is sent for it.
func (c *core) stop() {
	c.phase = over
	c.requests, c.held = nil, nil
	for i := range c.rooms {
		if c.rooms[i].attached {
			c.g.topics[i].detach(c)
		}
	}
	c.g.cores = slices.DeleteFunc(slices.Clone(c.g.cores), func(o *core) bool { return o == c })
}
