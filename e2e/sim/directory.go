package sim

import "time"

// record is a node in the directory.
type record struct {
	p        *process
	life     int
	rooms    bool // a rooms node, else a gateway
	draining bool
	renewed  time.Duration
}

// directory is the control plane: who is there. It may be down, cut off, or a process may see an old view of it.
type directory struct {
	w       *world
	site    site
	up      bool
	version int
	records []record
	// view is what records were at version. It is never changed.
	view []record
}

func newDirectory(w *world, at site) *directory {
	d := &directory{w: w, site: at, up: true}
	var expire func()
	expire = func() {
		d.expire()
		w.after(500*time.Millisecond, expire)
	}
	expire()
	return d
}

func (d *directory) expire() {
	if !d.up {
		return
	}
	kept := d.records[:0]
	for _, r := range d.records {
		if d.w.now-r.renewed <= lease {
			kept = append(kept, r)
			continue
		}
		d.w.tracef("the directory forgets %s", r.p)
	}
	if len(kept) != len(d.records) {
		d.records = kept
		d.changed()
	}
}

func (d *directory) changed() {
	d.version++
	d.view = append([]record(nil), d.records...)
}

// stop and start: nobody could renew meanwhile, so everybody gets a whole new lease.
func (d *directory) stop() {
	d.w.tracef("the directory is down")
	d.up = false
}

func (d *directory) start() {
	d.w.tracef("the directory is back")
	d.up = true
	for i := range d.records {
		d.records[i].renewed = d.w.now
	}
}

// put writes or renews a node's record.
func (d *directory) put(r record) {
	if !d.up {
		return
	}
	r.renewed = d.w.now
	for i, old := range d.records {
		if old.p != r.p {
			continue
		}
		if old.life > r.life {
			return
		}
		d.records[i] = r
		if old.life != r.life || old.draining != r.draining {
			d.changed()
		}
		return
	}
	d.records = append(d.records, r)
	d.changed()
}

func (d *directory) remove(p *process, life int) {
	for i, r := range d.records {
		if d.up && r.p == p && r.life == life {
			d.records = append(d.records[:i], d.records[i+1:]...)
			d.changed()
			return
		}
	}
}

// member is a process's part in the directory: its record and its view.
type member struct {
	p        *process
	self     func() record
	changed  func()
	version  int
	view     []record
	stableAt time.Duration
	// asOf is when the view was last known to be complete.
	asOf time.Duration
	// staleUntil is the end of a fault that keeps the view as it is.
	staleUntil time.Duration
}

// join registers a process and keeps its view up to date for this life.
func (m *member) join(p *process, self func() record, changed func()) {
	*m = member{p: p, self: self, changed: changed, version: -1, staleUntil: m.staleUntil}
	m.renew()
	p.every(renewEvery, m.renew)
	p.every(200*time.Millisecond, m.look)
}

func (m *member) renew() {
	r, d := m.self(), m.p.w.directory
	m.p.w.net.to(m.p.site, d.site, func() { d.put(r) })
}

func (m *member) leave() {
	d, p, life := m.p.w.directory, m.p, m.p.life
	m.p.w.net.to(p.site, d.site, func() { d.remove(p, life) })
}

func (m *member) look() {
	w, d := m.p.w, m.p.w.directory
	reachable := d.up && w.net.open(m.p.site, d.site) && w.net.open(d.site, m.p.site)
	if !reachable || w.now < m.staleUntil {
		return
	}
	m.asOf = w.now
	if m.version == d.version {
		return
	}
	m.version, m.view, m.stableAt = d.version, d.view, w.now
	m.changed()
}

// live says whether the directory has a record of a rooms node.
func (m *member) live(p *process) bool {
	for _, r := range m.view {
		if r.p == p && r.rooms {
			return true
		}
	}
	return false
}

// ranked are the rooms nodes in the order in which they are asked for a room: the ready ones first.
func (m *member) ranked(room roomID) []*process {
	all := m.ready(room)
	for _, r := range m.view {
		if r.rooms && r.draining {
			all = append(all, r.p)
		}
	}
	return all
}

// ready are the rooms nodes that take rooms, in the order in which a room prefers them.
func (m *member) ready(room roomID) []*process {
	var ready []*process
	for _, r := range m.view {
		if r.rooms && !r.draining {
			ready = append(ready, r.p)
		}
	}
	for i := 1; i < len(ready); i++ {
		for k := i; k > 0 && score(room, ready[k]) > score(room, ready[k-1]); k-- {
			ready[k], ready[k-1] = ready[k-1], ready[k]
		}
	}
	return ready
}

// score ranks nodes for a room, the same everywhere.
func score(room roomID, p *process) uint64 {
	x := uint64(room)<<32 ^ uint64(p.rank+1)
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
