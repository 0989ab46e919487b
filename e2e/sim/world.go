package sim

import (
	"fmt"
	"io"
	"math/rand/v2"
	"time"
)

// world is one run: the processes, what is on its way, and the time. Everything happens on one goroutine and everything
// random comes from one source, so a seed is a run. Nothing may depend on the order of a map.
type world struct {
	without Without
	rng     *rand.Rand
	now     time.Duration
	events  eventQueue
	order   uint64

	net       network
	journal   *journal
	directory *directory
	rooms     []*roomsNode
	gateways  []*gateway
	clients   []*client
	history   *history
	stats     Stats

	// storm: many faults are going on. siege: the one fault that is; empty: none.
	storm bool
	siege string
	// heals end the cuts that are going on.
	heals []func()
	out   io.Writer // of the trace; nil: none
}

// tracing says whether tracef does anything; ask it before preparing arguments on a hot path.
func (w *world) tracing() bool { return w.out != nil }

func (w *world) tracef(format string, args ...any) {
	if w.out != nil {
		_, _ = fmt.Fprintf(w.out, "%9.4f  %s\n", w.now.Seconds(), fmt.Sprintf(format, args...))
	}
}

func (w *world) chance(p float64) bool { return w.rng.Float64() < p }

// between is a random duration in [a, b).
func (w *world) between(a, b time.Duration) time.Duration {
	if b <= a {
		return a
	}
	return a + time.Duration(w.rng.Int64N(int64(b-a)))
}

// after does something that belongs to no process.
func (w *world) after(d time.Duration, do func()) {
	w.push(event{at: w.now + d, do: do})
}

func (w *world) push(e event) {
	w.order++
	e.order = w.order
	w.events.push(e)
}

// run goes on until the given time.
func (w *world) run(until time.Duration) {
	for len(w.events) > 0 && w.events[0].at <= until {
		e := w.events.pop()
		w.now = e.at
		w.stats.Events++
		e.happen()
	}
	w.now = until
}

// eventKind says what a process that was frozen finds when it goes on.
type eventKind uint8

const (
	timer eventKind = iota
	input
)

// anyLife is for what goes to an address: whoever runs there gets it.
const anyLife = -1

// event is something that is going to happen.
type event struct {
	at    time.Duration
	order uint64
	// p is nil for what belongs to no process.
	p    *process
	life int
	kind eventKind
	do   func()
	// refused happens instead when nobody runs at the address.
	refused func()
}

func (e *event) happen() {
	p := e.p
	switch {
	case p == nil:
		e.do()
	case e.life == anyLife && !p.up:
		if e.refused != nil {
			e.refused()
		}
	case e.life != anyLife && e.life != p.life:
	case p.frozen && e.kind == timer:
		p.timers = append(p.timers, e.do)
	case p.frozen:
		p.inputs = append(p.inputs, e.do)
	default:
		e.do()
	}
}

// process is one operating system process: it lives, freezes, dies and lives again under the same name.
type process struct {
	w    *world
	name string
	site site
	// rank is the process's place among those of its kind.
	rank int
	// life changes with every start and end, so that what belongs to an earlier one is dropped.
	life int
	up   bool

	frozen   bool
	thawedAt time.Duration
	// What waits while it is frozen.
	timers, inputs []func()

	boot func()
	died func()
}

func (p *process) String() string {
	if p == nil {
		return "nobody"
	}
	return p.name
}

// after is a timer of this life.
func (p *process) after(d time.Duration, do func()) {
	p.w.push(event{at: p.w.now + d, p: p, life: p.life, do: do})
}

// soon does something on the process's next turn.
func (p *process) soon(do func()) {
	p.w.push(event{at: p.w.now + p.w.between(time.Microsecond, 200*time.Microsecond), p: p, life: p.life, kind: input, do: do})
}

// every repeats something until the end of this life.
func (p *process) every(d time.Duration, do func()) {
	var again func()
	again = func() {
		do()
		p.after(d, again)
	}
	p.after(p.w.between(0, d), again)
}

func (p *process) start() {
	if p.up {
		return
	}
	p.life++
	p.up = true
	p.w.tracef("%s starts (life %d)", p.name, p.life)
	p.boot()
}

// kill ends the process without a word.
func (p *process) kill() {
	if !p.up {
		return
	}
	p.w.tracef("%s is gone", p.name)
	p.life++
	p.up, p.frozen = false, false
	p.timers, p.inputs = nil, nil
	p.died()
}

func (p *process) freeze() {
	if p.up && !p.frozen {
		p.w.tracef("%s freezes", p.name)
		p.frozen = true
	}
}

// thaw lets the process go on. What it finds first, its timers or its sockets, is chance.
func (p *process) thaw() {
	if !p.frozen {
		return
	}
	p.w.tracef("%s goes on", p.name)
	p.frozen, p.thawedAt = false, p.w.now
	first, then := p.inputs, p.timers
	if p.w.chance(0.5) {
		first, then = then, first
	}
	p.timers, p.inputs = nil, nil
	life := p.life
	for _, do := range append(first, then...) {
		if p.life == life {
			do()
		}
	}
}
