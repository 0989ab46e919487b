package sim

import "time"

// Two rooms: busy has publishers everywhere; in quiet few publish and seldom, so that readers depend on being told.
const (
	busyRoom roomID = iota
	quietRoom
	roomCount
)

const (
	roomsNodeCount = 3
	gatewayCount   = 2
	clientCount    = 6
)

// makeClients spreads clients over the gateways. Of the quiet room one gateway may have only readers.
func (w *world) makeClients() {
	quietPublisher := w.rng.IntN(clientCount)
	for i := range clientCount {
		c := newClient(w, i+1, i%gatewayCount)
		if i < 4 || w.chance(0.5) {
			c.enter(busyRoom, i < 4)
		}
		if c.rooms[busyRoom] == nil || w.chance(0.8) {
			c.enter(quietRoom, i == quietPublisher || w.chance(0.1))
		}
		w.clients = append(w.clients, c)
		w.after(w.between(500*time.Millisecond, 2*time.Second), c.begin)
	}
	if c := w.clients[quietPublisher]; c.rooms[quietRoom] == nil {
		c.enter(quietRoom, true)
	}
}

// publishUntil makes the publishers publish.
func (w *world) publishUntil(end time.Duration) {
	for _, c := range w.clients {
		for _, r := range c.rooms {
			if r != nil && r.publishes {
				w.publishOn(r, end)
			}
		}
	}
	var set func()
	set = func() { // somebody changes a room's settings now and then
		room := roomID(w.rng.IntN(int(roomCount)))
		for _, n := range w.rooms {
			if n.up && !n.frozen && n.host.slots[room] != nil && n.host.slots[room].state == running && n.host.slots[room].a.dead == nil {
				n.host.slots[room].a.set()
			}
		}
		if w.now < end {
			w.after(w.between(time.Second, 5*time.Second), set)
		}
	}
	w.after(3*time.Second, set)
}

func (w *world) publishOn(r *clientRoom, end time.Duration) {
	pause := func() time.Duration {
		if r.room == quietRoom {
			return w.between(500*time.Millisecond, 8*time.Second)
		}
		return w.between(20*time.Millisecond, 900*time.Millisecond)
	}
	var again func()
	again = func() {
		if w.now >= end {
			return
		}
		n := 1
		if w.chance(0.2) {
			n += w.rng.IntN(8)
		}
		if len(r.out.list) > clientWindow/2 {
			n = 0
		}
		for range n {
			r.publish()
		}
		w.after(pause(), again)
	}
	w.after(time.Second+pause(), again)
}

// newToken makes a session token.
func (w *world) newToken() int {
	w.stats.Tokens++
	return w.stats.Tokens
}
