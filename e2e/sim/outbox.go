package sim

import (
	"slices"
	"time"
)

type publicationState uint8

const (
	queued publicationState = iota
	sent
	refused
	settled
)

// publication is one message on its way.
type publication struct {
	id       messageID
	state    publicationState
	attempts int
	// suspect: an attempt was refused, so it may be stored or not. Nothing behind it is sent, and it is sent alone.
	suspect bool
	began   time.Duration
	sentAt  time.Duration
	// floor is the highest seq that anybody had heard of as acknowledged when it was first sent.
	floor     uint64
	notBefore time.Duration
}

// outbox is one room's unanswered publishes in their order, as the client library keeps them.
type outbox struct{ list []*publication }

func (o *outbox) find(id messageID) *publication {
	for _, p := range o.list {
		if p.id == id && p.attempts > 0 {
			return p
		}
	}
	return nil
}

func (o *outbox) inFlight() int {
	n := 0
	for _, p := range o.list {
		if p.state == sent {
			n++
		}
	}
	return n
}

// take returns what is to be sent now, in order, and marks it sent.
func (o *outbox) take(now time.Duration) []*publication {
	var out []*publication
	flying := o.inFlight()
	for _, p := range o.list {
		if p.suspect {
			if p.state != sent && flying == 0 && now >= p.notBefore {
				out = append(out, p.send(now))
			}
			break
		}
		if p.state != queued {
			continue
		}
		if flying == clientWindow {
			break
		}
		flying++
		out = append(out, p.send(now))
	}
	return out
}

func (p *publication) send(now time.Duration) *publication {
	p.attempts++
	p.state, p.sentAt = sent, now
	return p
}

// unanswered makes publications refused whose answer is overdue.
func (o *outbox) unanswered(now time.Duration, note func(*publication)) {
	for _, p := range o.list {
		if p.state == sent && now-p.sentAt >= clientAnswer {
			note(p)
			o.refuse(p, now)
		}
	}
}

func (o *outbox) refuse(p *publication, notBefore time.Duration) {
	p.state, p.suspect, p.notBefore = refused, true, notBefore
}

func (o *outbox) settle(p *publication) {
	p.state = settled
	o.list = slices.DeleteFunc(slices.Clone(o.list), func(q *publication) bool { return q == p })
}

// disconnected takes back what is unanswered.
func (o *outbox) disconnected() {
	for _, p := range o.list {
		if p.state == sent {
			p.state = queued
		}
		p.notBefore = 0
	}
}

// memberChanged gives up what was sent under another member's name.
func (o *outbox) memberChanged() {
	o.list = slices.DeleteFunc(slices.Clone(o.list), func(p *publication) bool { return p.attempts > 0 })
}
