package gateway

import "time"

const (
	// paceEvery is the period of pace's decisions.
	paceEvery = 100 * time.Millisecond
	// tooLate is how long the slowest hundredth of what is ready to run here may wait for a processor. What those who are
	// connected ask for waits that long several times over.
	tooLate = 2 * time.Millisecond
	// paceDown is what remains of the pace after a period that was late.
	paceDown = 0.7
	// paceUp is by what part of the least pace it rises in a period that was not.
	paceUp = 0.1
)

// pace decides how many newcomers are taken a second: as many as do not hold up those who are connected already, but never
// fewer than floor, so that all come in in the end, nor more than ceiling.
//
//	floor ──somebody waits, not late: + floor/10──► ceiling
//	      ◄──────────late: × 0.7 ── nobody waits────
//
// Without anybody waiting it goes back to floor: the next herd comes at once, and finds out anew what there is room for. Not
// safe for concurrent use.
type pace struct {
	floor, ceiling, rate float64
}

func newPace(floor, ceiling float64) pace { return pace{floor: floor, ceiling: ceiling, rate: floor} }

// observe takes what a period was like: how late this process was, and whether newcomers waited.
func (p *pace) observe(late time.Duration, pressed bool) {
	switch {
	case late > tooLate || !pressed:
		p.rate *= paceDown
	case late <= tooLate/2:
		p.rate += paceUp * p.floor
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
