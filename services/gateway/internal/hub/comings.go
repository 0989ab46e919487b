package hub

import (
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// coming is a frame that tells of one member, in the encodings that are in use.
type coming struct {
	member string
	frames [2][]byte
}

// MembersChanged tells everybody but themselves who has come into the room and gone out of it; it returns how many frames
// that were. They promise nothing, like signals.
func (t *Topic) MembersChanged(m *roomv1.MembersChanged) int {
	if t.phase == phaseIdle || m.GetEpoch() < t.epoch {
		return 0
	}
	comings := make([]coming, 0, len(m.GetJoined())+len(m.GetLeft()))
	for i, member := range m.GetJoined() {
		joined := &clientv1.MemberJoined{RoomId: t.room, MemberId: member, More: onLast(i, m.GetJoined(), m.GetJoinedMore())}
		comings = append(comings, t.coming(member, &clientv1.Envelope{Kind: &clientv1.Envelope_MemberJoined{MemberJoined: joined}}))
	}
	for i, member := range m.GetLeft() {
		left := &clientv1.MemberLeft{RoomId: t.room, MemberId: member, More: onLast(i, m.GetLeft(), m.GetLeftMore())}
		comings = append(comings, t.coming(member, &clientv1.Envelope{Kind: &clientv1.Envelope_MemberLeft{MemberLeft: left}}))
	}
	made := 0
	for _, s := range t.subs.All() {
		if s.state == subHeld {
			continue
		}
		encoding := 0
		if s.fan == t.fans[1] {
			encoding = 1
		}
		frames := make([][]byte, 0, len(comings))
		for _, c := range comings {
			if f := c.frames[encoding]; c.member != s.member && f != nil {
				frames = append(frames, f)
			}
		}
		if len(frames) > 0 && s.sink.SendAll(frames) {
			made += len(frames)
		}
	}
	return made
}

// onLast puts the number of those who are not named on the last one who is.
func onLast(i int, named []string, more uint32) uint32 {
	if i == len(named)-1 {
		return more
	}
	return 0
}

// coming compiles a frame. One that cannot be encoded is left out: the member's id came past a check that rooms make.
func (t *Topic) coming(member string, env *clientv1.Envelope) coming {
	c := coming{member: member}
	for i, f := range t.fans {
		if f == nil {
			continue
		}
		if frame, err := Frame(f.codec, env); err == nil {
			c.frames[i] = frame
		}
	}
	return c
}
