package member

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
	"github.com/parley-rt/parley/libs/protocol/codes"
	"github.com/parley-rt/parley/libs/protocol/ids"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

const (
	historyDefault  = 50
	historyMax      = 500
	historyMaxBytes = 1 << 20
	presenceMax     = 1000

	outcomeOK     = "ok"
	outcomeClosed = "closed"
)

type opKind int

const (
	opJoin opKind = iota
	opLeave
	opPublish
	opSignal
	opHistory
	opPresence
)

// op is a command that concerns a room, checked and waiting for its turn there.
type op struct {
	kind opKind
	cmd  *Command
	id   uint32 // to echo; 0: none
	room string

	cursor *roomv1.Cursor // of a join; nil: from the head
	draft  *roomv1.Draft  // of a publish
	frame  *roomv1.Frame  // of a signal, history or presence

	bytes    int // still taken from the read window
	version  uint64
	entering bool // a join that is part of opening
	answered bool
}

// answered notes that an op is.
func (c *Core) answered(o *op) {
	o.answered = true
	if o.entering {
		c.entered(1)
	}
}

// command checks a frame in the order the protocol promises: malformed, unknown kind, room, arguments; what depends on
// the room (joined, permissions, limits) follows when its turn comes there.
func (c *Core) command(now time.Time, cmd *Command) {
	if cmd.Err != nil {
		c.refuse(cmd, cmd.Err.ID, cmd.Err.Code, cmd.Err.Message, "", "")
		return
	}
	env := cmd.Env
	if !codec.FromClient(env) {
		e := codec.UnknownKind(env)
		c.refuse(cmd, e.ID, e.Code, e.Message, "", "")
		return
	}
	switch k := env.GetKind().(type) {
	case *clientv1.Envelope_Ping:
		if c.limitFrame(now, cmd) {
			return
		}
		c.out.Reply(&clientv1.Envelope{Id: env.GetId(), Kind: &clientv1.Envelope_Pong{Pong: &clientv1.Pong{}}})
		c.out.Release(cmd.Bytes)
		c.out.Done(cmd, outcomeOK)
	case *clientv1.Envelope_Renew:
		if !c.limitFrame(now, cmd) {
			c.renew(cmd, k.Renew.GetToken())
		}
	case *clientv1.Envelope_Hello:
		c.refuse(cmd, env.GetId(), clientv1.ErrorCode_ERROR_CODE_HELLO_LATE, "hello may only be the first frame", "", "")
	case *clientv1.Envelope_JoinRoom:
		j := k.JoinRoom
		c.enqueue(now, c.checkJoin(cmd, j.GetRoomId(), j.AfterSeq, j.GetAfterMessageId(), j.GetIncarnation()))
	case *clientv1.Envelope_LeaveRoom:
		c.enqueue(now, c.check(cmd, opLeave, k.LeaveRoom.GetRoomId()))
	case *clientv1.Envelope_Message:
		c.enqueue(now, c.checkMessage(now, cmd, k.Message))
	case *clientv1.Envelope_Signal:
		s := k.Signal
		o := c.check(cmd, opSignal, s.GetTarget())
		if o != nil {
			o.frame = &roomv1.Frame{Kind: &roomv1.Frame_Signal{Signal: &roomv1.Signal{MemberId: c.session.Member, Type: s.GetType(), Content: s.GetContent()}}}
		}
		c.enqueue(now, o)
	case *clientv1.Envelope_History:
		c.enqueue(now, c.checkHistory(cmd, k.History))
	case *clientv1.Envelope_Presence:
		o := c.check(cmd, opPresence, k.Presence.GetRoomId())
		if o != nil {
			o.frame = &roomv1.Frame{Kind: &roomv1.Frame_PresenceQuery{PresenceQuery: &roomv1.PresenceQuery{
				MemberId: c.session.Member,
			}}}
		}
		c.enqueue(now, o)
	}
}

// check makes the op of a command for a room; nil: it was refused.
func (c *Core) check(cmd *Command, kind opKind, room string) *op {
	if err := ids.CheckRoom(room); err != nil {
		c.refuse(cmd, cmd.Env.GetId(), clientv1.ErrorCode_ERROR_CODE_INVALID_ROOM, err.Error(), echo(room), echoMessage(cmd.Env))
		return nil
	}
	return &op{kind: kind, cmd: cmd, id: cmd.Env.GetId(), room: room, bytes: cmd.Bytes}
}

func (c *Core) checkJoin(cmd *Command, room string, after *uint64, message string, incarnation uint64) *op {
	o := c.check(cmd, opJoin, room)
	if o == nil {
		return nil
	}
	if message != "" {
		if err := ids.CheckMessageID(message); err != nil {
			c.refuse(cmd, o.id, clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, "after_message_id: "+err.Error(), room, "")
			return nil
		}
	}
	if after != nil {
		o.cursor = &roomv1.Cursor{AfterSeq: *after, AfterMessageId: message, Incarnation: incarnation}
	}
	return o
}

func (c *Core) checkMessage(now time.Time, cmd *Command, m *clientv1.Message) *op {
	if m.GetSentAt() != nil && !m.GetSentAt().IsValid() {
		c.refuse(cmd, cmd.Env.GetId(), clientv1.ErrorCode_ERROR_CODE_BAD_FRAME, "sent_at is out of range", echo(m.GetTarget()), echoMessage(cmd.Env))
		return nil
	}
	o := c.check(cmd, opPublish, m.GetTarget())
	if o == nil {
		return nil
	}
	id := m.GetMessageId()
	if id == "" {
		id = ids.NewMessageID()
	} else if err := ids.CheckMessageID(id); err != nil {
		c.refuse(cmd, o.id, clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, err.Error(), o.room, "")
		return nil
	}
	o.draft = &roomv1.Draft{
		MessageId: id, Content: m.GetContent(), SentAt: m.GetSentAt(),
		Traceparent: m.GetTraceparent(), Tracestate: m.GetTracestate(),
	}
	if o.draft.SentAt == nil {
		o.draft.SentAt = timestamppb.New(now)
	}
	return o
}

func (c *Core) checkHistory(cmd *Command, h *clientv1.History) *op {
	o := c.check(cmd, opHistory, h.GetRoomId())
	if o == nil {
		return nil
	}
	problem := ""
	switch {
	case h.BeforeSeq != nil && h.AfterSeq != nil:
		problem = "before_seq and after_seq exclude each other"
	case h.BeforeSeq != nil && h.GetBeforeSeq() == 0:
		problem = "nothing is before before_seq 0"
	}
	if problem != "" {
		c.refuse(cmd, o.id, clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, problem, o.room, "")
		return nil
	}
	limit := h.GetLimit()
	if limit == 0 {
		limit = historyDefault
	}
	o.frame = &roomv1.Frame{Kind: &roomv1.Frame_Read{Read: &roomv1.Read{
		AfterSeq: h.AfterSeq, BeforeSeq: h.BeforeSeq, Limit: min(limit, historyMax), MaxBytes: historyMaxBytes,
		MemberId: c.session.Member,
	}}}
	return o
}

// echo keeps an unusable room id from being sent back at length.
func echo(s string) string {
	if len(s) > ids.MaxRoomID {
		return ""
	}
	return s
}

func echoMessage(env *clientv1.Envelope) string {
	if id := env.GetMessage().GetMessageId(); len(id) <= ids.MaxMessageID {
		return id
	}
	return ""
}

// refuse answers a command that never became an op.
func (c *Core) refuse(cmd *Command, id uint32, code clientv1.ErrorCode, message, room, messageID string) {
	if faulty(code) {
		c.offend(cmd.At)
	}
	c.out.Reply(errorFrame(cmd, id, code, message, 0, room, messageID))
	c.out.Release(cmd.Bytes)
	c.out.Done(cmd, codes.ErrorName(code))
}

// fail answers an op with an error.
func (c *Core) fail(o *op, code clientv1.ErrorCode, message string, retryAfterMS uint32) {
	if o.answered {
		return
	}
	c.answered(o)
	if faulty(code) {
		c.offend(o.cmd.At)
	}
	c.out.Reply(errorFrame(o.cmd, o.id, code, message, retryAfterMS, o.room, o.draft.GetMessageId()))
	c.release(o)
	c.out.Done(o.cmd, codes.ErrorName(code))
}

// succeed answers an op; nil env: somebody else sends the answer, or there is none.
func (c *Core) succeed(o *op, env *clientv1.Envelope) {
	if o.answered {
		return
	}
	c.answered(o)
	switch {
	case env == nil:
	case o.kind == opHistory || o.kind == opPresence:
		env.Id = o.id
		c.out.Page(env)
	default:
		env.Id = o.id
		c.out.Reply(env)
	}
	c.release(o)
	c.out.Done(o.cmd, outcomeOK)
}

func (c *Core) release(o *op) {
	if o.bytes > 0 {
		c.out.Release(o.bytes)
		o.bytes = 0
	}
}

func errorFrame(cmd *Command, id uint32, code clientv1.ErrorCode, message string, retryAfterMS uint32, room, messageID string) *clientv1.Envelope {
	e := &clientv1.Error{
		Code: codes.ErrorName(code), Message: message, Retryable: codes.Retryable(code), RetryAfterMs: retryAfterMS,
		RoomId: room, MessageId: messageID,
	}
	if e.Code == "" { // a newer rooms node's code
		e.Code, e.Message = codes.ErrorName(clientv1.ErrorCode_ERROR_CODE_INTERNAL), fmt.Sprintf("unknown refusal %d: %s", code, message)
		e.Retryable = true
	}
	if sc := cmd.Span.SpanContext(); sc.HasTraceID() {
		e.TraceId = sc.TraceID().String()
	}
	return &clientv1.Envelope{Id: id, Kind: &clientv1.Envelope_Error{Error: e}}
}
