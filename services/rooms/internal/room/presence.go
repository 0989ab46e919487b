package room

import (
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/rooms/internal/room/core"
)

// online takes a gateway node's report. One of a node that is no peer (yet) is ignored: nothing would ever take it back.
// One of a node that is not subscribed shows that the hub does not know that; it is told.
func (r *Room) online(in *Inbound, o *roomv1.Online) {
	node := in.From.Node
	if _, known := r.env.Links.Link(node); known {
		if _, subscribed := r.subscribers[node]; subscribed {
			r.presence.Online(node, o)
			r.evictOutsiders(in, o)
		} else {
			r.owed[node] = struct{}{}
			r.settleOwed()
		}
	}
	in.Release()
}

func (r *Room) presenceQuery(in *Inbound, q *roomv1.PresenceQuery) {
	if q.MemberId != "" {
		if denial := r.stream.State().Outside(&r.roster, q.MemberId, r.env.Now()); denial != nil {
			r.deny(in, denial)
			return
		}
	}
	r.answer(in, presenceList(r.presence))
}

func presenceList(p *core.Presence) *roomv1.Frame {
	return &roomv1.Frame{Kind: &roomv1.Frame_PresenceList{PresenceList: &roomv1.PresenceList{
		Count: uint32(p.Count()), Members: p.List(),
	}}}
}
