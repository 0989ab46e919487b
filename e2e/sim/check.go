package sim

// checkStored looks at the whole history once nothing happens any more.
func (h *history) checkStored() {
	for i, r := range h.rooms {
		room := roomID(i)
		for _, a := range r.acks { // S1: still there
			if !h.durable(room, a.id, a.seq) {
				h.violation(kindS1, "client-%d: %v was acknowledged at %d of room %d and is lost", a.client, a.id, a.seq, room)
			}
		}
		h.checkOrder(room)
	}
}

// checkOrder is S4: what a client published in its order is stored in it, except for messages of which an attempt was refused.
func (h *history) checkOrder(room roomID) {
	last := map[int]int{}
	for _, e := range h.w.journal.streams[room].rows {
		if e.setting || h.rooms[room].refused[e.id] {
			continue
		}
		if e.id.n < last[e.id.client] {
			h.violation(kindS4, "room %d has %v at %d behind %d of the same client", room, e.id, e.seq, last[e.id.client])
		}
		last[e.id.client] = max(last[e.id.client], e.id.n)
	}
}

// heads are the rooms' newest messages now.
func (w *world) heads() []uint64 {
	heads := make([]uint64, len(w.journal.streams))
	for i, s := range w.journal.streams {
		for _, e := range s.rows {
			if !e.setting {
				heads[i] = e.seq
			}
		}
	}
	return heads
}

func everybody(*client) bool { return true }

// checkHeads is L2: everybody who is there has every room up to heads. only: clients it is asked of.
func (w *world) checkHeads(heads []uint64, only func(*client) bool) {
	for _, c := range w.clients {
		if c.away || !only(c) {
			continue
		}
		for _, r := range c.rooms {
			if r != nil && r.placed && r.cursor.seq < heads[r.room] {
				w.history.violation(kindL2, "%s has room %d up to %d, it was at %d %s ago", c, r.room, r.cursor.seq, heads[r.room], headBound)
			}
		}
	}
}
