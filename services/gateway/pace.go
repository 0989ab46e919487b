package gateway

import (
	"math"
	"time"
)

const (
	// paceEvery is the period of pace's decisions.
	paceEvery = 50 * time.Millisecond
	// tooLate is how long the slowest hundredth of what is ready to run here may wait for a processor. What those who are
	// connected ask for waits that long several times over.
	tooLate = 2 * time.Millisecond
	// tooOld is how long one who was taken may have been waiting for its session: what is behind this node does not keep up.
	tooOld = 100 * time.Millisecond
	// paceDown is what remains of the pace after a period that was too late.
	paceDown = 0.7
	// paceUp is by what the pace is multiplied in a period that was in time, once more for every such period since the last that was
	// too late, up to paceStride times: carefully where it was too much, and quickly where that was something passing.
	paceUp, paceStride = 1.02, 20
	// paceEase is what remains of the pace after a period in which nobody waited.
	paceEase = 0.9
)

// strain is what a period was like.
type strain struct {
	// late is how long goroutines waited for a processor.
	late time.Duration
	// age is how long the first of those that were taken has waited for its session.
	age time.Duration
}

func (s strain) tooMuch() bool { return s.late > tooLate || s.age > tooOld }
func (s strain) little() bool  { return s.late <= tooLate/2 && s.age <= tooOld/2 }

// pace decides how many newcomers are taken a second: as many as do not hold up those who are connected already, but never
// fewer than floor, so that all come in in the end, nor more than ceiling.
//
//	floor ──somebody waits, in time: × 1.02, × 1.02², … × 1.02²⁰──► ceiling
//	      ◄──────too late: × 0.7 ── nobody waits: × 0.9────────────
//
// A herd is let in faster by half after each period until it is too much: nobody knows before what there is room for. Without
// anybody waiting it goes back to floor, and the next herd finds out anew. Not safe for concurrent use.
type pace struct {
	floor, ceiling, rate float64
	stride               int // how many times paceUp the next step up is
}

func newPace(floor, ceiling float64) pace {
	return pace{floor: floor, ceiling: ceiling, rate: floor, stride: paceStride}
}

// observe takes what a period was like, and whether newcomers waited.
func (p *pace) observe(s strain, pressed bool) {
	switch {
	case s.tooMuch():
		p.rate *= paceDown
		p.stride = 1
	case !pressed:
		p.rate *= paceEase
		p.stride = paceStride
	case s.little():
		p.rate *= math.Pow(paceUp, float64(p.stride))
		p.stride = min(p.stride+1, paceStride)
	}
	p.rate = min(max(p.rate, p.floor), p.ceiling)
}

// budget lets something happen at a rate, and a few times at once after a pause.
type budget struct{ next time.Time }

// due says in how long there is one; zero or less: now.
func (b *budget) due(now time.Time) time.Duration { return b.next.Sub(now) }

// spend takes one.
func (b *budget) spend(now time.Time, perSecond float64, burst int) {
	interval := time.Duration(float64(time.Second) / perSecond)
	if earliest := now.Add(-time.Duration(burst) * interval); b.next.Before(earliest) {
		b.next = earliest
	}
	b.next = b.next.Add(interval)
}
