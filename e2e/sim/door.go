package sim

import "slices"

// door is where batches arrive. It knows by their numbers which it has taken and which are missing.
type door struct {
	links   *links
	senders []*sender
}

type sender struct {
	node   *process
	life   int
	last   uint64
	frames bool
}

// doorOf is the door of the process that runs at an address now.
func doorOf(p *process) *door {
	for _, n := range p.w.rooms {
		if &n.process == p {
			return &n.links.door
		}
	}
	for _, g := range p.w.gateways {
		if &g.process == p {
			return &g.links.door
		}
	}
	panic("no node " + p.name)
}

// take hands a batch over. The error goes back to the sender.
func (d *door) take(b *batch) error {
	if b.to != d.links.p.life {
		return errRefused
	}
	repeated, lost, refused := d.judge(b)
	if refused {
		return errRefused
	}
	// A batch that a newer one has overtaken says nothing of the sender now.
	if l := d.links.find(b.from.p); l != nil && l.peer == b.from && (!repeated || d.links.p.w.without.OldNews) {
		l.onHeard(b.blind)
	}
	if lost {
		d.links.p.w.tracef("%s: batches of %s are missing before %d", d.links.p, b.from.p, b.number)
		d.links.handler.linkLost(b.from.p)
	}
	if repeated && !d.links.p.w.without.BatchNumbers {
		d.links.p.w.stats.Repeats++
		return nil
	}
	for _, f := range b.frames {
		d.links.handler.handleFrame(b.from.p, f)
	}
	return nil
}

// judge takes note of a batch. A sender puts frames only into batches that follow an answered one, so the first batch of a
// life may have any number.
func (d *door) judge(b *batch) (repeated, lost, refused bool) {
	i := slices.IndexFunc(d.senders, func(s *sender) bool { return s.node == b.from.p })
	if i < 0 {
		d.senders = append(d.senders, &sender{node: b.from.p, life: b.from.life, last: b.number, frames: len(b.frames) > 0})
		return false, false, false
	}
	s := d.senders[i]
	switch {
	case b.from.life < s.life: // a life that was replaced
		return false, false, true
	case b.from.life > s.life:
		lost = s.frames
		s.life, s.frames = b.from.life, false
	case b.number <= s.last:
		return true, false, false
	case b.number > s.last+1:
		lost = true
	}
	s.last = b.number
	s.frames = s.frames || len(b.frames) > 0
	return false, lost, false
}
