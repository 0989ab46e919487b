package parley

import (
	"context"
	"math/rand/v2"
	"time"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codes"
)

// handle takes one frame. Only the connection's reader calls it.
func (c *Client) handle(ctx context.Context, env *clientv1.Envelope) {
	switch k := env.GetKind().(type) {
	case *clientv1.Envelope_Message:
		c.onMessage(ctx, k.Message)
	case *clientv1.Envelope_Reset_:
		c.onReset(ctx, k.Reset_)
	case *clientv1.Envelope_Signal:
		c.onSignal(k.Signal)
	case *clientv1.Envelope_MemberJoined:
		c.onMember(MemberEvent{
			RoomID: k.MemberJoined.GetRoomId(), MemberID: k.MemberJoined.GetMemberId(), Joined: true, More: int(k.MemberJoined.GetMore()),
		})
	case *clientv1.Envelope_MemberLeft:
		c.onMember(MemberEvent{RoomID: k.MemberLeft.GetRoomId(), MemberID: k.MemberLeft.GetMemberId(), More: int(k.MemberLeft.GetMore())})
	default:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.onAnswer(env)
	}
}

// onAnswer takes the frames that answer something. The lock is held.
func (c *Client) onAnswer(env *clientv1.Envelope) {
	id := env.GetId()
	why, known := c.asked[id]
	if id != 0 {
		delete(c.asked, id)
	}
	now := time.Now()
	switch k := env.GetKind().(type) {
	case *clientv1.Envelope_Ack:
		c.served()
		c.onAck(k.Ack, now)
	case *clientv1.Envelope_RoomJoined:
		c.served()
		c.onJoined(k.RoomJoined)
	case *clientv1.Envelope_RoomLeft:
		if id == 0 || known && why.room == c.rooms[k.RoomLeft.GetRoomId()] { // else it answers for an earlier life of the room
			c.onLeft(k.RoomLeft)
		}
	case *clientv1.Envelope_Renewed:
		if why.renew != nil {
			c.renewed(why.renew, k.Renewed, nil)
		}
	case *clientv1.Envelope_HistoryPage, *clientv1.Envelope_PresenceState:
		c.served()
		if known && why.call != nil {
			why.room.answered(why.call, env, nil)
		}
	case *clientv1.Envelope_Reconnect:
		c.onReconnect(k.Reconnect, now)
		c.wakeWriter()
	case *clientv1.Envelope_Error:
		if id != 0 && !known {
			c.note(errorOf(k.Error)) // of a signal, or of an attempt that was given up
			return
		}
		e := errorOf(k.Error)
		if why.renew != nil {
			c.renewed(why.renew, nil, e)
			return
		}
		c.onError(why, e, now)
		if e.Code == CodeUnavailable {
			c.refusedAsUnavailable(now)
		}
	}
}

func (c *Client) served() {
	if c.helpless != nil {
		c.helpless.served()
	}
}

// refusedAsUnavailable leaves a gateway that has served nothing for too long. The lock is held.
func (c *Client) refusedAsUnavailable(now time.Time) {
	if c.helpless == nil || !c.helpless.refused(now, rand.Float64()) {
		return
	}
	c.cfg.Logger.Debug("gateway serves nothing; going to another one")
	c.reconnectAt = now
	c.wakeWriter()
}

// onReconnect notes when the server wants the next connection. The lock is held.
func (c *Client) onReconnect(r *clientv1.Reconnect, now time.Time) {
	c.reconnectAt = now.Add(time.Duration(r.GetAfterMs()) * time.Millisecond)
	c.cfg.Logger.Debug("server asks to reconnect", "reason", r.GetReason(), "after_ms", r.GetAfterMs())
}

func (c *Client) onAck(a *clientv1.Ack, now time.Time) {
	r := c.rooms[a.GetTarget()]
	if r == nil {
		return
	}
	r.outbox.acked(Ack{
		RoomID: r.id, MessageID: a.GetMessageId(), Seq: a.GetSeq(), Duplicate: a.GetDuplicate(),
	}, now)
	if r.outbox.waiting() {
		c.wakeWriter()
	}
}

func (c *Client) onJoined(j *clientv1.RoomJoined) {
	r := c.rooms[j.GetRoomId()]
	if r == nil || r.phase == leaving {
		return
	}
	r.confirmed, r.askedAt, r.joinAttempts = true, time.Time{}, 0
	r.head = j.GetSeq()
	// A lagging stream stays where it is: catching up joins again, with its cursor.
	if !r.lagging.Load() {
		r.stream.joined(j.GetSeq(), j.GetIncarnation(), j.GetRecovered())
	}
	if r.phase == joining {
		r.phase = joined
		r.consume(r.stream.cursor)
		close(r.entered)
	}
	c.wakeWriter()
}

// onLeft: the server answers a leave, or says that the member was taken out, and why.
func (c *Client) onLeft(left *clientv1.RoomLeft) {
	r := c.rooms[left.GetRoomId()]
	if r == nil {
		return
	}
	e := &Error{
		Code: CodeNotJoined, Message: left.GetMessage(), RoomID: left.GetRoomId(),
		RetryAfter: time.Duration(left.GetRetryAfterMs()) * time.Millisecond,
	}
	switch left.GetReason() {
	case "banned":
		e.Code = CodeBanned
	case "forbidden":
		e.Code = CodeForbidden
	}
	if e.Message == "" {
		e.Message = "the server removed this member from the room"
	}
	r.end(e)
}

func (c *Client) onMessage(ctx context.Context, m *clientv1.Message) {
	c.mu.Lock()
	r := c.rooms[m.GetTarget()]
	if r == nil || r.phase == leaving {
		c.mu.Unlock()
		return
	}
	r.head = max(r.head, m.GetSeq())
	if m.GetSender() == c.session.MemberID && len(r.outbox.list) > 0 {
		r.outbox.seen(Ack{RoomID: r.id, MessageID: m.GetMessageId(), Seq: m.GetSeq()}, time.Now())
	}
	if r.lagging.Load() {
		c.mu.Unlock()
		return
	}
	verdict := r.stream.judge(m.GetSeq(), m.GetPrevSeq())
	it := item{msg: m, incarnation: r.stream.cursor.Incarnation}
	if verdict == missing {
		c.cfg.Logger.Debug("gap in a room's stream", "room_id", r.id, "seq", m.GetSeq(), "prev_seq", m.GetPrevSeq())
		r.rejoin(time.Now())
		c.wakeWriter()
	}
	c.mu.Unlock()
	if verdict != accept {
		return
	}
	placed := r.offer(ctx.Done(), it)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case placed:
		r.stream.advance(m.GetSeq(), m.GetMessageId())
	case ctx.Err() == nil:
		r.lag()
	}
}

func (c *Client) onReset(ctx context.Context, reset *clientv1.Reset) {
	c.mu.Lock()
	r := c.rooms[reset.GetRoomId()]
	if r == nil || r.phase == leaving {
		c.mu.Unlock()
		return
	}
	rewound := reset.GetReason() == codes.ResetName(clientv1.ResetReason_RESET_REASON_REWOUND)
	if rewound {
		r.outbox.rewound(time.Now())
		r.head = reset.GetSeq()
		r.confirmed = false // the membership may be among what was lost: publishes wait for the join below
	}
	lagging := r.lagging.Load()
	if rewound && !lagging {
		r.stream.rewound()
	}
	it := item{
		reset:       &ResetError{RoomID: r.id, Seq: reset.GetSeq(), Reason: ResetReason(reset.GetReason())},
		incarnation: r.stream.incarnation,
	}
	if lagging && rewound {
		r.rejoin(time.Now())
		c.wakeWriter()
	}
	c.mu.Unlock()
	if lagging {
		return // the cursor stays, so catching up meets the reset again
	}
	placed := r.offer(ctx.Done(), it)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case placed:
		r.stream.reset(reset.GetSeq())
	case ctx.Err() == nil:
		r.lag()
	}
	if rewound {
		r.rejoin(time.Now())
		c.wakeWriter()
	}
}

func (c *Client) onSignal(s *clientv1.Signal) {
	c.mu.Lock()
	r := c.rooms[s.GetTarget()]
	c.mu.Unlock()
	if r != nil && r.opts.OnSignal != nil {
		r.opts.OnSignal(Signal{RoomID: r.id, Type: s.GetType(), Content: s.GetContent(), Sender: s.GetSender()})
	}
}

func (c *Client) onMember(e MemberEvent) {
	c.mu.Lock()
	r := c.rooms[e.RoomID]
	c.mu.Unlock()
	if r != nil && r.opts.OnMember != nil {
		r.opts.OnMember(e)
	}
}

// onError finds out what was refused: by the frame's id, by the message, by the room. The lock is held.
func (c *Client) onError(why purpose, e *Error, now time.Time) {
	r := why.room
	if r == nil {
		r = c.rooms[e.RoomID]
	}
	if r == nil || r.phase == over {
		c.note(e)
		return
	}
	switch {
	case why.pub != nil:
		r.publishRefused(why.pub, e, now)
	case why.call != nil:
		r.callRefused(why.call, e, now)
	case e.MessageID != "":
		if p := r.outbox.byID[e.MessageID]; p != nil && p.state == sent {
			r.publishRefused(p, e, now)
		}
	case r.phase == leaving:
		if !e.Retryable {
			r.end(e)
		}
	case why.join || !r.askedAt.IsZero():
		r.joinRefused(e, now)
	case e.Code == CodeBanned || e.Code == CodeForbidden || e.Code == CodeNotJoined:
		r.end(e) // out of the blue: the member was removed
	default:
		c.note(e)
	}
}

func (r *Room) publishRefused(p *publication, e *Error, now time.Time) {
	if p.state != sent {
		return
	}
	if e.Retryable {
		r.outbox.refuse(p, e, now.Add(retryDelay(p.attempts-1, e.RetryAfter, rand.Float64())))
	} else {
		r.outbox.reject(p, e)
	}
	r.client.wakeWriter()
}

func (r *Room) callRefused(call *call, e *Error, now time.Time) {
	if !e.Retryable {
		r.answered(call, nil, e)
		return
	}
	call.sentAt = time.Time{}
	call.notBefore = now.Add(retryDelay(call.attempts-1, e.RetryAfter, rand.Float64()))
	r.client.wakeWriter()
}

func (r *Room) joinRefused(e *Error, now time.Time) {
	r.askedAt = time.Time{}
	if !e.Retryable {
		r.end(e)
		return
	}
	r.joinAttempts++
	r.wantJoin = true
	r.joinAt = now.Add(retryDelay(r.joinAttempts, e.RetryAfter, rand.Float64()))
	r.client.wakeWriter()
}

// rejoin asks for the stream again from the cursor.
func (r *Room) rejoin(now time.Time) {
	r.wantJoin = true
	if r.joinAt.Before(now) {
		r.joinAt = now
	}
}

// note keeps an error that belongs to nothing the Client did.
func (c *Client) note(e *Error) {
	if e.RoomID == "" {
		c.serverError = e
	}
	c.cfg.Logger.Debug("error from the server", "code", string(e.Code), "message", e.Message, "room_id", e.RoomID,
		"trace_id", e.TraceID)
}
