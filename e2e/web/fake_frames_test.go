package web

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
)

func (c *fakeConn) send(e *clientv1.Envelope) {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(e)
	if err != nil {
		panic(err) // the fake's own frame
	}
	c.out <- text
}

func (c *fakeConn) refuse(id uint32, e *clientv1.Error) {
	c.send(&clientv1.Envelope{Id: id, Kind: &clientv1.Envelope_Error{Error: e}})
}

// handle takes one frame; f.mu is held.
func (f *fake) handle(c *fakeConn, e *clientv1.Envelope) {
	if h := e.GetHello(); h != nil && c.session == nil {
		f.hello(c, h)
		return
	}
	if c.session == nil {
		f.hello(c, &clientv1.Hello{})
	}
	switch k := e.GetKind().(type) {
	case *clientv1.Envelope_JoinRoom:
		j := k.JoinRoom
		f.join(c, e.GetId(), &clientv1.RoomCursor{RoomId: j.GetRoomId(), AfterSeq: j.AfterSeq, AfterMessageId: j.GetAfterMessageId(), Incarnation: j.GetIncarnation()})
	case *clientv1.Envelope_LeaveRoom:
		delete(c.rooms, k.LeaveRoom.GetRoomId())
		c.session.rooms = slices.DeleteFunc(c.session.rooms, func(r string) bool { return r == k.LeaveRoom.GetRoomId() })
		c.send(&clientv1.Envelope{Id: e.GetId(), Kind: &clientv1.Envelope_RoomLeft{RoomLeft: &clientv1.RoomLeft{RoomId: k.LeaveRoom.GetRoomId()}}})
	case *clientv1.Envelope_Message:
		f.publish(c, e.GetId(), k.Message)
	case *clientv1.Envelope_Signal:
		for other := range f.conns {
			if other != c && other.rooms[k.Signal.GetTarget()] {
				other.send(&clientv1.Envelope{Kind: &clientv1.Envelope_Signal{Signal: &clientv1.Signal{Target: k.Signal.GetTarget(), Type: k.Signal.GetType(), Sender: c.session.member}}})
			}
		}
	case *clientv1.Envelope_History:
		c.send(&clientv1.Envelope{Id: e.GetId(), Kind: &clientv1.Envelope_HistoryPage{HistoryPage: f.page(k.History)}})
	case *clientv1.Envelope_Presence:
		c.send(&clientv1.Envelope{Id: e.GetId(), Kind: &clientv1.Envelope_PresenceState{PresenceState: f.presence(k.Presence.GetRoomId())}})
	case *clientv1.Envelope_Ping:
		c.send(&clientv1.Envelope{Id: e.GetId(), Kind: &clientv1.Envelope_Pong{Pong: &clientv1.Pong{}}})
	default:
		c.refuse(e.GetId(), &clientv1.Error{Code: "UNKNOWN_KIND"})
	}
}

func (f *fake) hello(c *fakeConn, h *clientv1.Hello) {
	if h.GetSessionToken() != "" && f.helloCode != 0 {
		c.close <- f.helloCode
		return
	}
	session, resumed := f.sessions[h.GetSessionToken()]
	if !resumed {
		f.numbers++
		session = &fakeSession{member: fmt.Sprintf("guest-%03d", f.numbers)}
	}
	f.numbers++
	token := fmt.Sprintf("token-%d", f.numbers)
	f.sessions[token] = session
	c.session = session
	f.opened++
	f.conns[c] = true
	c.send(&clientv1.Envelope{Kind: &clientv1.Envelope_Session{Session: &clientv1.Session{
		Token: token, MemberId: session.member, Rooms: session.rooms, Resumed: resumed, Node: "gateway-1", Dc: "dc-a",
		ExpiresAt: timestamppb.New(time.Now().Add(time.Hour)),
	}}})
	named := map[string]bool{}
	for _, room := range h.GetRooms() {
		named[room.GetRoomId()] = true
		f.join(c, 0, room)
	}
	for _, id := range slices.Clone(session.rooms) {
		if !named[id] {
			f.join(c, 0, &clientv1.RoomCursor{RoomId: id})
		}
	}
}

func (f *fake) join(c *fakeConn, id uint32, at *clientv1.RoomCursor) {
	r := f.room(at.GetRoomId())
	c.rooms[at.GetRoomId()] = true
	if !slices.Contains(c.session.rooms, at.GetRoomId()) {
		c.session.rooms = append(c.session.rooms, at.GetRoomId())
	}
	joined := &clientv1.RoomJoined{RoomId: at.GetRoomId(), Seq: r.head, Incarnation: r.incarnation, Recovered: at.AfterSeq != nil}
	var reset *clientv1.Reset
	switch {
	case at.AfterSeq == nil:
	case at.GetAfterSeq() > r.head || at.GetIncarnation() != 0 && at.GetIncarnation() != r.incarnation:
		reset = &clientv1.Reset{RoomId: at.GetRoomId(), Seq: r.head, Reason: "rewound"}
	case at.GetAfterSeq() < r.trimmed:
		reset = &clientv1.Reset{RoomId: at.GetRoomId(), Seq: r.trimmed, Reason: "trimmed"}
	}
	joined.Recovered = joined.GetRecovered() && reset == nil
	c.send(&clientv1.Envelope{Id: id, Kind: &clientv1.Envelope_RoomJoined{RoomJoined: joined}})
	from := at.GetAfterSeq()
	if reset != nil {
		c.send(&clientv1.Envelope{Kind: &clientv1.Envelope_Reset_{Reset_: reset}})
		from = reset.GetSeq()
	}
	if at.AfterSeq == nil {
		return
	}
	for _, m := range r.messages {
		if m.GetSeq() > from {
			c.send(&clientv1.Envelope{Kind: &clientv1.Envelope_Message{Message: m}})
		}
	}
}

func (f *fake) publish(c *fakeConn, id uint32, m *clientv1.Message) {
	f.got = append(f.got, m)
	if !c.rooms[m.GetTarget()] {
		c.refuse(id, &clientv1.Error{Code: "NOT_JOINED", RoomId: m.GetTarget(), MessageId: m.GetMessageId()})
		return
	}
	var v verdict
	if f.publishing != nil {
		v = f.publishing(m)
	}
	switch {
	case v.mute:
		return
	case v.drop:
		c.close <- closeWithoutFrame
		return
	case v.refuse != nil:
		v.refuse.RoomId, v.refuse.MessageId = m.GetTarget(), m.GetMessageId()
		c.refuse(id, v.refuse)
		return
	}
	m.Sender = c.session.member
	duplicate := true
	stored := f.find(m)
	if v.lose {
		c.close <- closeWithoutFrame
		delete(c.rooms, m.GetTarget())
	}
	if stored == nil {
		duplicate = false
		stored = f.store(m.GetTarget(), m)
	}
	if !v.lose {
		c.send(&clientv1.Envelope{Id: id, Kind: &clientv1.Envelope_Ack{Ack: &clientv1.Ack{Target: m.GetTarget(), MessageId: m.GetMessageId(), Seq: stored.GetSeq(), Duplicate: duplicate}}})
	}
}

func (f *fake) find(m *clientv1.Message) *clientv1.Message {
	for _, old := range f.room(m.GetTarget()).messages {
		if old.GetSender() == m.GetSender() && old.GetMessageId() == m.GetMessageId() {
			return old
		}
	}
	return nil
}

func (f *fake) page(h *clientv1.History) *clientv1.HistoryPage {
	limit := int(h.GetLimit())
	if limit == 0 {
		limit = 50
	}
	r := f.room(h.GetRoomId())
	all := slices.DeleteFunc(slices.Clone(r.messages), func(m *clientv1.Message) bool {
		return m.GetSeq() <= r.trimmed || h.AfterSeq != nil && m.GetSeq() <= h.GetAfterSeq() || h.BeforeSeq != nil && m.GetSeq() >= h.GetBeforeSeq()
	})
	page := &clientv1.HistoryPage{RoomId: h.GetRoomId(), More: len(all) > limit}
	if h.AfterSeq != nil {
		page.Messages = all[:min(limit, len(all))]
	} else {
		page.Messages = all[max(0, len(all)-limit):]
	}
	return page
}

func (f *fake) presence(room string) *clientv1.PresenceState {
	count := map[string]uint32{}
	for c := range f.conns {
		if c.rooms[room] {
			count[c.session.member]++
		}
	}
	state := &clientv1.PresenceState{RoomId: room, Count: uint32(len(count))}
	for _, member := range slices.Sorted(maps.Keys(count)) {
		state.Members = append(state.Members, &clientv1.PresentMember{MemberId: member, Connections: count[member]})
	}
	return state
}
