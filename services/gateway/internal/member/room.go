package member

import (
	"slices"
	"strings"
	"time"

	"github.com/parley-rt/parley/libs/opskit/auth"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codes"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// room is a connection's business in one room. Commands have their turn in the order they came: a join or leave waits for
// the publishes before it and holds up everything behind it; publishes wait while a batch is out. So a client may send
// join_room, messages and leave_room in one go and need not wait for answers.
type room struct {
	id string
	// joined: publishing and asking are allowed. attached: the hub streams it to the connection.
	joined, attached bool
	attachment       uint64   // number of the last
	active           *op      // the join or leave that is being carried out
	batch            *request // publishes that are out
	waiting          []*op
	// The room has refused messages for now: the first of them passes at fullUntil, the last one at fullLast. Nothing overtakes them.
	fullUntil, fullLast time.Time
}

// enqueue gives an op its turn; nil is ignored.
func (c *Core) enqueue(now time.Time, o *op) {
	if o == nil {
		return
	}
	r := c.rooms.At(o.room)
	if r == nil {
		r = &room{id: o.room}
		c.rooms.Set(o.room, r)
	}
	r.waiting = append(r.waiting, o)
	if o.kind == opPublish && o.cmd.More {
		if c.gathered++; len(c.gathering) == 0 || c.gathering[len(c.gathering)-1] != r {
			c.gathering = append(c.gathering, r)
		}
	} else {
		c.pump(now, r)
	}
	if len(r.waiting) > 0 {
		c.wake(r.waiting[0].cmd.At.Add(c.cfg.AnswerWithin))
	}
}

// pump starts what may start in a room and forgets the room when nothing is left of it.
func (c *Core) pump(now time.Time, r *room) {
	for len(r.waiting) > 0 && r.active == nil {
		o := r.waiting[0]
		if o.answered {
			r.waiting = slices.Delete(r.waiting, 0, 1)
			continue
		}
		if o.kind == opLeave && r.batch != nil || o.kind == opPublish && r.batch != nil && r.joined {
			break
		}
		if o.kind == opPublish && r.joined && c.may(auth.Publish, r.id) {
			c.startBatch(now, r)
			continue
		}
		r.waiting = slices.Delete(r.waiting, 0, 1)
		c.begin(now, r, o)
	}
	if len(r.waiting) == 0 {
		r.waiting = nil
		// An answer to a page may come for a room that was left; there may be another of its id by now.
		if !r.joined && !r.attached && r.active == nil && r.batch == nil && c.rooms.At(r.id) == r {
			c.rooms.Delete(r.id)
		}
	}
}

// begin starts an op other than a publish in a joined room.
func (c *Core) begin(now time.Time, r *room, o *op) {
	switch {
	case o.kind == opJoin:
		c.beginJoin(now, r, o)
	case o.kind == opLeave:
		c.beginLeave(now, r, o)
	case !r.joined:
		c.fail(o, clientv1.ErrorCode_ERROR_CODE_NOT_JOINED, text(clientv1.ErrorCode_ERROR_CODE_NOT_JOINED), 0)
	case !c.may(o.needs(), r.id):
		c.forbid(o)
	case o.kind == opSignal:
		if !c.limitSignal(now, o) {
			c.sendSignal(r, o)
		}
	default: // pages are large: they wait until the client has read enough
		if after := c.limitRequest(now); after > 0 {
			c.tooMuch(now, o, after, requestsText)
			return
		}
		c.pages = append(c.pages, o)
		c.wake(o.cmd.At.Add(c.cfg.AnswerWithin))
	}
}

func (c *Core) beginJoin(now time.Time, r *room, o *op) {
	if after := c.limitJoin(now, o); after > 0 {
		c.tooMuch(now, o, after, requestsText)
		return
	}
	if r.joined && o.cursor == nil {
		c.out.Rejoin(r.id, o.id)
		c.succeed(o, nil)
		return
	}
	if !c.may(auth.Join, r.id) {
		c.forbid(o)
		return
	}
	if !r.joined && c.joinedRooms() >= c.cfg.MaxRooms {
		c.fail(o, clientv1.ErrorCode_ERROR_CODE_TOO_MANY_ROOMS, text(clientv1.ErrorCode_ERROR_CODE_TOO_MANY_ROOMS), 0)
		return
	}
	r.active = o
	if c.list(r, o, true) {
		c.sendJoin(now, r, o)
	}
}

// list makes the session's row list a room or not; true: it is known to. Otherwise the op goes on in saved.
func (c *Core) list(r *room, o *op, listed bool) bool {
	o.version = c.want(r.id, listed)
	if o.version != 0 {
		c.wake(o.cmd.At.Add(c.cfg.AnswerWithin))
	}
	return o.version == 0
}

// saving says that the active join or leave waits for the session's row.
func (r *room) saving() bool { return r.active != nil && r.active.version != 0 }

// roomsByID lists the rooms, so that they can be changed while going through them.
func (c *Core) roomsByID() []*room {
	list := make([]*room, 0, c.rooms.Len())
	for _, r := range c.rooms.All() {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b *room) int { return strings.Compare(a.id, b.id) })
	return list
}

// joinedRooms counts the rooms that are joined or being joined.
func (c *Core) joinedRooms() int {
	n := 0
	for _, r := range c.rooms.All() {
		if r.joined || r.active != nil && r.active.kind == opJoin {
			n++
		}
	}
	return n
}

func (c *Core) sendJoin(now time.Time, r *room, o *op) {
	id, _ := c.Session()
	c.ask(now, r, []*op{o}, &roomv1.Frame{Kind: &roomv1.Frame_Join{Join: &roomv1.Join{
		MemberId: c.session.Member, SessionId: id, Operation: c.operation(), Cursor: o.cursor, ReplayLimit: c.cfg.ReplayLimit,
		NoHistory: !c.may(auth.History, r.id),
	}}})
}

func (c *Core) beginLeave(now time.Time, r *room, o *op) {
	r.active = o
	if r.joined {
		id, _ := c.Session()
		c.ask(now, r, []*op{o}, &roomv1.Frame{Kind: &roomv1.Frame_Leave{Leave: &roomv1.Leave{
			MemberId: c.session.Member, SessionId: id, Operation: c.operation(),
		}}})
		return
	}
	if c.wanted.Has(r.id) { // a join of it failed, and the room may not know that
		c.leaveBehind(r.id, o.cmd)
	} else if after := c.limitRequest(now); after > 0 { // of others there are no more than joins
		r.active = nil
		c.tooMuch(now, o, after, requestsText)
		return
	}
	if c.list(r, o, false) {
		c.left(now, r, o)
	}
}

// leaveBehind takes the member out of a room that may have let it in without this connection knowing. It is not repeated
// and its answer is not waited for; the room ignores it when a later join came first.
func (c *Core) leaveBehind(room string, cause *Command) {
	id, _ := c.Session()
	f := &roomv1.Frame{RoomId: room, Kind: &roomv1.Frame_Leave{Leave: &roomv1.Leave{
		MemberId: c.session.Member, SessionId: id, Operation: c.operation(),
	}}}
	// When it cannot be sent, the next join or leave of the room puts things right, or the end of the session does.
	_, _ = c.out.Send(f, nil, cause.Span)
}

// operation numbers the joins and leaves of a session: a later connection of it has a higher generation.
func (c *Core) operation() uint64 {
	c.opCount++
	return c.session.Generation<<32 | uint64(c.opCount)
}

// saved goes on with a join or leave whose row is stored, or not.
func (c *Core) saved(now time.Time, r *room, o *op, err error) {
	switch {
	case err != nil:
		if o.kind == opJoin && !r.joined {
			c.wanted.Delete(r.id)
		}
		c.notSaved(now, r, o)
	case o.kind == opJoin && !c.may(auth.Join, r.id): // the token was renewed meanwhile
		c.joinRefused(now, r, o, clientv1.ErrorCode_ERROR_CODE_FORBIDDEN, forbiddenText(auth.Join), 0)
	case o.kind == opJoin:
		c.sendJoin(now, r, o)
	default:
		c.left(now, r, o)
	}
}

// notSaved ends a join or leave whose row is not stored in time.
func (c *Core) notSaved(now time.Time, r *room, o *op) {
	r.active = nil
	if o.kind == opLeave && r.attached {
		r.attached = false
		c.out.Detach(r.id, nil)
	}
	c.fail(o, clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE, "the session could not be saved; try again", 0)
	c.pump(now, r)
}

// expireSave answers a join or leave whose row takes too long to store. The save may still succeed, so a room that was not
// asked to let the member in is taken out again.
func (c *Core) expireSave(now time.Time, r *room) {
	if !r.saving() || now.Before(r.active.cmd.At.Add(c.cfg.AnswerWithin)) {
		return
	}
	o := r.active
	o.version = 0
	if o.kind == opJoin && !r.joined {
		c.want(r.id, false)
	}
	c.notSaved(now, r, o)
}

// left ends a leave: room_left goes behind the last message.
func (c *Core) left(now time.Time, r *room, o *op) {
	r.active = nil
	env := &clientv1.Envelope{Id: o.id, Kind: &clientv1.Envelope_RoomLeft{RoomLeft: &clientv1.RoomLeft{RoomId: r.id}}}
	if r.attached {
		r.attached = false
		c.out.Detach(r.id, env)
		c.succeed(o, nil)
	} else {
		c.succeed(o, env)
	}
	c.pump(now, r)
}

// joinedRoom takes the answer to a join.
func (c *Core) joinedRoom(now time.Time, r *room, o *op, from string, j *roomv1.Joined) {
	if !c.may(auth.Join, r.id) { // the token was renewed meanwhile
		c.leaveBehind(r.id, o.cmd)
		c.joinRefused(now, r, o, clientv1.ErrorCode_ERROR_CODE_FORBIDDEN, forbiddenText(auth.Join), 0)
		return
	}
	c.attachments++
	r.active, r.joined, r.attached, r.attachment = nil, true, true, c.attachments
	a := Attachment{
		Room: r.id, Number: r.attachment, Node: from,
		Cursor: j.GetCursor(), Epoch: j.GetEpoch(), Incarnation: j.GetIncarnation(), As: j.GetHead(),
	}
	a.First = append(a.First, &clientv1.Envelope{Id: o.id, Kind: &clientv1.Envelope_RoomJoined{RoomJoined: &clientv1.RoomJoined{
		RoomId: r.id, Seq: j.GetHead(), Recovered: j.GetRecovered(), Incarnation: j.GetIncarnation(),
	}}})
	if reason := codes.ResetName(clientv1.ResetReason(j.GetResetReason())); reason != "" {
		a.First = append(a.First, &clientv1.Envelope{Kind: &clientv1.Envelope_Reset_{Reset_: &clientv1.Reset{
			RoomId: r.id, Seq: j.GetCursor(), Reason: reason,
		}}})
	}
	c.out.Attach(a)
	c.succeed(o, nil)
	c.pump(now, r)
}

// joinRefused ends a join that failed. A room that may be joined later stays in the session's row, so that a resume tries
// again; one that never will is taken out. A room that was joined before stays so, and only its stream was not restarted,
// unless the refusal says that the member is not in it.
func (c *Core) joinRefused(now time.Time, r *room, o *op, code clientv1.ErrorCode, message string, retryAfterMS uint32) {
	r.active = nil
	if r.joined && excludes(code) {
		r.joined = false
		if r.attached {
			r.attached = false
			c.out.Detach(r.id, nil)
		}
	}
	if !r.joined && !codes.Retryable(code) {
		c.want(r.id, false)
	}
	c.fail(o, code, message, retryAfterMS)
	c.pump(now, r)
}

// expireWaiting answers what waited too long for its turn. It was never sent, so it is certainly not stored.
func (c *Core) expireWaiting(now time.Time, r *room) {
	expired := 0
	for _, o := range r.waiting {
		if now.Before(o.cmd.At.Add(c.cfg.AnswerWithin)) {
			break
		}
		c.fail(o, clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE, text(clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE), 0)
		expired++
	}
	if expired > 0 {
		r.waiting = slices.Delete(r.waiting, 0, expired)
		c.pump(now, r)
	}
}
