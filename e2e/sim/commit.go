package sim

import "errors"

// publishing is one connection's batch on its way into the journal, or a change of the room's settings: no frame then.
type publishing struct {
	in *inbound
}

// decided is a batch with what was decided of it.
type decided struct {
	in       *inbound
	outcomes []outcome
}

func (a *activation) publish(in *inbound) {
	if len(a.queue) >= roomQueue {
		a.n.host.refuse(in, busy, busyRetry)
		return
	}
	a.submit(&publishing{in: in})
}

// set changes the room's settings: an event that members see only as a hole in the numbers.
func (a *activation) set() { a.submit(&publishing{}) }

func (a *activation) submit(p *publishing) {
	a.queue = append(a.queue, p)
	if !a.flushing {
		a.flushing = true
		a.n.soon(func() {
			a.flushing = false
			a.form()
			a.step()
		})
	}
}

// form turns what is queued into one append: one is in flight at a time, what comes meanwhile is the next.
func (a *activation) form() {
	if a.inFlight || a.dead != nil || a.over || len(a.queue) == 0 {
		return
	}
	queue := a.queue
	a.queue = nil
	batch, events := a.decide(queue)
	if len(events) == 0 {
		a.answer(batch)
		return
	}
	a.inFlight = true
	epoch, expected := a.epoch, a.head
	if a.w.without.CommitFirst {
		a.apply(events)
		a.answer(batch)
	}
	a.w.journal.call(&a.n.process, true, commitTimeout, func() error {
		return a.w.journal.append(a.room, epoch, expected, events)
	}, func(err error) { a.committed(batch, events, err) })
}

// decide decides every batch on the state and what those before it decided. Ids that are known are answered with their seq
// before anything else is looked at.
func (a *activation) decide(queue []*publishing) (batch []decided, events []row) {
	seq, prev := a.head, a.last
	var fresh map[dedupeKey]uint64
	for _, p := range queue {
		if p.in == nil {
			seq++
			events = append(events, row{seq: seq, epoch: a.epoch, setting: true, by: &a.n.process})
			continue
		}
		d := decided{in: p.in, outcomes: make([]outcome, len(p.in.frame.drafts))}
		for i, id := range p.in.frame.drafts {
			key := dedupeKey{p.in.frame.member, id}
			first, known := fresh[key]
			if !known {
				first, known = a.window[key]
			}
			if known && !a.w.without.Dedupe {
				d.outcomes[i] = outcome{id: id, seq: first}
				a.w.stats.Duplicates++
				continue
			}
			seq++
			events = append(events, row{seq: seq, prev: prev, epoch: a.epoch, member: key.member, id: id, by: &a.n.process})
			prev = seq
			if fresh == nil {
				fresh = map[dedupeKey]uint64{}
			}
			fresh[key] = seq
			d.outcomes[i] = outcome{id: id, seq: seq}
		}
		batch = append(batch, d)
	}
	return batch, events
}

// committed takes the journal's answer. Only what is durable is acknowledged and delivered. Of an append whose outcome is
// unknown nothing is said: the askers are sent to the next activation, whose claim has settled it.
func (a *activation) committed(batch []decided, events []row, err error) {
	a.inFlight = false
	if a.over {
		return
	}
	switch {
	case a.w.without.CommitFirst:
		if terminal(err) {
			a.die(err)
		}
	case err == nil:
		a.apply(events)
		a.answer(batch)
	case terminal(err):
		a.die(err)
		for _, d := range batch {
			a.n.host.moved(d.in, a.dead.owner)
		}
	default:
		for _, d := range batch {
			a.n.host.refuse(d.in, unavailable, awayRetry)
		}
	}
	if errors.Is(err, errUnavailable) && a.w.without.CommitFirst {
		a.die(errUnknown) // it has told of what is not there
	}
	a.form()
	a.snapshot()
	a.step()
}

func (a *activation) apply(events []row) {
	for _, e := range events {
		a.rows = append(a.rows, e)
		a.head = e.seq
		if !e.setting {
			a.last = e.seq
			a.remember(e)
		}
	}
}

// answer acknowledges, then delivers.
func (a *activation) answer(batch []decided) {
	for _, d := range batch {
		a.n.host.reply(d.in, &frame{kind: publishedFrame, outcomes: d.outcomes})
	}
	a.deliver()
}

// snapshot saves one when enough has happened since the last.
func (a *activation) snapshot() {
	s := a.w.journal.streams[a.room]
	if a.dead != nil || a.over || a.head < s.snap+snapshotEvery {
		return
	}
	epoch, head := a.epoch, a.head
	a.w.journal.call(&a.n.process, true, commitTimeout, func() error {
		return a.w.journal.saveSnapshot(a.room, epoch, head)
	}, func(err error) {
		if errors.Is(err, errFenced) {
			a.die(err)
			a.step()
		}
	})
}
