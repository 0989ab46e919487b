package sim

import "time"

// storm lets faults happen at random, several at a time, until the given time.
func (w *world) startStorm(until time.Duration) {
	w.storm = true
	var next func()
	next = func() {
		if w.now >= until {
			return
		}
		w.fault()
		w.after(w.between(100*time.Millisecond, 2*time.Second), next)
	}
	next()
}

// short is a duration that is mostly short.
func (w *world) short(most time.Duration) time.Duration {
	if w.chance(0.25) {
		return w.between(0, most)
	}
	return w.between(0, most/5)
}

// fault begins one.
func (w *world) fault() {
	w.stats.Faults++
	room := w.rooms[w.rng.IntN(len(w.rooms))]
	gate := w.gateways[w.rng.IntN(len(w.gateways))]
	someone := w.clients[w.rng.IntN(len(w.clients))]
	switch w.rng.IntN(21) { // the more often, the more numbers it has
	case 0, 1:
		w.killFor(&room.process, w.short(8*time.Second))
	case 2:
		w.killFor(&gate.process, w.short(6*time.Second))
	case 3, 4:
		w.freezeFor(&room.process, w.short(20*time.Second))
	case 5:
		w.freezeFor(&gate.process, w.short(20*time.Second))
	case 6, 7, 8:
		w.cutSome()
	case 9:
		side := w.rng.Uint64()
		w.split(func(p *process) bool { return side>>(p.site)&1 == 1 }, w.short(15*time.Second))
	case 10:
		there, back := w.ways()
		w.isolate(&room.process, there, back, w.short(15*time.Second))
	case 11:
		w.journalFault()
	case 12:
		w.directoryFault()
	case 13:
		room.drainAndReturn(w.short(4 * time.Second))
	case 14:
		for _, c := range gate.cores {
			c.drain()
		}
	case 15:
		w.trouble()
	case 16:
		if n := someone.conn; n != nil {
			n.breakOff()
		}
	case 17:
		if n := someone.conn; n != nil {
			n.goSilent()
		}
	case 18:
		someone.leaveFor(w.between(100*time.Millisecond, 8*time.Second))
	case 19:
		w.handOverSome()
	case 20:
		w.endUnheard(room, gate)
	}
}

// cutSome cuts ways between two places.
func (w *world) cutSome() {
	places := len(w.net.cuts)
	a, b := site(w.rng.IntN(places)), site(w.rng.IntN(places))
	if a == b || a >= w.journal.site && b >= w.journal.site {
		return
	}
	there, back := w.ways()
	w.cutFor(a, b, there, back, w.short(15*time.Second))
}

func (w *world) journalFault() {
	d := w.short(6 * time.Second)
	switch w.rng.IntN(3) {
	case 0:
		w.journal.kill()
		w.after(d, w.journal.start)
	case 1:
		w.journal.pause()
		w.after(d, w.journal.resume)
	default:
		w.tracef("the journal is slow")
		w.journal.slow = true
		w.after(d, func() { w.journal.slow = false })
	}
}

func (w *world) directoryFault() {
	switch w.rng.IntN(3) {
	case 0:
		w.directory.stop()
		w.after(w.between(time.Second, 15*time.Second), func() {
			if !w.directory.up {
				w.directory.start()
			}
		})
	case 1:
		n := w.rooms[w.rng.IntN(len(w.rooms))]
		w.tracef("%s sees an old directory", n)
		n.member.staleUntil = w.now + w.between(2*time.Second, 20*time.Second)
	default:
		g := w.gateways[w.rng.IntN(len(w.gateways))]
		w.tracef("%s sees an old directory", g)
		g.member.staleUntil = w.now + w.between(2*time.Second, 20*time.Second)
	}
}

// trouble makes connections break and messages late for a while.
func (w *world) trouble() {
	w.tracef("connections break")
	w.net.trouble, w.net.stragglers = 0.02+0.4*w.rng.Float64(), 0.05*w.rng.Float64()
	w.after(w.short(8*time.Second), func() { w.net.trouble, w.net.stragglers = 0, 0 })
}

// drainAndReturn is SIGTERM and a restart.
func (n *roomsNode) drainAndReturn(after time.Duration) {
	n.drain()
	n.w.after(10*time.Second+after, n.start)
}

// moveInPeace hands rooms over before any fault, while a gateway forgets now and then who owns what, as it does with a room
// that it has not heard of for long. Nobody may be robbed for that, and no publish held up.
func (w *world) moveInPeace() {
	for at := warmUp; at < faultsAt-500*time.Millisecond; at += 400 * time.Millisecond {
		w.after(at, w.handOverSome)
		w.after(at+w.between(0, 400*time.Millisecond), func() {
			if w.chance(0.4) {
				clear(w.gateways[w.rng.IntN(len(w.gateways))].owners)
			}
			if w.chance(0.2) {
				w.giveBackSome()
			}
		})
	}
}

// endUnheard ends a room's activation while the Link to a subscribed gateway is down, as it is when the answer to a batch was
// lost with its connection: the gateway, whose own Link is up, gets no Closed.
func (w *world) endUnheard(n *roomsNode, g *gateway) {
	if !n.up || n.frozen {
		return
	}
	l := n.links.find(&g.process)
	if l == nil || l.state != up {
		return
	}
	l.fall(errBroke)
	l.retryAt = w.now + w.between(50*time.Millisecond, time.Second)
	for _, s := range n.host.slots {
		if s != nil && s.state == running && s.move == nil {
			n.host.finish(s, whyDrain)
		}
	}
}

// giveBackSome ends a room as if it was idle: whoever is asked next takes it, and two may be asked.
func (w *world) giveBackSome() {
	for _, n := range w.rooms {
		for _, s := range n.host.slots {
			if s != nil && s.state == running && s.move == nil {
				n.host.finish(s, whyDrain)
				return
			}
		}
	}
}

// handOverSome hands rooms over as if a better node had joined.
func (w *world) handOverSome() {
	for _, n := range w.rooms {
		if !n.up || n.frozen {
			continue
		}
		for _, s := range n.host.slots {
			if s != nil && s.state == running && s.move == nil && w.chance(0.5) {
				n.host.begin(s, &move{})
				return
			}
		}
	}
}
