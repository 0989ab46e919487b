package room

import (
	"github.com/tochemey/goakt/v4/actor"
	"go.opentelemetry.io/otel/trace/noop"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/rooms/internal/room/core"
)

// administer puts a command about settings or members in line with the publishes: it holds for everything after it (S8).
func (r *Room) administer(rctx *actor.ReceiveContext, in *Inbound, a *roomv1.Administer) {
	// What has expired must not take the place of what is to come.
	r.stream.State().Expire(r.env.Now())
	r.submit(rctx, &write{in: in, admin: a, span: noop.Span{}})
}

// administered answers a command that is durable, or needed no event.
func (r *Room) administered(w *write, ruled core.Ruled) {
	r.env.Metrics.ruled(w.admin, ruled)
	if ruled.Refused != nil {
		r.refuse(w.in, clientv1.ErrorCode(ruled.Refused.Code), ruled.Refused.Message, ruled.Refused.RetryAfterMs)
		return
	}
	r.answer(w.in, &roomv1.Frame{Kind: &roomv1.Frame_Administered{Administered: ruled.Answer}})
}

// describe tells how the room is.
func (r *Room) describe(in *Inbound) {
	state := r.stream.State()
	bans, mutes, invitations := state.Counts(r.env.Now())
	r.answer(in, &roomv1.Frame{Kind: &roomv1.Frame_Description{Description: &roomv1.Description{
		Settings:       state.Settings(),
		SettingsSeq:    state.SettingsSeq(),
		Head:           state.Head(),
		LastMessageSeq: state.LastMessage(),
		Trimmed:        state.Trimmed(),
		Epoch:          r.epoch(),
		Incarnation:    r.stream.Claim().Incarnation,
		Node:           r.env.Node,
		Members:        uint32(r.roster.count()),
		Online:         uint32(r.presence.Count()),
		Bans:           uint32(bans),
		Mutes:          uint32(mutes),
		Invitations:    uint32(invitations),
	}}})
}

// list answers with a page of one of the room's lists.
func (r *Room) list(in *Inbound, l *roomv1.List) {
	var page []*roomv1.ListedMember
	more, ok := false, true
	if l.Listing == roomv1.Listing_LISTING_MEMBERS {
		page, more = r.listMembers(l)
	} else {
		page, more, ok = r.stream.State().List(l, r.env.Now())
	}
	if !ok {
		r.refuse(in, clientv1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, "no list that this version knows", 0)
		return
	}
	r.answer(in, &roomv1.Frame{Kind: &roomv1.Frame_Listed{Listed: &roomv1.Listed{Members: page, More: more}}})
}

func (r *Room) listMembers(l *roomv1.List) ([]*roomv1.ListedMember, bool) {
	names, more := core.FirstMembers(r.roster.members, l.AfterMemberId, core.ListLimit(l.Limit))
	page := make([]*roomv1.ListedMember, len(names))
	for i, member := range names {
		page[i] = &roomv1.ListedMember{
			MemberId:    member,
			Sessions:    uint32(r.roster.Seat(member, 0).Sessions),
			Connections: r.presence.Connections(member),
		}
	}
	return page, more
}
