package room

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/tochemey/goakt/v4/actor"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-rt/parley/libs/actorkit"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/rooms/internal/room/core"
)

// Taking members out of the room. The event in the room's stream is what counts: from its seq on the member neither
// publishes nor joins, whatever happens to the rest (S8). What follows is made true again after any failure:
//
//   - The member's sessions leave the members streams. Should that fail or the node die before, the next sweep does it.
//   - Gateway nodes hear Evicted before the deliveries after that seq. One that missed it sees that by the removal_seq of the
//     next frame or of its next subscription, and asks by an Online.
const (
	// evictMembers bounds one Evicted frame, evictSessions one change of a members stream.
	evictMembers  = 4096
	evictSessions = 500
	// sweepRetry is how long a room waits before it tries again to end memberships.
	sweepRetry = 500 * time.Millisecond
)

// removed carries out the removals among what has become durable.
func (r *Room) removed(rctx *actor.ReceiveContext, batch []actorkit.Decided[*write, written]) {
	for _, d := range batch {
		if !d.Reply.ruled.Removes() {
			continue
		}
		seq := d.Events[0].Seq
		if member := d.Reply.ruled.Evicted; member != "" {
			r.evict(rctx, member, seq)
			r.announce(seq, d.Reply.ruled.At, []*roomv1.Eviction{r.eviction(member, d.Command.admin.GetKick().GetReason())})
			continue
		}
		r.announce(seq, d.Reply.ruled.At, r.sweep(rctx))
	}
}

// eviction is what gateways are told about a member who has just been taken out. Without a ban in force it was a kick.
func (r *Room) eviction(member, reason string) *roomv1.Eviction {
	if denial := r.stream.State().Barred(member, r.env.Now()); denial != nil {
		return denial.Eviction(member)
	}
	return &roomv1.Eviction{MemberId: member, Code: int32(clientv1.ErrorCode_ERROR_CODE_NOT_JOINED), Reason: reason}
}

// announce tells every subscribed gateway node whom an event has taken out of the room, and that there was one: also to
// those who have nobody of them, so that none misses the next.
func (r *Room) announce(seq uint64, ruled time.Time, members []*roomv1.Eviction) {
	for {
		n := min(len(members), evictMembers)
		reached := seq
		if n < len(members) {
			reached = r.removal
		}
		frame := &roomv1.Frame{Kind: &roomv1.Frame_Evicted{Evicted: &roomv1.Evicted{
			Epoch: r.epoch(), Seq: seq, PrevRemovalSeq: r.removal, RemovalSeq: reached, Members: members[:n],
			RuledAt: timestamppb.New(ruled),
		}}}
		for node := range r.subscribers {
			if err := r.send(node, frame); err != nil {
				r.lose(node, err)
			}
		}
		if members = members[n:]; len(members) == 0 {
			break
		}
	}
	r.removal = seq
	r.settleOwed()
}

// evict ends the member's memberships of before a seq.
func (r *Room) evict(rctx *actor.ReceiveContext, member string, before uint64) {
	for n, s := range r.roster.shards {
		r.roster.evict(rctx, n, s.stream.State().Sessions(member, before), before)
	}
}

// sweep ends the memberships of everybody who must not be in the room any more, and returns who that is, of the members and
// of those who are connected.
func (r *Room) sweep(rctx *actor.ReceiveContext) []*roomv1.Eviction {
	r.sweepAt = time.Time{}
	state, now := r.stream.State(), r.env.Now()
	var evictions []*roomv1.Eviction
	seen := make(map[string]struct{})
	for n, s := range r.roster.shards {
		var barred []core.SessionKey
		for member := range s.stream.State().All {
			denial := state.Barred(member, now)
			if denial == nil {
				kicked := state.Kicked(member)
				r.roster.evict(rctx, n, s.stream.State().Sessions(member, kicked), kicked)
				continue
			}
			barred = append(barred, s.stream.State().Sessions(member, math.MaxUint64)...)
			if _, ok := seen[member]; !ok {
				seen[member] = struct{}{}
				evictions = append(evictions, denial.Eviction(member))
			}
		}
		r.roster.evict(rctx, n, barred, state.Head()+1)
	}
	for member := range r.presence.All {
		if _, ok := seen[member]; ok {
			continue
		}
		if denial := state.Barred(member, now); denial != nil {
			evictions = append(evictions, denial.Eviction(member))
		}
	}
	return evictions
}

// sweepLater ends memberships that could not be ended now.
func (r *Room) sweepLater() {
	r.sweepAt = r.env.Now().Add(sweepRetry)
	r.wake()
}

// evictOutsiders answers a gateway node's report: who of those it named is not in the room. The report names members and not
// connections: of one who was kicked and has come back, those that were let in before are told apart first.
func (r *Room) evictOutsiders(in *Inbound, o *roomv1.Online) {
	state, now := r.stream.State(), r.env.Now()
	var evictions []*roomv1.Eviction
	back := make(map[uint64][]*roomv1.Eviction) // by the seq of the kick
	for _, m := range o.Members {
		if m.Connections == 0 {
			continue
		}
		if denial := state.Outside(&r.roster, m.MemberId, now); denial != nil {
			evictions = append(evictions, denial.Eviction(m.MemberId))
		} else if kicked := state.Kicked(m.MemberId); kicked > 0 && in.Frame.Request != 0 {
			back[kicked] = append(back[kicked], r.eviction(m.MemberId, ""))
		}
	}
	if len(evictions) == 0 && in.Frame.Request == 0 {
		return
	}
	for _, seq := range slices.Sorted(maps.Keys(back)) {
		r.answerReport(in.From.Node, 0, seq, back[seq])
	}
	r.answerReport(in.From.Node, in.Frame.Request, state.Head(), evictions)
}

// answerReport tells a gateway node whose memberships of before seq have ended. It is no link of the chain of removals.
func (r *Room) answerReport(node string, request, seq uint64, evictions []*roomv1.Eviction) {
	if _, subscribed := r.subscribers[node]; !subscribed { // an earlier part could not be sent
		return
	}
	err := r.send(node, &roomv1.Frame{Request: request, Kind: &roomv1.Frame_Evicted{Evicted: &roomv1.Evicted{
		Epoch: r.epoch(), Seq: seq, PrevRemovalSeq: r.removal, RemovalSeq: r.removal, Members: evictions,
	}}})
	if err != nil {
		r.lose(node, err)
		r.settleOwed()
	}
}
