package sim

import "time"

// Faults as they are done to a running system. Each ends by itself; healAll ends what is left.

func (w *world) killFor(p *process, d time.Duration) {
	if !p.up {
		return
	}
	p.kill()
	w.after(d, p.start)
}

func (w *world) freezeFor(p *process, d time.Duration) {
	if !p.up || p.frozen {
		return
	}
	p.freeze()
	life := p.life
	for _, c := range w.clients { // who waits for a frozen gateway notices after a while
		if n := c.conn; n != nil && &n.g.process == p {
			w.after(w.between(2*time.Second, 4*time.Second), func() {
				if p.frozen && p.life == life && c.conn == n {
					n.closeByClient()
					c.disconnected(n)
				}
			})
		}
	}
	w.after(d, func() {
		if p.life == life {
			p.thaw()
		}
	})
}

// cutFor cuts the ways between two sites: there, back or both.
func (w *world) cutFor(a, b site, there, back bool, d time.Duration) {
	w.tracef("cut between %s and %s (there %v, back %v) for %s", w.siteName(a), w.siteName(b), there, back, d.Round(time.Millisecond))
	if there {
		w.net.cut(a, b)
	}
	if back {
		w.net.cut(b, a)
	}
	w.heals = append(w.heals, w.once(d, func() {
		w.tracef("the cut between %s and %s ends", w.siteName(a), w.siteName(b))
		if there {
			w.net.heal(a, b)
		}
		if back {
			w.net.heal(b, a)
		}
	}))
}

// once does something after d, or before, when somebody calls what it returns; not twice.
func (w *world) once(d time.Duration, do func()) func() {
	done := false
	now := func() {
		if !done {
			done = true
			do()
		}
	}
	w.after(d, now)
	return now
}

// ways are there and back, or one of them.
func (w *world) ways() (there, back bool) {
	switch w.rng.IntN(4) {
	case 0:
		return true, false
	case 1:
		return false, true
	default:
		return true, true
	}
}

// split parts the nodes in two groups that both reach the journal and the directory.
func (w *world) split(group func(p *process) bool, d time.Duration) {
	nodes := w.nodes()
	for i, a := range nodes {
		for _, b := range nodes[:i] {
			if group(a) != group(b) {
				w.cutFor(a.site, b.site, true, true, d)
			}
		}
	}
}

// isolate cuts a node off from all other nodes.
func (w *world) isolate(p *process, there, back bool, d time.Duration) {
	for _, o := range w.nodes() {
		if o != p {
			w.cutFor(p.site, o.site, there, back, d)
		}
	}
}

// nodes are all processes.
func (w *world) nodes() []*process {
	var all []*process
	for _, n := range w.rooms {
		all = append(all, &n.process)
	}
	for _, g := range w.gateways {
		all = append(all, &g.process)
	}
	return all
}

func (w *world) siteName(s site) string {
	for _, p := range w.nodes() {
		if p.site == s {
			return p.name
		}
	}
	if s == w.journal.site {
		return "the journal"
	}
	return "the directory"
}

// healAll ends every fault that is going on.
func (w *world) healAll() {
	w.tracef("--- all faults end")
	for _, heal := range w.heals {
		heal()
	}
	w.heals = nil
	w.net.trouble, w.net.stragglers = 0, 0
	w.journal.slow = false
	w.journal.start()
	w.journal.resume()
	if !w.directory.up {
		w.directory.start()
	}
	for _, p := range w.nodes() {
		p.thaw()
		p.start()
	}
	for _, n := range w.rooms {
		n.member.staleUntil = 0
	}
	for _, g := range w.gateways {
		g.member.staleUntil = 0
	}
	for _, c := range w.clients {
		if n := c.conn; n != nil && n.silent {
			n.breakOff()
		}
		if c.away {
			c.comeBack()
		}
	}
}
