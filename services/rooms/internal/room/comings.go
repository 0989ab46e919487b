package room

import (
	"time"

	"github.com/parley-rt/parley/libs/actorkit"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/rooms/internal/room/core"
)

// comingsEvery is the least time between two reports of who has come and gone. One that comes alone is told at once.
const comingsEvery = 500 * time.Millisecond

// comings tells a room's subscribers who joins and leaves it, when its settings ask for that. Reports are ephemeral: they are
// lost with a Link, with the activation and beyond what a room of that size may say.
type comings struct {
	core.Comings
	room *Room
	// When the last report was sent.
	sentAt time.Time
}

// noteComings finds the first and last sessions of members in what has become durable.
func (t *roster) noteComings(batch []actorkit.Decided[*change, core.Changed]) {
	r := t.room
	if !r.stream.State().Settings().GetPresenceEvents() {
		r.comings.Comings = core.Comings{}
		return
	}
	more := make(map[string]int) // sessions, by member
	for _, d := range batch {
		for _, k := range d.Command.out {
			more[k.Member]--
		}
		if n := d.Reply.Sessions; n != 0 {
			more[d.Command.Member] += n
		}
	}
	for member, n := range more {
		after := t.Seat(member, 0).Sessions
		r.comings.Note(member, after-n > 0, after > 0)
	}
	r.comings.report()
}

// report sends what there is to tell, unless the last report was a moment ago: then a tick does.
func (c *comings) report() {
	r := c.room
	if c.Empty() {
		return
	}
	if len(r.subscribers) == 0 || !r.stream.State().Settings().GetPresenceEvents() {
		c.Comings = core.Comings{}
		return
	}
	now := r.env.Now()
	if now.Sub(c.sentAt) < comingsEvery {
		r.wake()
		return
	}
	c.sentAt = now
	m := c.Take(r.presence.Connected())
	m.Epoch = r.epoch()
	frame := &roomv1.Frame{Kind: &roomv1.Frame_MembersChanged{MembersChanged: m}}
	for node := range r.subscribers {
		if r.send(node, frame) != nil {
			r.env.Metrics.AnswerLost()
		}
	}
}

// dueAt is when the next report is due; zero: there is nothing to tell.
func (c *comings) dueAt() time.Time {
	if c.Empty() {
		return time.Time{}
	}
	return c.sentAt.Add(comingsEvery)
}
