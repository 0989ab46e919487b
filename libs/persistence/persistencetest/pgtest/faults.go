package pgtest

import (
	"math/rand/v2"
	"strings"
	"time"
)

// Direction is one in which a proxy forwards.
type Direction int

// The directions; Both is for Stall.
const (
	ToServer Direction = iota
	ToClient
	Both
)

// faults are what a proxy is to break.
type faults struct {
	lose, half answerFault
	delay      time.Duration
	stalled    [Both]time.Time // until when, by direction
	refuse     bool
}

// answerFault says which answers something happens to.
type answerFault struct {
	left int     // how many more; negative: all
	rate float64 // of those that left does not cover
	tags []string
}

func (f *answerFault) armed() bool { return f.left != 0 || f.rate > 0 }

// hits decides on an answer, and counts it off.
func (f *answerFault) hits(tags []string) bool {
	if !f.armed() || !f.wants(tags) {
		return false
	}
	if f.left == 0 {
		return rand.Float64() < f.rate
	}
	if f.left > 0 {
		f.left--
	}
	return true
}

func (f *answerFault) wants(tags []string) bool {
	if len(f.tags) == 0 {
		return true
	}
	for _, wanted := range f.tags {
		for _, tag := range tags {
			if strings.HasPrefix(tag, wanted) {
				return true
			}
		}
	}
	return false
}

// LoseAnswers drops the next n answers after the server has sent them, and resets their connections: the client does not know
// what became of its request. A negative n is all, 0 ends it. With tags it hits only answers in which a command reports one of
// them, like "COMMIT" or "INSERT"; errors report none.
func (p *Proxy) LoseAnswers(n int, tags ...string) {
	p.change(func(f *faults) { f.lose = answerFault{left: n, tags: tags} })
}

// LoseAnswersAtRate is LoseAnswers with a probability for each answer.
func (p *Proxy) LoseAnswersAtRate(rate float64, tags ...string) {
	p.change(func(f *faults) { f.lose = answerFault{rate: rate, tags: tags} })
}

// HalfClose is LoseAnswers with an end of the stream instead of a reset: the client reads EOF and may still write.
func (p *Proxy) HalfClose(n int, tags ...string) {
	p.change(func(f *faults) { f.half = answerFault{left: n, tags: tags} })
}

// DelayAnswers holds each answer for d after its beginning has come; answers that wait behind it are delayed after it.
func (p *Proxy) DelayAnswers(d time.Duration) {
	p.change(func(f *faults) { f.delay = d })
}

// Stall forwards nothing in a direction for d; 0 ends it. Connections are accepted and stay open, and nobody is told: it is
// a network that swallows packets. What was sent meanwhile arrives afterwards.
func (p *Proxy) Stall(direction Direction, d time.Duration) {
	until := time.Now().Add(d)
	p.change(func(f *faults) {
		for one := range Both {
			if direction == one || direction == Both {
				f.stalled[one] = until
			}
		}
	})
}

// Refuse resets new connections as soon as they are there.
func (p *Proxy) Refuse(on bool) {
	p.change(func(f *faults) { f.refuse = on })
}

// Cut resets all connections, at both ends, and returns how many there were.
func (p *Proxy) Cut() int {
	n := p.cutAll()
	p.count(func(c *Counts) { c.Cuts += n })
	return n
}

// Heal ends all faults.
func (p *Proxy) Heal() {
	p.change(func(f *faults) { *f = faults{} })
}

func (p *Proxy) cutAll() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.abort()
	}
	n := len(p.links)
	clear(p.links)
	return n
}

func (p *Proxy) change(apply func(*faults)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	apply(&p.faults)
	close(p.changed)
	p.changed = make(chan struct{})
}

// losing says whether answers have to be held until it is known what they are.
func (p *Proxy) losing() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.faults.lose.armed() || p.faults.half.armed()
}

// fate is what happens to a complete answer.
type fate int

const (
	passed fate = iota
	lost
	halfClosed
)

func (p *Proxy) decide(tags []string) fate {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.faults.lose.hits(tags):
		p.counts.LostAnswers++
		return lost
	case p.faults.half.hits(tags):
		p.counts.HalfCloses++
		return halfClosed
	default:
		return passed
	}
}

// delay is how long an answer that begins now has to wait.
func (p *Proxy) delay() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.faults.delay > 0 {
		p.counts.DelayedAnswers++
	}
	return p.faults.delay
}

// stall is how long a direction is stalled yet, and the channel that is closed when that changes.
func (p *Proxy) stall(direction Direction) (time.Duration, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Until(p.faults.stalled[direction]), p.changed
}
