package sim

import (
	"fmt"
	"time"
)

// client is a program with the client library: it connects, resumes, publishes until it is acknowledged, and follows its
// rooms. It tells the history everything it was told, and what the server should never have sent.
type client struct {
	w    *world
	id   int
	home int // the gateway it prefers

	token, attempt int
	member         int // 0: no session yet
	conn           *conn
	// opened: the session of this connection is open.
	opened   bool
	failures int
	// away: it is not there until somebody calls comeBack.
	away  bool
	rooms []*clientRoom // by room; nil: not in it
}

func (c *client) String() string { return fmt.Sprintf("client-%d", c.id) }

// begin connects and keeps the client's time.
func (c *client) begin() {
	var again func()
	again = func() {
		c.pump()
		c.w.after(100*time.Millisecond, again)
	}
	again()
	c.connect()
}

// connect tries a gateway: mostly the preferred one, another after a failure.
func (c *client) connect() {
	if c.conn != nil || c.away {
		return
	}
	g := c.w.gateways[c.home]
	if c.failures > 0 && c.w.chance(0.6) || c.w.storm && c.w.chance(0.15) {
		g = c.w.gateways[c.w.rng.IntN(len(c.w.gateways))]
	}
	if !g.up {
		c.retry()
		return
	}
	n := &conn{w: c.w, client: c, g: g, life: g.life, clientOpen: true, gatewayOpen: true}
	n.core = g.accept(n)
	c.conn, c.opened = n, false
	c.w.tracef("%s connects to %s", c, g)
	c.w.stats.Connects++
	n.toGateway(fromClient{kind: upgrade})
	c.w.after(handshakeTime, func() {
		if c.conn == n && !c.opened {
			n.closeByClient()
			c.disconnected(n)
		}
	})
}

func (c *client) retry() {
	wait := firstReconnect + c.w.between(0, min(firstReconnect<<min(c.failures, 4), lastReconnect))
	c.failures++
	c.w.after(wait, c.connect)
}

// disconnected: what is unanswered goes out again, in order, on the next connection.
func (c *client) disconnected(n *conn) {
	if c.conn != n {
		return
	}
	c.w.tracef("%s has lost its connection to %s", c, n.g)
	c.conn, c.opened = nil, false
	for _, r := range c.rooms {
		if r != nil {
			r.confirmed, r.wantJoin = false, false
			r.out.disconnected()
		}
	}
	c.retry()
}

// leaveFor goes away for a while without a word to anybody but the socket.
func (c *client) leaveFor(d time.Duration) {
	c.away = true
	if n := c.conn; n != nil {
		n.closeByClient()
		c.disconnected(n)
	}
	c.w.after(d, c.comeBack)
}

func (c *client) comeBack() {
	c.away = false
	c.connect()
}

// hello opens or resumes the session and joins all rooms.
func (c *client) hello(n *conn) {
	c.attempt++
	f := fromClient{kind: hello, token: c.token, attempt: c.attempt}
	for _, r := range c.rooms {
		if r != nil {
			f.joins = append(f.joins, join{r.room, r.place()})
		}
	}
	n.toGateway(f)
}

// receive takes a frame.
func (c *client) receive(n *conn, f toClient) {
	if c.conn != n {
		return
	}
	switch f.kind {
	case upgraded:
		c.hello(n)
	case sessionOpened:
		c.sessionOpened(f)
	case reconnect, closing:
		n.closeByClient()
		c.disconnected(n)
	case replaced:
		c.w.history.violation(kindSession, "%s was told that somebody else took its session", c)
	case roomJoined:
		c.rooms[f.room].joined(f)
	case resetStream:
		r := c.rooms[f.room]
		c.w.history.violation(kindS5, "%s in room %d was told to reset at %d from %d: nothing was lost", c, r.room, f.head, r.cursor.seq)
		r.cursor = cursor{seq: f.head}
	case messageToClient:
		c.rooms[f.room].take(f.message)
	case ack:
		c.rooms[f.room].acked(f.message.id, f.message.seq)
	case refusal:
		c.rooms[f.room].refused(f.message.id, f.code)
	case joinRefusal:
		r := c.rooms[f.room]
		r.joinTries++
		r.wantJoin, r.joinAt = true, c.w.now+c.retryDelay(r.joinTries)
	}
}

func (c *client) sessionOpened(f toClient) {
	c.opened, c.failures = true, 0
	if c.token != 0 {
		c.w.stats.Resumes++
		if !f.resumed {
			c.w.history.violation(kindSession, "%s lost its session: its token was refused", c)
		}
	}
	if c.member != 0 && c.member != f.member {
		for _, r := range c.rooms {
			if r != nil {
				r.out.memberChanged()
			}
		}
	}
	c.token, c.member = f.token, f.member
}

// retryDelay is the wait before a refused request is sent again.
func (c *client) retryDelay(attempts int) time.Duration {
	d := 50 * time.Millisecond << min(attempts, 6)
	return d/2 + c.w.between(0, d/2)
}

func (c *client) pump() {
	for _, r := range c.rooms {
		if r != nil {
			r.pump()
		}
	}
}

func newClient(w *world, id, home int) *client {
	return &client{w: w, id: id, home: home, rooms: make([]*clientRoom, len(w.journal.streams))}
}

// enter makes the client a member of a room.
func (c *client) enter(room roomID, publishes bool) {
	c.rooms[room] = &clientRoom{c: c, room: room, publishes: publishes}
}
