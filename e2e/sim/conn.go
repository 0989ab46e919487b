package sim

import (
	"slices"
	"time"
)

// conn is a client's connection to one life of a gateway. Both ways are ordered; what is in flight when it ends is lost.
type conn struct {
	w      *world
	client *client
	g      *gateway
	life   int
	core   *core
	// Each end learns of the end by itself.
	clientOpen, gatewayOpen bool
	// silent: nothing passes any more and nobody has noticed yet.
	silent bool
	// When the last frame each way arrives.
	lastUp, lastDown time.Duration
}

type fromKind uint8

const (
	upgrade fromKind = iota
	hello
	joinRoom
	publish
)

// fromClient is a frame of a client.
type fromClient struct {
	kind  fromKind
	token int
	// attempt numbers the hellos.
	attempt int
	joins   []join
	room    roomID
	id      messageID
}

// join is a room with a place to go on from; nil: at the head.
type join struct {
	room   roomID
	cursor *cursor
}

type toKind uint8

const (
	upgraded toKind = iota
	sessionOpened
	roomJoined
	resetStream
	messageToClient
	ack
	refusal
	joinRefusal
	reconnect
	replaced
	closing
)

// toClient is a frame to a client.
type toClient struct {
	kind      toKind
	token     int
	member    int
	resumed   bool
	room      roomID
	head      uint64
	recovered bool
	message   message
	code      code
}

func (c *conn) latency() time.Duration { return c.w.between(time.Millisecond, 25*time.Millisecond) }

func (c *conn) toGateway(f fromClient) {
	if c.silent {
		return
	}
	c.lastUp = max(c.w.now+c.latency(), c.lastUp+1)
	c.w.push(event{at: c.lastUp, p: &c.g.process, life: c.life, kind: input, do: func() {
		if c.gatewayOpen && !c.silent {
			c.core.frame(f)
		}
	}})
}

func (c *conn) toClient(f toClient) {
	if c.silent || !c.gatewayOpen {
		return
	}
	c.lastDown = max(c.w.now+c.latency(), c.lastDown+1)
	c.w.push(event{at: c.lastDown, do: func() {
		if c.clientOpen && !c.silent {
			c.client.receive(c, f)
		}
	}})
}

// closeByGateway closes behind everything that was sent.
func (c *conn) closeByGateway() {
	c.toClient(toClient{kind: closing})
	c.gatewayOpen = false
}

// closeByClient ends the client's side; the gateway hears of it, if anything passes.
func (c *conn) closeByClient() {
	if !c.clientOpen {
		return
	}
	c.clientOpen = false
	if c.silent {
		return
	}
	c.lastUp = max(c.w.now+c.latency(), c.lastUp+1)
	c.w.push(event{at: c.lastUp, p: &c.g.process, life: c.life, kind: input, do: c.gatewayLost})
}

func (c *conn) gatewayLost() {
	if c.gatewayOpen {
		c.gatewayOpen = false
		c.core.stop()
	}
}

func (c *conn) clientLost() {
	if c.clientOpen {
		c.clientOpen = false
		c.client.disconnected(c)
	}
}

// reset: the gateway's process has died.
func (c *conn) reset() {
	c.gatewayOpen = false
	c.w.after(c.latency(), c.clientLost)
}

// breakOff resets the connection on its way: both ends hear of it.
func (c *conn) breakOff() {
	c.w.after(c.latency(), c.clientLost)
	c.w.push(event{at: c.w.now + c.latency(), p: &c.g.process, life: c.life, kind: input, do: c.gatewayLost})
}

// goSilent lets nothing pass from now on. Each end notices when it misses the other for too long.
func (c *conn) goSilent() {
	if c.silent {
		return
	}
	c.silent = true
	c.w.after(c.w.between(time.Second, 4*time.Second), c.clientLost)
	c.w.push(event{at: c.w.now + c.w.between(time.Second, 4*time.Second), p: &c.g.process, life: c.life, kind: timer, do: c.gatewayLost})
}

// undisturbed says that the connection worked since then.
func (c *conn) undisturbed(since time.Duration) bool {
	return c.clientOpen && c.gatewayOpen && !c.silent && c.g.up && c.g.life == c.life && !c.g.frozen && c.g.thawedAt <= since &&
		slices.Contains(c.g.cores, c.core)
}
