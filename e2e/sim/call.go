package sim

import (
	"errors"
	"time"
)

// call asks the journal to do something and brings the outcome back to the process. An answer may be lost: then the caller
// finds out what became of it, or is told that nobody knows. Past its timeout the outcome of a write is unknown, and the
// journal may still do it: later, or after the next claim.
func (j *journal) call(p *process, writes bool, timeout time.Duration, do func() error, then func(error)) {
	c := &journalCall{j: j, p: p, life: p.life, do: do, then: then, lost: errUnavailable}
	if writes {
		c.lost = errUnknown
	}
	p.after(timeout, func() { c.answer(c.lost) })
	fate := j.w.net.fate()
	if fate == requestBreaks {
		j.w.net.back(p.site, p, p.life, func() { c.answer(errUnavailable) })
		return
	}
	j.w.net.to(p.site, j.site, func() {
		if !c.done { // else the connection was closed and what it still held is dropped
			c.arrive(fate)
		}
	})
}

type journalCall struct {
	j    *journal
	p    *process
	life int
	do   func() error
	then func(error)
	lost error
	done bool // answered
}

func (c *journalCall) answer(err error) {
	if !c.done {
		c.done = true
		c.then(err)
	}
}

func (c *journalCall) back(err error) {
	c.j.w.net.back(c.j.site, c.p, c.life, func() { c.answer(err) })
}

func (c *journalCall) arrive(fate fate) {
	j := c.j
	switch {
	case !j.up:
		c.back(errUnavailable) // refused: it was never asked
	case j.paused:
		j.held = append(j.held, func() { c.arrive(fate) })
	default:
		life := j.life
		j.w.after(j.service(), func() { c.carryOut(life, fate) })
	}
}

func (c *journalCall) carryOut(life int, fate fate) {
	j := c.j
	switch {
	case life != j.life: // it was killed meanwhile
		c.back(c.lost)
		return
	case j.paused:
		j.held = append(j.held, func() { c.carryOut(life, fate) })
		return
	}
	err := c.do()
	if fate == answerBreaks && j.w.chance(0.5) && err == nil {
		err = c.lost // not settled
	}
	c.back(err)
}

// service is how long one operation takes.
func (j *journal) service() time.Duration {
	if j.slow && j.w.chance(0.3) {
		return j.w.between(50*time.Millisecond, 6*time.Second)
	}
	return j.w.between(j.pace/8, j.pace)
}

// kill ends the journal's server: what it was doing is not done, what it has done stays.
func (j *journal) kill() {
	if j.up {
		j.w.tracef("the journal is killed")
		j.up, j.paused = false, false
		j.life++
		held := j.held
		j.held = nil
		for _, do := range held {
			do() // finds that nobody is there
		}
	}
}

func (j *journal) start() {
	if !j.up {
		j.w.tracef("the journal is back")
		j.up = true
	}
}

func (j *journal) pause() {
	if j.up {
		j.w.tracef("the journal freezes")
		j.paused = true
	}
}

func (j *journal) resume() {
	if !j.paused {
		return
	}
	j.w.tracef("the journal goes on")
	j.paused = false
	held := j.held
	j.held = nil
	for _, do := range held {
		do()
	}
}

// terminal says that an activation may not write after an append failed so.
func terminal(err error) bool {
	return errors.Is(err, errFenced) || errors.Is(err, errConflict) || errors.Is(err, errUnknown)
}
