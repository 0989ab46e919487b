package hub

import (
	"math"
	"time"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
	"github.com/parley-rt/parley/libs/protocol/codes"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// Members that a room has taken out get nothing with a seq above that of the event that did it, whatever is lost on the way
// (S8). Every connection stands as of a seq: the room's head when it was last known to be let in. The topic knows removal,
// the newest event that took somebody out. Both are compared:
//
//   - Evicted names who is out, in a chain like that of the deliveries; everybody else then stands as of its seq. Connections
//     that stand as of that seq or a later one were let in again and stay.
//   - A frame that shows a newer removal than the topic has is not handed on: an Evicted was missed. The topic subscribes anew.
//   - A connection that stands as of less than removal is held: it gets nothing until the room has answered a report that
//     names it. This happens after a subscription that missed an Evicted, and when an answer to a join was overtaken by one.

// Evictee hears that its connection was taken out of a room.
type Evictee interface {
	// Evicted: the stream that began with that Start.Number has ended, and the client has been told.
	Evicted(room string, number uint64)
}

// Evicted takes members out, or answers a report. It returns whose connections were taken out why.
func (t *Topic) Evicted(now time.Time, from string, number uint64, e *roomv1.Evicted) map[clientv1.EvictionReason]int {
	switch {
	case t.phase == phaseIdle || t.epoch == 0 || e.GetEpoch() < t.epoch:
		return nil
	case e.GetEpoch() > t.epoch:
		if t.phase == phaseLive {
			t.up.Owner(t.room, from)
			t.resubscribe(now, "")
		}
		return nil
	}
	out := t.evict(now, number, e)
	switch {
	case e.GetPrevRemovalSeq() > t.removal:
		if t.phase == phaseLive {
			t.resubscribe(now, "") // one was missed
		}
	case number != 0:
		t.checked(now, number, e.GetSeq())
	case e.GetRemovalSeq() > t.removal:
		for _, s := range t.subs.All() {
			if s.as >= t.removal {
				s.as = max(s.as, e.GetSeq())
			}
		}
		t.removal = e.GetRemovalSeq()
	}
	return out
}

// evict ends the streams of members that are out, and counts them by reason: room_left goes behind what they have got. About a
// connection of another history the past says nothing: only the answer to a report does.
func (t *Topic) evict(now time.Time, number uint64, e *roomv1.Evicted) map[clientv1.EvictionReason]int {
	if len(e.GetMembers()) == 0 {
		return nil
	}
	ended := make(map[clientv1.EvictionReason]int)
	out := make(map[string]*roomv1.Eviction, len(e.GetMembers()))
	for _, m := range e.GetMembers() {
		out[m.GetMemberId()] = m
	}
	for sink, s := range t.subs.All() {
		m := out[s.member]
		if m == nil || s.as >= e.GetSeq() || s.epoch > e.GetEpoch() || s.foreign && number == 0 && e.GetSeq() <= t.removal {
			continue
		}
		t.Detach(now, sink, evictedFrame(sink.Codec(), t.room, m, now))
		ended[codes.EvictionOf(clientv1.ErrorCode(m.GetCode()))]++
		if s.evictee != nil {
			s.evictee.Evicted(t.room, s.number)
		}
	}
	return ended
}

// checked takes the answer to a report: everybody it named and who is still here is in the room as of seq.
func (t *Topic) checked(now time.Time, number, seq uint64) {
	if number != t.check {
		return
	}
	t.check = 0
	for _, s := range t.subs.All() {
		if s.check == number {
			s.as, s.foreign = max(s.as, seq), false
		}
	}
	for _, s := range t.subs.All() {
		if s.state == subHeld {
			s.state = subIdle
			if t.phase == phaseLive {
				t.advance(now, s)
			}
		}
	}
	t.report(now, false)
}

// hold keeps a connection from getting anything until the room has said that it may.
func (t *Topic) hold(s *sub) {
	s.state = subHeld
	if t.check == 0 || s.check != t.check {
		t.unsure = true
	}
}

// removals takes what a subscription says about removals. Connections that stand as of an earlier seq are held; so are those
// of another history, because their seqs mean nothing in this one.
func (t *Topic) removals(s *roomv1.Subscribed) {
	t.removal, t.check, t.unsure = s.GetRemovalSeq(), 0, false
	for _, sub := range t.subs.All() {
		if sub.incarnation != t.incarnation {
			sub.as, sub.foreign = 0, true
		}
		if sub.state == subHeld {
			sub.state = subIdle
		}
		if sub.as >= t.removal {
			continue
		}
		if sub.state == subLive {
			sub.fan.unlive(sub)
		}
		t.unsure = true
	}
}

// name notes in a report with which number every connection was named.
func (t *Topic) name(now time.Time) uint64 {
	t.check, t.checkAt, t.unsure = t.up.Number(), now, false
	for _, s := range t.subs.All() {
		s.check = t.check
	}
	return t.check
}

func evictedFrame(c codec.Codec, room string, m *roomv1.Eviction, now time.Time) []byte {
	left := &clientv1.RoomLeft{
		RoomId: room, Reason: codes.EvictionName(codes.EvictionOf(clientv1.ErrorCode(m.GetCode()))), Message: m.GetReason(),
	}
	if at := m.GetExpiresAt(); at != nil {
		left.RetryAfterMs = uint32(min(max(at.AsTime().Sub(now).Milliseconds()+1, 1), math.MaxUint32))
	}
	return mustFrame(c, &clientv1.Envelope{Kind: &clientv1.Envelope_RoomLeft{RoomLeft: left}})
}
