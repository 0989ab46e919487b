package gateway

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/actorkit/actorkittest"
	"github.com/parley-rt/parley/libs/dcplane"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// journal is what fake rooms nodes share: the truth about rooms.
type journal struct {
	mu    sync.Mutex
	rooms map[string]*fakeRoom
}

type fakeRoom struct {
	epoch    uint64
	owner    string
	messages []*roomv1.Message
	ids      map[string]uint64 // member and message id → seq
	sessions map[string]fakeSession
}

// fakeSession is a session's place in a room: operations that are not newer than the last one change nothing.
type fakeSession struct {
	operation uint64
	joined    bool
}

func (j *journal) room(id string) *fakeRoom {
	r := j.rooms[id]
	if r == nil {
		r = &fakeRoom{ids: map[string]uint64{}, sessions: map[string]fakeSession{}}
		j.rooms[id] = r
	}
	return r
}

// operate takes a join or leave; false: it comes too late.
func (r *fakeRoom) operate(session string, operation uint64, join bool) bool {
	s, known := r.sessions[session]
	if known && operation <= s.operation {
		return s.joined == join
	}
	r.sessions[session] = fakeSession{operation, join}
	return true
}

func (r *fakeRoom) last() uint64 {
	if len(r.messages) == 0 {
		return 0
	}
	return r.messages[len(r.messages)-1].GetSeq()
}

// fakeRooms is a rooms node by script: it does what a rooms node does as far as a gateway can see, on a real Link, and
// what tests tell it to do instead.
type fakeRooms struct {
	t       testing.TB
	node    *actorkit.Node
	journal *journal
	reg     dcplane.Registration

	mu          sync.Mutex
	subscribers map[string]map[string]bool              // gateway nodes by room
	online      map[string]map[string]map[string]uint32 // connections by room, gateway node and member
	seen        []*roomv1.Frame
	traces      []actorkit.Frame
	// lives of gateways that may be killed.
	lives map[string]*life
	// instead, unless it returns false, replaces what the node would do. Called with the lock held.
	instead func(f *roomv1.Frame) (answers []*roomv1.Frame, handled bool)
}

func startRooms(t testing.TB, name string, dir dcplane.Directory, j *journal) *fakeRooms {
	t.Helper()
	r := &fakeRooms{
		t: t, journal: j, subscribers: map[string]map[string]bool{}, online: map[string]map[string]map[string]uint32{}, lives: map[string]*life{},
	}
	r.node = actorkittest.StartNode(t, name, r, func(c *actorkit.NodeConfig) { c.Service = "rooms" })
	self := r.node.Self()
	var err error
	r.reg, err = dir.Register(t.Context(), dcplane.Node{
		Service: "rooms", DC: "local", Name: name, Incarnation: self.Incarnation, Host: self.Host, RemotingPort: self.RemotingPort, State: dcplane.StateReady,
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			changed := dir.Changed()
			r.node.SetPeers(peersOf(dir.Nodes("local", "gateway")))
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		watching.Wait()
	})
	return r
}

// die is a crash as others see it: nothing answers any more, and the directory forgets the node.
func (r *fakeRooms) die() {
	r.t.Helper()
	actorkittest.StopNode(r.t, r.node)
	require.NoError(r.t, r.reg.Deregister(context.Background()))
}

// script replaces what the node does; nil ends that.
func (r *fakeRooms) script(instead func(f *roomv1.Frame) ([]*roomv1.Frame, bool)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.instead = instead
}

// count says how many frames came for which ok holds.
func (r *fakeRooms) count(ok func(f *roomv1.Frame) bool) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, f := range r.seen {
		if ok(f) {
			n++
		}
	}
	return n
}

// traced says whether a publish came with that trace.
func (r *fakeRooms) traced(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, f := range r.seen {
		if f.GetPublish() != nil && strings.Contains(r.traces[i].Traceparent, id) {
			return true
		}
	}
	return false
}

func (r *fakeRooms) HandleLink(e actorkit.LinkEvent) {
	if e.Kind == actorkit.LinkUp {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, nodes := range r.subscribers {
		delete(nodes, e.Peer.Node)
	}
}

func (r *fakeRooms) HandleFrame(from actorkit.Peer, in actorkit.Frame) {
	f := &roomv1.Frame{}
	if err := proto.Unmarshal(in.Body, f); err != nil {
		r.t.Errorf("gateway sent nonsense: %v", err)
		return
	}
	r.journal.mu.Lock()
	defer r.journal.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.lives[from.Node]; l != nil {
		if !counts(f) {
			if !l.dead.Load() {
				r.handle(from.Node, f)
			}
			return
		}
		l.act(actionOf(f), func() { r.handle(from.Node, f) })
		return
	}
	r.seen = append(r.seen, f)
	r.traces = append(r.traces, in)
	if r.instead != nil {
		if answers, handled := r.instead(f); handled {
			for _, a := range answers {
				r.answer(from.Node, f, a)
			}
			return
		}
	}
	r.handle(from.Node, f)
}

func (r *fakeRooms) answer(to string, f, a *roomv1.Frame) {
	a.RoomId, a.Connection, a.Request = f.GetRoomId(), f.GetConnection(), f.GetRequest()
	r.send(to, a)
}

func (r *fakeRooms) send(to string, f *roomv1.Frame) {
	if l := r.lives[to]; l != nil && l.dead.Load() {
		return
	}
	body, err := proto.Marshal(f)
	if err != nil {
		r.t.Errorf("encode: %v", err)
		return
	}
	_ = r.node.Send(to, actorkit.Frame{Body: body}) // what a Link does not take is lost, as in life
}

func (r *fakeRooms) handle(from string, f *roomv1.Frame) {
	if heads := f.GetCompareHeads(); heads != nil {
		r.compare(from, heads)
		return
	}
	self := r.node.Self().Node
	room := r.journal.room(f.GetRoomId())
	switch {
	case room.owner == "":
		room.owner = self
		room.epoch++
	case room.owner != self:
		r.answer(from, f, &roomv1.Frame{Kind: &roomv1.Frame_Moved{Moved: &roomv1.Moved{Owner: room.owner}}})
		return
	}
	switch k := f.GetKind().(type) {
	case *roomv1.Frame_Join:
		if !room.operate(k.Join.GetSessionId(), k.Join.GetOperation(), true) {
			r.answer(from, f, refusal(clientv1.ErrorCode_ERROR_CODE_NOT_JOINED, 0))
			return
		}
		cursor := room.last()
		if c := k.Join.GetCursor(); c != nil {
			cursor = c.GetAfterSeq()
		}
		r.answer(from, f, &roomv1.Frame{Kind: &roomv1.Frame_Joined{Joined: &roomv1.Joined{
			Head: room.last(), Cursor: cursor, Recovered: k.Join.GetCursor() != nil, Epoch: room.epoch, Incarnation: 1,
		}}})
	case *roomv1.Frame_Leave:
		room.operate(k.Leave.GetSessionId(), k.Leave.GetOperation(), false)
		r.answer(from, f, &roomv1.Frame{Kind: &roomv1.Frame_Left{Left: &roomv1.Left{}}})
	case *roomv1.Frame_Publish:
		r.publish(from, f, room, k.Publish)
	case *roomv1.Frame_Signal:
		r.fanOut(f.GetRoomId(), &roomv1.Frame{Kind: &roomv1.Frame_Signalled{Signalled: &roomv1.Signalled{
			Epoch: room.epoch, Sender: k.Signal.GetMemberId(), Type: k.Signal.GetType(), Content: k.Signal.GetContent(),
		}}})
	case *roomv1.Frame_Read:
		r.answer(from, f, &roomv1.Frame{Kind: &roomv1.Frame_Page{Page: room.page(k.Read)}})
	case *roomv1.Frame_PresenceQuery:
		total := map[string]uint32{}
		for _, members := range r.online[f.GetRoomId()] {
			for m, n := range members {
				total[m] += n
			}
		}
		list := &roomv1.PresenceList{Count: uint32(len(total))}
		for m, n := range total {
			list.Members = append(list.Members, &roomv1.Present{MemberId: m, Connections: n})
		}
		r.answer(from, f, &roomv1.Frame{Kind: &roomv1.Frame_PresenceList{PresenceList: list}})
	case *roomv1.Frame_Subscribe:
		if r.subscribers[f.GetRoomId()] == nil {
			r.subscribers[f.GetRoomId()] = map[string]bool{}
		}
		r.subscribers[f.GetRoomId()][from] = true
		r.answer(from, f, &roomv1.Frame{Kind: &roomv1.Frame_Subscribed{Subscribed: &roomv1.Subscribed{
			Epoch: room.epoch, Incarnation: 1, Head: room.last(), LastMessageSeq: room.last(),
		}}})
	case *roomv1.Frame_Unsubscribe:
		delete(r.subscribers[f.GetRoomId()], from)
	case *roomv1.Frame_Online:
		r.report(f.GetRoomId(), from, k.Online)
	}
}

func (r *fakeRooms) publish(from string, f *roomv1.Frame, room *fakeRoom, p *roomv1.Publish) {
	answer := &roomv1.Published{}
	var fresh []*roomv1.Message
	for _, d := range p.GetDrafts() {
		key := p.GetMemberId() + " " + d.GetMessageId()
		if seq, ok := room.ids[key]; ok {
			answer.Outcomes = append(answer.Outcomes, &roomv1.Outcome{Seq: seq, Duplicate: true})
			continue
		}
		m := &roomv1.Message{
			Seq: room.last() + 1, PrevSeq: room.last(), Sender: p.GetMemberId(), MessageId: d.GetMessageId(), Content: d.GetContent(),
			SentAt: d.GetSentAt(), Traceparent: d.GetTraceparent(), Tracestate: d.GetTracestate(),
		}
		room.ids[key] = m.GetSeq()
		room.messages = append(room.messages, m)
		fresh = append(fresh, m)
		answer.Outcomes = append(answer.Outcomes, &roomv1.Outcome{Seq: m.GetSeq()})
	}
	r.answer(from, f, &roomv1.Frame{Kind: &roomv1.Frame_Published{Published: answer}})
	if len(fresh) > 0 {
		r.fanOut(f.GetRoomId(), &roomv1.Frame{Kind: &roomv1.Frame_Deliver{Deliver: &roomv1.Deliver{Epoch: room.epoch, Messages: fresh}}})
	}
}

func (r *fakeRooms) fanOut(room string, f *roomv1.Frame) {
	f.RoomId = room
	for node := range r.subscribers[room] {
		r.send(node, f)
	}
}

func (r *fakeRooms) report(room, from string, o *roomv1.Online) {
	if r.online[room] == nil {
		r.online[room] = map[string]map[string]uint32{}
	}
	members := r.online[room][from]
	if o.GetFull() || members == nil {
		members = map[string]uint32{}
		r.online[room][from] = members
	}
	for _, p := range o.GetMembers() {
		if p.GetConnections() == 0 {
			delete(members, p.GetMemberId())
		} else {
			members[p.GetMemberId()] = p.GetConnections()
		}
	}
}

func (r *fakeRooms) compare(from string, heads *roomv1.CompareHeads) {
	differ := &roomv1.HeadsDiffer{}
	for _, h := range heads.GetRooms() {
		room := r.journal.room(h.GetRoomId())
		if room.owner != r.node.Self().Node || room.epoch != h.GetEpoch() || room.last() > h.GetLastMessageSeq() {
			differ.RoomIds = append(differ.RoomIds, h.GetRoomId())
		}
	}
	if len(differ.GetRoomIds()) > 0 {
		r.send(from, &roomv1.Frame{Kind: &roomv1.Frame_HeadsDiffer{HeadsDiffer: differ}})
	}
}

func (r *fakeRoom) page(q *roomv1.Read) *roomv1.Page {
	p := &roomv1.Page{Head: r.last(), Epoch: r.epoch, Incarnation: 1}
	for _, m := range r.messages {
		if q.AfterSeq != nil && m.GetSeq() <= q.GetAfterSeq() || q.BeforeSeq != nil && m.GetSeq() >= q.GetBeforeSeq() {
			continue
		}
		p.Messages = append(p.Messages, m)
	}
	if n := int(q.GetLimit()); len(p.GetMessages()) > n {
		p.More = true
		if q.AfterSeq != nil {
			p.Messages = p.GetMessages()[:n]
		} else {
			p.Messages = p.GetMessages()[len(p.GetMessages())-n:]
		}
	}
	return p
}

// takeover gives a room to another node, as if its owner were gone or cut off.
func (j *journal) takeover(room, node string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	r := j.room(room)
	r.owner = node
	r.epoch++
}

func refusal(code clientv1.ErrorCode, after time.Duration) *roomv1.Frame {
	return &roomv1.Frame{Kind: &roomv1.Frame_Refused{Refused: &roomv1.Refused{Code: int32(code), Message: "scripted", RetryAfterMs: uint32(after.Milliseconds())}}}
}

// members counts the sessions that are in a room.
func (j *journal) members(id string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for _, s := range j.room(id).sessions {
		if s.joined {
			n++
		}
	}
	return n
}
