package sim

import (
	"errors"
	"slices"
)

// why says why an activation ends.
type why uint8

const (
	serving why = iota
	whyIdle
	whyDrain
	whyMove
	whyFailed
)

// activation is one life of a room on a node: its writer.
//
//	serving ──finish──► finishing ──nothing in flight──► snapshot and release, or handed over ──► over
//	   └──► dead: fenced, or the outcome of an append is unknown
type activation struct {
	n    *roomsNode
	w    *world
	s    *slot
	room roomID

	epoch uint64
	rows  []row
	// head is the newest event's seq, last the newest message's. told is the newest message that was delivered.
	head, last, told uint64
	window           map[dedupeKey]uint64

	queue    []*publishing
	flushing bool
	inFlight bool

	subscribers, owed []*process

	reading int
	ending  why
	stopped bool // told the host that nothing is in flight
	dead    *death
	over    bool
}

// death is why an activation cannot go on.
type death struct {
	fenced bool
	owner  *process
}

func newActivation(n *roomsNode, s *slot, c claimed, rows []row) *activation {
	a := &activation{n: n, w: n.w, s: s, room: s.room, epoch: c.epoch, rows: rows, window: map[dedupeKey]uint64{}}
	a.head = uint64(len(rows))
	for _, r := range rows {
		if r.setting {
			continue
		}
		a.last = r.seq
		if a.w.without.Backfill && r.seq <= c.snap {
			continue
		}
		a.remember(r)
	}
	a.told = a.last
	if a.w.tracing() {
		a.w.tracef("%s: runs room %d, epoch %d, head %d", n, a.room, a.epoch, a.head)
	}
	return a
}

// remember keeps an id; one that is there keeps its first seq.
func (a *activation) remember(r row) {
	key := dedupeKey{r.member, r.id}
	if _, ok := a.window[key]; !ok {
		a.window[key] = r.seq
	}
}

func (a *activation) inbound(in *inbound) {
	if a.dead != nil {
		a.n.host.moved(in, a.dead.owner)
		return
	}
	switch in.frame.kind {
	case publishFrame:
		a.publish(in)
	case joinFrame:
		a.join(in)
	case readFrame:
		a.read(in)
	case subscribeFrame:
		a.subscribe(in)
	case unsubscribeFrame:
		a.dropSubscriber(in.from)
		a.owed = without(a.owed, in.from)
	}
}

// join places a member's stream at the head as it is now, or where its cursor says.
func (a *activation) join(in *inbound) {
	c := in.frame.cursor
	f := &frame{kind: joinedFrame, epoch: a.epoch, head: a.head, at: a.head}
	switch {
	case c == nil:
	case a.w.without.Cursor:
		f.recovered = true
	case c.seq > a.head, c.id != (messageID{}) && a.rows[c.seq-1].id != c.id:
		f.reset = true
		if !a.w.without.SureReset {
			a.makeSure(in)
			return
		}
	default:
		f.at, f.recovered = c.seq, true
	}
	a.n.host.reply(in, f)
}

// makeSure looks whether this is still the room's writer before it tells a member that its history is gone: one that was
// fenced and does not know yet is merely behind it.
func (a *activation) makeSure(in *inbound) {
	a.reading++
	var epoch uint64
	var owner *process
	a.w.journal.call(&a.n.process, false, readTimeout, func() error {
		s := a.w.journal.streams[a.room]
		epoch, owner = s.epoch, s.owner
		return nil
	}, func(err error) {
		a.reading--
		if err == nil && epoch != a.epoch {
			a.w.stats.Behind++
			a.die(&fencedError{owner: owner, epoch: epoch})
		}
		switch {
		case a.over:
		case a.dead != nil:
			a.n.host.moved(in, a.dead.owner)
		case err != nil:
			a.n.host.refuse(in, unavailable, awayRetry)
		default:
			a.n.host.reply(in, &frame{kind: joinedFrame, epoch: a.epoch, head: a.head, at: a.head, reset: true})
		}
		a.step()
	})
}

// read answers a page: from memory where that reaches, else from the journal.
func (a *activation) read(in *inbound) {
	after, head := in.frame.after, a.head
	if head <= tailMessages || after >= head-tailMessages {
		a.answerPage(in, messagesOf(a.rows[min(after, head):], pageMessages))
		return
	}
	a.reading++
	a.w.stats.JournalReads++
	var page []message
	a.w.journal.call(&a.n.process, false, readTimeout, func() error {
		rows := a.w.journal.streams[a.room].rows
		to := min(uint64(len(rows)), head)
		page = messagesOf(rows[min(after, to):to], pageMessages)
		return nil
	}, func(err error) {
		a.reading--
		switch {
		case a.over:
		case a.dead != nil:
			a.n.host.moved(in, a.dead.owner)
		case err != nil:
			a.n.host.refuse(in, unavailable, awayRetry)
		default:
			a.answerPage(in, page)
		}
		a.step()
	})
}

func (a *activation) answerPage(in *inbound, page []message) {
	a.n.host.reply(in, &frame{kind: pageFrame, epoch: a.epoch, head: a.head, messages: page})
}

// messagesOf are the first messages among rows.
func messagesOf(rows []row, limit int) []message {
	var list []message
	for _, r := range rows {
		if len(list) == limit {
			break
		}
		if !r.setting {
			list = append(list, message{r.seq, r.prev, r.id})
		}
	}
	return list
}

// die ends the activation's right to speak for the room. Subscribers are told where to look, the host to route around.
func (a *activation) die(err error) {
	if a.dead != nil || a.over {
		return
	}
	d := &death{owner: &a.n.process}
	var fenced *fencedError
	if errors.As(err, &fenced) && fenced.owner != d.owner {
		d.fenced, d.owner = true, fenced.owner
	}
	a.dead = d
	a.w.stats.Deaths++
	if a.w.tracing() {
		a.w.tracef("%s: room %d at epoch %d is lost: %v", a.n, a.room, a.epoch, err)
	}
	a.closeAll(d.owner)
	queue := a.queue
	a.queue = nil
	for _, p := range queue {
		if p.in != nil {
			a.n.host.moved(p.in, d.owner)
		}
	}
	a.n.host.roomStopping(a.s, d.fenced, d.owner)
}

// finish begins the end. Everything the host handed over came before.
func (a *activation) finish(why why) {
	if why == whyIdle && a.dead == nil && (len(a.subscribers) > 0 || len(a.owed) > 0 || a.busy()) {
		a.n.host.roomKept(a.s)
		return
	}
	a.ending = why
	a.step()
}

func (a *activation) busy() bool {
	if a.w.without.FinishCommit && a.ending == whyMove {
		return false
	}
	return a.inFlight || a.reading > 0 || len(a.queue) > 0
}

// step goes on with the end when nothing is in flight any more.
func (a *activation) step() {
	if a.ending == serving || a.stopped || a.busy() {
		return
	}
	a.stopped = true
	a.s.state = stopping
	switch {
	case a.dead != nil:
		a.n.soon(func() { a.n.host.terminated(a.s) })
	case a.s.move != nil:
		a.n.host.handOver(a.s)
	default:
		a.giveBack()
	}
}

// goOn takes the end back: the room stays here.
func (a *activation) goOn() { a.ending, a.stopped = serving, false }

// handedOver: another node has the room now.
func (a *activation) handedOver(to *process) {
	a.over = true
	a.closeAll(to)
}

// giveBack saves a snapshot and gives the room back, whatever comes of it.
func (a *activation) giveBack() {
	epoch, head := a.epoch, a.head
	a.w.journal.call(&a.n.process, true, stopTimeout, func() error {
		return a.w.journal.saveSnapshot(a.room, epoch, head)
	}, func(error) {
		a.w.journal.call(&a.n.process, true, stopTimeout, func() error {
			a.w.journal.release(a.room, &a.n.process, epoch)
			return nil
		}, func(error) {
			a.closeAll(nil)
			a.n.host.terminated(a.s)
		})
	})
}

func without(list []*process, p *process) []*process {
	return slices.DeleteFunc(slices.Clone(list), func(o *process) bool { return o == p })
}
