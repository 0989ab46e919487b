package sim

import (
	"io"
	"math/rand/v2"
	"time"
)

// Options of one run.
type Options struct {
	Seed    uint64
	Without Without
	// Trace gets a line per thing that happens; nil: nothing is traced.
	Trace io.Writer
}

// Stats count what happened in a run, to see that it was worth something.
type Stats struct {
	Events, Faults                           int
	Published, Stored, Delivered, Duplicates int
	Refusals, Resends, Moved, Repeats        int
	Claims, Takeovers, Deaths, Held          int
	Behind, FoundLost, HandOvers             int
	Subscribes, Closed, Gaps, Former         int
	Pages, JournalReads, Strikes             int
	Differed, LeftBlind                      int
	Connects, Resumes, Tokens                int
}

// Result is what a run found.
type Result struct {
	// Siege names the one fault of the run; empty: it was a storm.
	Siege      string
	Violations []Violation
	Stats      Stats
}

const (
	// warmUp is how long everybody may take to find each other; after it nothing may go wrong by itself.
	warmUp = 4 * time.Second
	// faultsAt is when the faults begin, faultsFor how long they last.
	faultsAt  = 8 * time.Second
	faultsFor = 25 * time.Second
	// settleFor is how long a run goes on after the faults.
	settleFor = 16 * time.Second
)

// Run simulates the cluster once.
func Run(o Options) Result {
	w := newWorld(o)
	healed := faultsAt + faultsFor
	for _, p := range w.nodes() {
		w.after(w.between(0, time.Second), p.start)
	}
	w.makeClients()
	w.publishUntil(healed + 4*time.Second)
	w.moveInPeace()
	w.after(faultsAt, func() {
		if w.chance(0.5) {
			w.startSiege(healed)
		} else {
			w.startStorm(healed)
		}
	})
	w.after(healed, func() { w.afterFaults() })
	w.run(healed + settleFor)
	w.finish()
	return Result{Siege: w.siege, Violations: w.history.violations, Stats: w.stats}
}

func newWorld(o Options) *world {
	w := &world{without: o.Without, rng: rand.New(rand.NewPCG(o.Seed, 0)), out: o.Trace}
	places := site(roomsNodeCount + gatewayCount)
	w.net = newNetwork(w, int(places)+2)
	w.journal = &journal{w: w, site: places, up: true, pace: 4 * time.Millisecond}
	if w.chance(0.3) {
		w.journal.pace = 30 * time.Millisecond
	}
	for range roomCount {
		w.journal.streams = append(w.journal.streams, &stream{})
	}
	w.directory = newDirectory(w, places+1)
	w.history = newHistory(w, int(roomCount))
	for i := range roomsNodeCount {
		w.rooms = append(w.rooms, newRoomsNode(w, i, site(i)))
	}
	for i := range gatewayCount {
		w.gateways = append(w.gateways, newGateway(w, i, site(roomsNodeCount+i)))
	}
	return w
}

// calm says that no fault is or was going on lately.
func (w *world) calm() bool {
	return w.now > warmUp && (w.now < faultsAt || w.now > faultsAt+faultsFor+writerBound)
}

// afterFaults ends the faults and looks whether everybody recovers in time.
func (w *world) afterFaults() {
	w.healAll()
	heads := w.heads()
	w.after(headBound, func() { w.checkHeads(heads, everybody) })
	for _, c := range w.clients {
		for _, r := range c.rooms {
			if r != nil {
				p := r.publish()
				w.after(writerBound, func() {
					if p.state != settled {
						w.history.violation(kindL3, "%s could not publish %v in room %d for %s after the faults", c, p.id, r.room, writerBound)
					}
				})
			}
		}
	}
	w.storm = false
}

// finish checks what must hold when everything has come to rest.
func (w *world) finish() {
	w.checkHeads(w.heads(), everybody)
	w.history.checkStored()
}
