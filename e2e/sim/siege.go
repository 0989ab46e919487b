package sim

import (
	"fmt"
	"time"
)

// A siege is one fault that lasts. While it does, everybody it leaves alone must be served: that is what takeover, blind
// nodes and the poll for lost rooms are for, and what a storm, after which everything heals, does not show.
type siege struct {
	name  string
	begin func(w *world, s *besieged)
}

// besieged is whom a siege is about.
type besieged struct {
	room  roomID
	owner *roomsNode
	// gate is a gateway, spared are the clients of those gateways that should notice nothing but a pause.
	gate   *gateway
	spared func(g *gateway) bool
	lasts  time.Duration
}

func everyGateway(*gateway) bool { return true }
func noGateway(*gateway) bool    { return false }

// others are all gateways but the besieged one.
func (s *besieged) others(g *gateway) bool { return g != s.gate }

var sieges = []siege{
	{"the owner is killed", func(w *world, s *besieged) { w.killFor(&s.owner.process, s.lasts) }},
	{"the owner freezes", func(w *world, s *besieged) { w.freezeFor(&s.owner.process, s.lasts) }},
	// It has lost the room a moment ago and does not know yet when members come that have more of it than it has.
	{"the owner loses the other rooms nodes and a gateway, whose members go to another", func(w *world, s *besieged) {
		w.cutFromRooms(s)
		w.cutFor(s.owner.site, s.gate.site, true, true, s.lasts)
		w.whenTaken(s, func() { w.after(w.between(20*time.Millisecond, 400*time.Millisecond), func() { w.moveMembers(s) }) })
	}},
	{"the owner loses the journal", func(w *world, s *besieged) {
		there, back := w.ways()
		w.cutFor(s.owner.site, w.journal.site, there, back, s.lasts)
	}},
	{"the owner loses all nodes", func(w *world, s *besieged) {
		there, back := w.ways()
		w.isolate(&s.owner.process, there, back, s.lasts)
	}},
	{"the owner loses everything", func(w *world, s *besieged) {
		w.isolate(&s.owner.process, true, true, s.lasts)
		w.cutFor(s.owner.site, w.journal.site, true, true, s.lasts)
		w.cutFor(s.owner.site, w.directory.site, true, true, s.lasts)
	}},
	{"the owner loses the other rooms nodes", func(w *world, s *besieged) { w.cutFromRooms(s) }},
	// The silent cases: a gateway that has only readers still hears the owner, who has lost the room.
	{"the owner loses the other rooms nodes and a gateway", func(w *world, s *besieged) {
		w.cutFromRooms(s)
		there, back := w.ways()
		w.cutFor(s.owner.site, s.gate.site, there, back, s.lasts)
	}},
	{"the owner loses the other rooms nodes, a gateway and the journal", func(w *world, s *besieged) {
		w.cutFromRooms(s)
		w.cutFor(s.owner.site, s.gate.site, true, true, s.lasts)
		w.cutFor(s.owner.site, w.journal.site, true, true, s.lasts)
	}},
	{"a gateway is killed", func(w *world, s *besieged) {
		s.spared = s.others
		w.killFor(&s.gate.process, s.lasts)
	}},
	{"a gateway freezes", func(w *world, s *besieged) {
		s.spared = s.others
		w.freezeFor(&s.gate.process, s.lasts)
	}},
	{"a gateway loses the owner", func(w *world, s *besieged) {
		s.spared = s.others // nobody takes the room: its owner lives and the others reach it
		there, back := w.ways()
		w.cutFor(s.gate.site, s.owner.site, there, back, s.lasts)
	}},
	{"the directory is down and the owner is killed", func(w *world, s *besieged) {
		w.directory.stop()
		w.killFor(&s.owner.process, s.lasts)
	}},
	{"the nodes are split", func(w *world, s *besieged) {
		s.spared = noGateway // the two sides take the room from each other, as slowly as the hold makes them
		w.split(func(p *process) bool { return p == &s.owner.process || p == &s.gate.process }, s.lasts)
	}},
}

// whenTaken does something as soon as another node has the room.
func (w *world) whenTaken(s *besieged, do func()) {
	var look func()
	look = func() {
		switch owner := w.journal.streams[s.room].owner; {
		case owner != nil && owner != &s.owner.process:
			do()
		case w.now < faultsAt+faultsFor:
			w.after(10*time.Millisecond, look)
		}
	}
	look()
}

// moveMembers sends the members at the besieged gateway to another one, which still takes the old owner for the owner.
func (w *world) moveMembers(s *besieged) {
	for i, g := range w.gateways {
		if g == s.gate {
			continue
		}
		for _, c := range w.clients {
			if n := c.conn; n != nil && n.g == s.gate {
				c.home = i
				n.breakOff()
			}
		}
	}
}

func (w *world) cutFromRooms(s *besieged) {
	there, back := w.ways()
	for _, n := range w.rooms {
		if n != s.owner {
			w.cutFor(s.owner.site, n.site, there, back, s.lasts)
		}
	}
}

// startSiege begins one around a room's owner and looks how the others fare.
func (w *world) startSiege(until time.Duration) {
	s := &besieged{
		room: roomID(w.rng.IntN(int(roomCount))), gate: w.gateways[w.rng.IntN(len(w.gateways))],
		spared: everyGateway, lasts: until - w.now,
	}
	s.owner = w.rooms[w.rng.IntN(len(w.rooms))]
	for _, n := range w.rooms {
		if w.journal.streams[s.room].owner == &n.process {
			s.owner = n
		}
	}
	kind := sieges[w.rng.IntN(len(sieges))]
	w.tracef("--- siege: %s (room %d, %s, %s)", kind.name, s.room, s.owner, s.gate)
	w.siege = kind.name
	w.stats.Faults++
	kind.begin(w, s)
	w.watchSiege(s)
}

// watchSiege checks L3 and L2 of those that the siege spares.
func (w *world) watchSiege(s *besieged) {
	const (
		probesFrom = 8 * time.Second
		patience   = 3 * time.Second // for a probe on its way
	)
	began := w.now
	spared := func(c *client) bool {
		return c.conn != nil && c.opened && s.spared(c.conn.g) && c.conn.undisturbed(began+probesFrom)
	}
	for d := probesFrom; d < writerBound+patience; d += 500 * time.Millisecond {
		w.after(d, func() {
			for _, c := range w.clients {
				// In the quiet room only those publish who always do, so that readers depend on being told.
				for _, r := range c.rooms {
					if r != nil && r.publishes {
						r.publish()
					}
				}
			}
		})
	}
	w.after(writerBound+patience, func() {
		for _, c := range w.clients {
			for _, r := range c.rooms {
				if r != nil && r.publishes && spared(c) && r.ackedAt < began+writerBound-time.Second {
					w.history.violation(kindL3, "%s: %s could not publish in room %d since %s", w.siege, c, r.room, fmt.Sprint(r.ackedAt))
				}
			}
		}
		heads := w.heads()
		w.after(headBound, func() { w.checkHeads(heads, spared) })
	})
}
