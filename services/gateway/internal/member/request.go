package member

import (
	"errors"
	"time"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codes"
	"github.com/parley-rt/parley/libs/protocol/ids"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// maxHops bounds how often a request follows Moved without a pause: two nodes that point at each other would otherwise
// be asked as fast as they answer.
const maxHops = 3

// maxBackoff bounds the doublings of RetryFirst.
const maxBackoff = 3

// request is something asked of a room's owner that is not answered yet. It is sent again, unchanged, when it was refused
// or lost: every request is idempotent, publishes by their message ids, joins and leaves by their operation numbers.
type request struct {
	number uint64
	room   *room
	ops    []*op // one, or the publishes of a batch
	frame  *roomv1.Frame

	node    string // that it was sent to; empty: it waits for retryAt
	avoid   []string
	sent    bool // it left this node at least once
	hops    int
	tries   int
	sentAt  time.Time
	retryAt time.Time
	// refusal is what the last refusal said; it is what the client is told when time is up.
	refusal *roomv1.Refused
}

// due is when tickRequest has something to do.
func (q *request) due(cfg *Config) time.Time {
	at := q.retryAt
	if q.node != "" {
		at = q.sentAt.Add(cfg.SilenceAfter)
	}
	for _, o := range q.ops {
		if !o.answered {
			if d := o.cmd.At.Add(cfg.AnswerWithin); d.Before(at) {
				at = d
			}
			break // they are in the order of their receipt
		}
	}
	return at
}

// ask sends a new request.
func (c *Core) ask(now time.Time, r *room, ops []*op, f *roomv1.Frame) *request {
	c.number++
	f.RoomId, f.Request = r.id, c.number
	q := &request{number: c.number, room: r, ops: ops, frame: f}
	if c.requests == nil {
		c.requests = map[uint64]*request{}
	}
	c.requests[q.number] = q
	for _, o := range ops {
		c.release(o)
	}
	c.send(now, q)
	c.wake(q.due(c.cfg))
	return q
}

func (c *Core) send(now time.Time, q *request) {
	node, err := c.out.Send(q.frame, q.avoid, q.ops[0].cmd.Span)
	if err != nil {
		code := codeOf(err)
		q.refusal = &roomv1.Refused{Code: int32(code), Message: text(code)}
		c.later(now, q, 0)
		return
	}
	q.node, q.sent, q.sentAt = node, true, now
}

// later sends a request again after a pause.
func (c *Core) later(now time.Time, q *request, atLeast time.Duration) {
	q.node, q.avoid, q.hops = "", q.avoid[:0], 0
	q.retryAt = now.Add(max(atLeast, c.cfg.RetryFirst<<min(q.tries, maxBackoff)))
	q.tries++
	c.wake(q.due(c.cfg))
}

func (c *Core) tickRequest(now time.Time, q *request) {
	c.expire(now, q)
	if c.requests[q.number] != q {
		return
	}
	switch {
	case q.node == "":
		if !now.Before(q.retryAt) {
			c.send(now, q)
		}
	case !now.Before(q.sentAt.Add(c.cfg.SilenceAfter)):
		q.avoid = append(q.avoid[:0], q.node)
		c.send(now, q)
	}
}

// expire answers the ops whose time is up. The request lives on while others of it wait.
func (c *Core) expire(now time.Time, q *request) {
	open := 0
	for _, o := range q.ops {
		switch {
		case o.answered:
		case now.Before(o.cmd.At.Add(c.cfg.AnswerWithin)):
			open++
		case o.kind == opJoin:
			c.end(q)
			if q.sent && !q.room.joined { // the room may have stored it, or may yet
				c.leaveBehind(o.room, o.cmd)
			}
			c.joinRefused(now, q.room, o, clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE, timeoutText(q), 0)
			return
		case o.kind == opPublish && q.sent:
			c.fail(o, clientv1.ErrorCode_ERROR_CODE_UNKNOWN_OUTCOME, timeoutText(q), 0)
		default:
			c.fail(o, clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE, timeoutText(q), 0)
		}
	}
	if open == 0 {
		c.end(q)
		c.pump(now, q.room)
	}
}

// end forgets a request; an answer that still comes is ignored.
func (c *Core) end(q *request) {
	delete(c.requests, q.number)
	if len(c.requests) == 0 {
		c.requests = nil
	}
	switch {
	case q.room.batch == q:
		q.room.batch = nil
	case c.page == q:
		c.page = nil
	case q.room.active == q.ops[0]:
		q.room.active = nil
	}
}

func (c *Core) answer(now time.Time, q *request, from string, f *roomv1.Frame) {
	switch k := f.GetKind().(type) {
	case *roomv1.Frame_Moved:
		if q.hops++; q.hops > maxHops {
			c.later(now, q, 0)
			return
		}
		q.avoid = q.avoid[:0]
		owner := k.Moved.GetOwner()
		if owner != "" {
			c.out.Owner(q.room.id, owner)
		}
		if owner != from { // else the room is starting anew there
			q.avoid = append(q.avoid, from)
		}
		c.send(now, q)
	case *roomv1.Frame_Refused:
		code := clientv1.ErrorCode(k.Refused.GetCode())
		if passing(code) {
			q.refusal = k.Refused
			c.later(now, q, time.Duration(k.Refused.GetRetryAfterMs())*time.Millisecond)
			return
		}
		c.refused(now, q, code, k.Refused.GetMessage(), k.Refused.GetRetryAfterMs())
	default:
		c.complete(now, q, from, f)
	}
}

// passing refusals are those of a room that is changing hands: the same request is sent again while there is time.
func passing(code clientv1.ErrorCode) bool {
	return code == clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE || code == clientv1.ErrorCode_ERROR_CODE_UNKNOWN_OUTCOME
}

func (c *Core) refused(now time.Time, q *request, code clientv1.ErrorCode, message string, retryAfterMS uint32) {
	o := q.ops[0]
	c.end(q)
	switch {
	case o.kind == opJoin:
		c.joinRefused(now, q.room, o, code, message, retryAfterMS)
		return
	case o.kind == opLeave && code == clientv1.ErrorCode_ERROR_CODE_NOT_JOINED:
		c.roomLeft(now, q.room, o)
		return
	}
	for _, o := range q.ops {
		c.fail(o, code, message, retryAfterMS)
	}
	c.pump(now, q.room)
}

// complete takes the answer that was hoped for; one of another kind is ignored, and time decides.
func (c *Core) complete(now time.Time, q *request, from string, f *roomv1.Frame) {
	o := q.ops[0]
	c.out.Owner(q.room.id, from)
	switch k := f.GetKind().(type) {
	case *roomv1.Frame_Joined:
		if o.kind == opJoin {
			c.end(q)
			c.joinedRoom(now, q.room, o, from, k.Joined)
		}
	case *roomv1.Frame_Left:
		if o.kind == opLeave {
			c.end(q)
			c.roomLeft(now, q.room, o)
		}
	case *roomv1.Frame_Published:
		if o.kind == opPublish && len(k.Published.GetOutcomes()) == len(q.ops) {
			c.end(q)
			c.published(now, q, k.Published.GetOutcomes())
			c.pump(now, q.room)
		}
	case *roomv1.Frame_Page:
		if o.kind == opHistory {
			c.end(q)
			c.succeed(o, fit(historyPage(q.room.id, k.Page), o.frame.GetRead().AfterSeq != nil))
		}
	case *roomv1.Frame_PresenceList:
		if o.kind == opPresence {
			c.end(q)
			c.succeed(o, presenceState(q.room.id, k.PresenceList))
		}
	}
}

// roomLeft takes the room's word that the member is out; what remains is the session's row.
func (c *Core) roomLeft(now time.Time, r *room, o *op) {
	r.joined, r.active = false, o
	if c.list(r, o, false) {
		c.left(now, r, o)
	}
}

// problem says what is wrong with a room of hello; 0: nothing.
func problem(r *clientv1.RoomCursor) clientv1.ErrorCode {
	switch {
	case ids.CheckRoom(r.GetRoomId()) != nil:
		return clientv1.ErrorCode_ERROR_CODE_INVALID_ROOM
	case r.GetAfterMessageId() != "" && ids.CheckMessageID(r.GetAfterMessageId()) != nil:
		return clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT
	default:
		return 0
	}
}

func codeOf(err error) clientv1.ErrorCode {
	if errors.Is(err, ErrBusy) {
		return clientv1.ErrorCode_ERROR_CODE_BUSY
	}
	return clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE
}

func timeoutText(q *request) string {
	if q.refusal != nil {
		return "no answer in time; the last one was " + codes.ErrorName(clientv1.ErrorCode(q.refusal.GetCode())) + ": " + q.refusal.GetMessage()
	}
	return "the room did not answer in time"
}

// text is what the gateway itself says with a code.
func text(code clientv1.ErrorCode) string {
	switch code {
	case clientv1.ErrorCode_ERROR_CODE_NOT_JOINED:
		return "join the room first"
	case clientv1.ErrorCode_ERROR_CODE_TOO_MANY_ROOMS:
		return "this connection is in as many rooms as it may be; leave one first"
	case clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE:
		return "the room cannot be reached now"
	case clientv1.ErrorCode_ERROR_CODE_BUSY:
		return "too much is on its way to the room"
	case clientv1.ErrorCode_ERROR_CODE_INVALID_ROOM:
		return ids.ErrRoomID.Error()
	case clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT:
		return "after_message_id: " + ids.ErrMessageID.Error()
	default:
		return codes.ErrorMeaning(code)
	}
}
