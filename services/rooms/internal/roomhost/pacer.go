package roomhost

import (
	"math"
	"time"
)

const (
	// pauseAim is what a room's pause should be: half of what is promised, so that the slow ones keep it, too.
	pauseAim = 100 * time.Millisecond
	// pausesFirst is how many rooms pause at a time at first.
	pausesFirst = 4
)

// pacer decides how many rooms may pause at a time: more as long as pauses are short, fewer when they get long, since what
// makes them long is mostly each other. A drain that would not be done in time may have more (L5).
type pacer struct {
	most  int
	limit float64
	// mean of the last pauses, in seconds; 0: none yet.
	mean float64
	// ignore counts the pauses that began before the limit was lowered.
	ignore int
}

func newPacer(most int) pacer { return pacer{most: most, limit: min(pausesFirst, float64(most))} }

// took takes note of a pause.
func (p *pacer) took(pause time.Duration) {
	if p.mean == 0 {
		p.mean = pause.Seconds()
	}
	p.mean += (pause.Seconds() - p.mean) / 16
	switch {
	case p.ignore > 0:
		p.ignore--
	case pause > pauseAim:
		p.ignore = int(p.limit)
		p.limit = max(1, p.limit/2)
	default:
		p.limit = min(p.limit+1/p.limit, float64(p.most))
	}
}

// places returns how many rooms may pause now, when so many are still to be moved in that time; 0: it takes what it takes.
func (p *pacer) places(rooms int, within time.Duration) int {
	if within <= 0 {
		return int(p.limit)
	}
	needed := math.Ceil(float64(rooms) * p.mean / within.Seconds())
	return int(max(p.limit, min(needed, float64(p.most))))
}
