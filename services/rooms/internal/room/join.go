package room

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/tochemey/goakt/v4/actor"

	"github.com/parley-rt/parley/libs/persistence"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/rooms/internal/room/core"
)

// cursorChecked reports which message is stored at a returning member's cursor.
type cursorChecked struct {
	in        *Inbound
	messageID string
	err       error
}

// ownershipChecked reports whose room it was when a member was about to be told that its history is gone.
type ownershipChecked struct {
	in        *Inbound
	messageID string
	head      persistence.Head
	err       error
}

func (r *Room) join(rctx *actor.ReceiveContext, in *Inbound, j *roomv1.Join) {
	if err := checkSession(j.MemberId, j.SessionId); err != nil {
		r.refuse(in, clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, err.Error(), 0)
		return
	}
	state := r.stream.State()
	if denial := state.Barred(j.MemberId, r.env.Now()); denial != nil {
		r.deny(in, denial)
		return
	}
	r.roster.submit(rctx, &change{in: in, Change: core.Change{
		SessionKey: core.SessionKey{Member: j.MemberId, Session: j.SessionId}, Operation: j.Operation, RoomSeq: state.Head(),
	}})
}

func (r *Room) leave(rctx *actor.ReceiveContext, in *Inbound, l *roomv1.Leave) {
	if err := checkSession(l.MemberId, l.SessionId); err != nil {
		r.refuse(in, clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, err.Error(), 0)
		return
	}
	r.roster.submit(rctx, &change{in: in, Change: core.Change{
		SessionKey: core.SessionKey{Member: l.MemberId, Session: l.SessionId}, Operation: l.Operation, Leave: true,
	}})
}

func checkSession(member, session string) error {
	for _, id := range []struct{ name, value string }{{"member", member}, {"session", session}} {
		if id.value == "" || len(id.value) > core.MaxMemberID || !utf8.ValidString(id.value) {
			return fmt.Errorf("%s id must be 1 to %d bytes of UTF-8", id.name, core.MaxMemberID)
		}
	}
	return nil
}

// changed goes on after a join or leave is durable, or was found to change nothing.
func (r *Room) changed(rctx *actor.ReceiveContext, c *change, changed core.Changed) {
	if c.Leave {
		r.answer(c.in, &roomv1.Frame{Kind: &roomv1.Frame_Left{Left: &roomv1.Left{}}})
		return
	}
	if changed.Stale {
		r.refuse(c.in, clientv1.ErrorCode_ERROR_CODE_NOT_JOINED, "the session has left the room since", 0)
		return
	}
	cursor := c.in.Frame.GetJoin().GetCursor()
	if !core.NeedsMessage(cursor, r.facts(c.in.Frame.GetJoin())) {
		r.answerJoin(rctx, c.in, "", false)
		return
	}
	tail := r.stream.State().Tail()
	if m, ok := tail.At(cursor.AfterSeq); ok || cursor.AfterSeq > tail.Floor() {
		r.answerJoin(rctx, c.in, m.GetMessageId(), false)
		return
	}
	journal, key, in := r.env.Journal, r.streamKey(), c.in
	r.task(rctx, func(ctx context.Context) any {
		id, err := messageIDAt(ctx, journal, key, cursor.AfterSeq)
		return &cursorChecked{in: in, messageID: id, err: err}
	}, func(err error) any { return &cursorChecked{in: in, err: err} })
}

func messageIDAt(ctx context.Context, journal persistence.Journal, key persistence.StreamKey, seq uint64) (string, error) {
	events, err := journal.Read(ctx, key, seq, 1)
	if errors.Is(err, persistence.ErrTrimmed) || err == nil && (len(events) == 0 || events[0].Seq != seq) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	m, err := core.MessageOf(events[0])
	return m.GetMessageId(), err
}

func (r *Room) cursorChecked(rctx *actor.ReceiveContext, m *cursorChecked) {
	r.tasks--
	switch {
	case r.dead != nil:
		r.moved(m.in)
	case m.err != nil:
		code, retryAfter := refusalOf(m.err)
		r.refuse(m.in, code, "the room's history could not be read", retryAfter)
	default:
		r.answerJoin(rctx, m.in, m.messageID, false)
	}
}

// makeSure asks the journal whether this is still the room's writer. One that was fenced and does not know yet is merely
// behind the members whose cursors it does not know: they must not be told that what they have is gone.
func (r *Room) makeSure(rctx *actor.ReceiveContext, in *Inbound, messageAtCursor string) {
	journal, key := r.env.Journal, r.streamKey()
	r.task(rctx, func(ctx context.Context) any {
		head, err := journal.Head(ctx, key)
		return &ownershipChecked{in: in, messageID: messageAtCursor, head: head, err: err}
	}, func(err error) any { return &ownershipChecked{in: in, err: err} })
}

func (r *Room) ownershipChecked(rctx *actor.ReceiveContext, m *ownershipChecked) {
	r.tasks--
	if mine := r.epoch(); m.err == nil && m.head.Epoch > mine {
		r.die(rctx, &persistence.FencedError{Key: r.streamKey(), MyEpoch: mine, Epoch: m.head.Epoch, Owner: m.head.Owner})
	}
	switch {
	case r.dead != nil:
		r.moved(m.in)
	case m.err != nil:
		code, retryAfter := refusalOf(m.err)
		r.refuse(m.in, code, "the room's owner could not be read", retryAfter)
	default:
		r.answerJoin(rctx, m.in, m.messageID, true)
	}
}

// answerJoin places the member's stream at the head as it is now: it goes through the same Link as the deliveries. As of
// that seq the member is let in, so it is looked at once more whether it is. sure: a moment ago this was the room's writer.
func (r *Room) answerJoin(rctx *actor.ReceiveContext, in *Inbound, messageAtCursor string, sure bool) {
	member := in.Frame.GetJoin().MemberId
	state := r.stream.State()
	if denial := state.Outside(&r.roster, member, r.env.Now()); denial != nil {
		kicked := state.Kicked(member)
		switch {
		case denial.Code != clientv1.ErrorCode_ERROR_CODE_NOT_JOINED:
			r.evict(rctx, member, state.Head()+1)
		case kicked > 0 && r.roster.Seated(member, 0):
			// It may join again once the memberships of before the kick have ended.
			r.evict(rctx, member, kicked)
			r.refuse(in, clientv1.ErrorCode_ERROR_CODE_UNAVAILABLE, "the member is being taken out of the room", busyRetryAfter)
			return
		}
		r.deny(in, denial)
		return
	}
	facts := r.facts(in.Frame.GetJoin())
	facts.MessageID = messageAtCursor
	facts.ReplayLimit = in.Frame.GetJoin().GetReplayLimit()
	p := core.Resolve(in.Frame.GetJoin().GetCursor(), facts)
	if p.Reset == clientv1.ResetReason_RESET_REASON_REWOUND && !sure {
		r.makeSure(rctx, in, messageAtCursor)
		return
	}
	r.answer(in, &roomv1.Frame{Kind: &roomv1.Frame_Joined{Joined: &roomv1.Joined{
		Head:        facts.Head,
		Incarnation: facts.Incarnation,
		Epoch:       r.epoch(),
		Recovered:   p.Recovered,
		Cursor:      p.Cursor,
		ResetReason: int32(p.Reset),
	}}})
}

func (r *Room) facts(j *roomv1.Join) core.Facts {
	state := r.stream.State()
	seat := r.roster.Seat(j.GetMemberId(), state.Kicked(j.GetMemberId()))
	floor := state.Floor(j.GetMemberId(), seat)
	if j.GetNoHistory() {
		floor = state.JoinFloor(seat)
	}
	return core.Facts{
		Incarnation: r.stream.Claim().Incarnation,
		Head:        state.Head(),
		Trimmed:     floor,
	}
}
