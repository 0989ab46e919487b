package hub

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

var errDown = errors.New("link is down")

// modelNode is a rooms node: what it believes about the room, and the two directions of its Link.
type modelNode struct {
	name       string
	running    bool // it believes that it owns the room
	epoch      uint64
	messages   int // how many of the journal's messages it knows
	removals   int // and of its removals
	subscribed bool
	toHub      []*roomv1.Frame
	toNode     []*roomv1.Frame
	down       bool
}

// removal is an event that took a member out of the room.
type removal struct {
	seq         uint64
	member      string
	incarnation uint64
}

// model is one room in a journal, two rooms nodes that pass it on to each other, and a Topic with its connections. Frames
// wait in the Links until a test lets them pass.
type model struct {
	t     testing.TB
	now   time.Time
	topic *Topic

	nodes       [2]*modelNode
	owner       int
	epoch       uint64
	incarnation uint64
	messages    []*roomv1.Message
	head        uint64
	trimmed     uint64
	lost        uint64 // the highest seq that was ever given out and lost
	removals    []removal
	removed     []removal         // also those that a lost tail has taken along
	joined      map[string]uint64 // the head when a member last joined
	joins       uint64
	late        []func() // joins that were answered and are not attached yet

	hint   string // the route's remembered owner
	number uint64
	reads  int // places for pages
	sinks  []*modelSink
	made   int
}

func newModel(t testing.TB, cfg Config) *model {
	m := &model{t: t, now: time.Unix(1_700_000_000, 0), epoch: 1, incarnation: 1, reads: 2, joined: map[string]uint64{}}
	for i := range m.nodes {
		m.nodes[i] = &modelNode{name: fmt.Sprintf("n%d", i)}
	}
	m.nodes[0].running, m.nodes[0].epoch = true, 1
	cfg = cfg.withDefaults()
	m.topic = NewTopic("r", &cfg, m)
	return m
}

func (m *model) node(name string) *modelNode {
	for _, n := range m.nodes {
		if n.name == name {
			return n
		}
	}
	return nil
}

// Upstream.

func (m *model) Send(f *roomv1.Frame, avoid []string) (string, error) {
	order := []string{m.hint, "n0", "n1"}
	for _, shunned := range []bool{false, true} {
		for _, name := range order {
			n := m.node(name)
			is := len(avoid) > 0 && avoid[0] == name
			if n != nil && is == shunned && m.SendTo(name, f) == nil {
				return name, nil
			}
		}
	}
	return "", errDown
}

func (m *model) SendTo(node string, f *roomv1.Frame) error {
	n := m.node(node)
	if n == nil || n.down {
		return errDown
	}
	n.toNode = append(n.toNode, proto.CloneOf(f))
	return nil
}

func (m *model) Owner(_, node string) { m.hint = node }

func (m *model) Number() uint64 {
	m.number++
	return m.number
}

func (m *model) AcquireRead(*Topic) bool {
	if m.reads == 0 {
		return false
	}
	m.reads--
	return true
}

func (m *model) ReleaseRead() {
	m.reads++
	require.LessOrEqual(m.t, m.reads, 2, "a place for a page was given back twice")
}

func (m *model) Drained(*Topic, *sub) {} // sinks call Resume themselves

// The room.

func (m *model) publish(n int) {
	owner := m.nodes[m.owner]
	var fresh []*roomv1.Message
	for range n {
		msg := &roomv1.Message{Seq: m.head + 1, PrevSeq: m.last(), Sender: "s", MessageId: fmt.Sprintf("%d-%d", m.incarnation, m.head+1), Content: "c"}
		m.head++
		m.messages = append(m.messages, msg)
		fresh = append(fresh, msg)
	}
	owner.messages = len(m.messages)
	if owner.subscribed {
		m.toHub(owner, &roomv1.Frame{Kind: &roomv1.Frame_Deliver{Deliver: &roomv1.Deliver{
			Epoch: m.epoch, Messages: fresh, RemovalSeq: m.removal(owner),
		}}})
	}
}

// remove takes a member out.
func (m *model) remove(member string) {
	owner := m.nodes[m.owner]
	prev := m.removal(owner)
	m.head++
	r := removal{m.head, member, m.incarnation}
	m.removals, m.removed = append(m.removals, r), append(m.removed, r)
	owner.removals = len(m.removals)
	if owner.subscribed {
		m.toHub(owner, &roomv1.Frame{Kind: &roomv1.Frame_Evicted{Evicted: &roomv1.Evicted{
			Epoch: m.epoch, Seq: m.head, PrevRemovalSeq: prev, RemovalSeq: m.head, Members: []*roomv1.Eviction{{MemberId: member}},
		}}})
	}
}

// removal returns the newest removal that a node knows.
func (m *model) removal(n *modelNode) uint64 {
	if k := min(n.removals, len(m.removals)); k > 0 {
		return m.removals[k-1].seq
	}
	return 0
}

// out returns what took the member out, by the removals that are known; seq 0: it is in.
func (m *model) out(member string, known []removal) removal {
	for i := len(known) - 1; i >= 0; i-- {
		if r := known[i]; r.member == member && r.seq > m.joined[member] {
			return r
		}
	}
	return removal{}
}

// report answers who of those that a hub names is out.
func (m *model) report(n *modelNode, number uint64, o *roomv1.Online) {
	if !n.running || !n.subscribed {
		closed := &roomv1.Closed{Owner: m.nodes[m.owner].name}
		if n.running {
			closed = &roomv1.Closed{Epoch: n.epoch, Owner: n.name}
		}
		m.toHub(n, &roomv1.Frame{Kind: &roomv1.Frame_Closed{Closed: closed}})
		return
	}
	seq := m.removal(n)
	if n == m.nodes[m.owner] {
		seq = m.head
	}
	e := &roomv1.Evicted{Epoch: n.epoch, Seq: seq, PrevRemovalSeq: m.removal(n), RemovalSeq: m.removal(n)}
	for _, p := range o.GetMembers() {
		if p.GetConnections() > 0 && m.out(p.GetMemberId(), m.removals[:min(n.removals, len(m.removals))]).seq > 0 {
			e.Members = append(e.Members, &roomv1.Eviction{MemberId: p.GetMemberId()})
		}
	}
	if number != 0 || len(e.Members) > 0 {
		m.toHub(n, &roomv1.Frame{Request: number, Kind: &roomv1.Frame_Evicted{Evicted: e}})
	}
}

func (m *model) last() uint64 { return lastOf(m.messages) }

func lastOf(messages []*roomv1.Message) uint64 {
	if len(messages) == 0 {
		return 0
	}
	return messages[len(messages)-1].GetSeq()
}

func (m *model) toHub(n *modelNode, f *roomv1.Frame) {
	f.RoomId = "r"
	if n.down {
		return // lost; the node notices by itself, see linkDown
	}
	n.toHub = append(n.toHub, proto.CloneOf(f))
}

// serve lets a node handle the next frame that reached it.
func (m *model) serve(n *modelNode) {
	if len(n.toNode) == 0 {
		return
	}
	f := n.toNode[0]
	n.toNode = n.toNode[1:]
	answer := &roomv1.Frame{Request: f.GetRequest()}
	known := m.messages[:min(n.messages, len(m.messages))]
	switch k := f.GetKind().(type) {
	case *roomv1.Frame_Subscribe:
		if !n.running {
			answer.Kind = &roomv1.Frame_Moved{Moved: &roomv1.Moved{Owner: m.nodes[m.owner].name}}
			break
		}
		n.subscribed = true
		head := m.head
		if n != m.nodes[m.owner] {
			head = lastOf(known)
		}
		answer.Kind = &roomv1.Frame_Subscribed{Subscribed: &roomv1.Subscribed{
			Epoch: n.epoch, Incarnation: m.incarnation, Head: head, LastMessageSeq: lastOf(known), RemovalSeq: m.removal(n),
		}}
	case *roomv1.Frame_Read:
		if !n.running {
			answer.Kind = &roomv1.Frame_Moved{Moved: &roomv1.Moved{Owner: m.nodes[m.owner].name}}
			break
		}
		page := &roomv1.Page{Epoch: n.epoch, Incarnation: m.incarnation, Head: m.head, Trimmed: m.trimmed, RemovalSeq: m.removal(n)}
		for _, msg := range known {
			if msg.GetSeq() > max(k.Read.GetAfterSeq(), m.trimmed) {
				if len(page.Messages) == int(k.Read.GetLimit()) {
					page.More = true
					break
				}
				page.Messages = append(page.Messages, msg)
			}
		}
		answer.Kind = &roomv1.Frame_Page{Page: page}
	case *roomv1.Frame_Online:
		m.report(n, f.GetRequest(), k.Online)
		return
	case *roomv1.Frame_Unsubscribe:
		n.subscribed = false
		return
	default:
		return
	}
	m.toHub(n, answer)
}

// deliver lets the hub handle the next frame that reached it from a node.
func (m *model) deliver(n *modelNode) {
	if len(n.toHub) == 0 {
		return
	}
	f := n.toHub[0]
	n.toHub = n.toHub[1:]
	switch k := f.GetKind().(type) {
	case *roomv1.Frame_Deliver:
		m.made += m.topic.Deliver(m.now, n.name, k.Deliver)
	case *roomv1.Frame_Subscribed:
		m.topic.Subscribed(m.now, n.name, f.GetRequest(), k.Subscribed)
	case *roomv1.Frame_Page:
		m.topic.Page(m.now, f.GetRequest(), k.Page)
	case *roomv1.Frame_Moved:
		m.topic.Moved(m.now, n.name, f.GetRequest(), k.Moved.GetOwner())
	case *roomv1.Frame_Evicted:
		m.topic.Evicted(m.now, n.name, f.GetRequest(), k.Evicted)
	case *roomv1.Frame_Closed:
		m.topic.Closed(m.now, n.name, k.Closed)
	case *roomv1.Frame_Refused:
		m.topic.Refused(m.now, f.GetRequest(), k.Refused)
	}
}

// lose drops the next frame to the hub; the Link tells so before what follows.
func (m *model) lose(n *modelNode) {
	if len(n.toHub) > 0 {
		n.toHub = n.toHub[1:]
		m.topic.Lost(m.now, n.name)
	}
}

func (m *model) linkDown(n *modelNode) {
	n.down, n.toHub, n.toNode = true, nil, nil
	n.subscribed = false
	m.topic.Gone(m.now, n.name)
}

// linkUp lets the node tell what it owes: that the subscription ended.
func (m *model) linkUp(n *modelNode) {
	if n.down {
		n.down = false
		m.toHub(n, &roomv1.Frame{Kind: &roomv1.Frame_Closed{Closed: &roomv1.Closed{Epoch: n.epoch, Owner: n.name}}})
	}
}

// takeover moves the room to the other node; the former owner does not know yet.
func (m *model) takeover() {
	m.owner = 1 - m.owner
	m.epoch++
	n := m.nodes[m.owner]
	n.running, n.epoch, n.messages, n.removals, n.subscribed = true, m.epoch, len(m.messages), len(m.removals), false
}

// learn tells the former owner.
func (m *model) learn() {
	n := m.nodes[1-m.owner]
	if n.running {
		n.running, n.subscribed = false, false
		m.toHub(n, &roomv1.Frame{Kind: &roomv1.Frame_Closed{Closed: &roomv1.Closed{Epoch: n.epoch, Owner: m.nodes[m.owner].name}}})
	}
}

// loseTail is a journal that lost its last messages: the next owner is of another incarnation.
func (m *model) loseTail(k int) {
	keep := len(m.messages) - min(k, len(m.messages))
	m.lost = max(m.lost, m.head)
	m.messages = m.messages[:keep]
	m.head = max(m.last(), m.trimmed)
	for len(m.removals) > 0 && m.removals[len(m.removals)-1].seq > m.head {
		m.removals = m.removals[:len(m.removals)-1]
	}
	for member := range m.joined {
		m.joined[member] = min(m.joined[member], m.head)
	}
	m.incarnation++
	m.nodes[1-m.owner].running = false
	m.takeover()
	m.nodes[1-m.owner].running = false
}

func (m *model) tick(d time.Duration) {
	m.now = m.now.Add(d)
	m.topic.Tick(m.now)
}

// compare is the bulk comparison of heads.
func (m *model) compare() {
	node := m.topic.Node()
	if n := m.node(node); n != nil && !n.down {
		head, _ := m.topic.Compare()
		known := m.messages[:min(n.messages, len(m.messages))]
		if !n.running || head.GetEpoch() != n.epoch || lastOf(known) > head.GetLastMessageSeq() || !n.subscribed {
			m.topic.Differs(m.now, node)
		}
	}
}

// attach joins a new connection. cursor is what the client asked for, nil for the head; the answer is the owner's.
func (m *model) attach(cursor *uint64, c codec.Codec, limit int) *modelSink {
	s := m.sink(fmt.Sprintf("member-%d", len(m.sinks)+1), c, limit)
	m.join(s, cursor)()
	return s
}

func (m *model) sink(member string, c codec.Codec, limit int) *modelSink {
	s := &modelSink{m: m, member: member, codec: c, limit: limit}
	m.sinks = append(m.sinks, s)
	return s
}

// join answers a join and returns what attaches the connection when the answer has arrived.
func (m *model) join(s *modelSink, cursor *uint64) func() {
	m.joined[s.member] = m.head
	m.joins++
	start := Start{Member: s.member, As: m.head, Evictee: s, Number: m.joins, Cursor: m.head, Epoch: m.epoch, Incarnation: m.incarnation, Node: m.nodes[m.owner].name}
	reset := clientv1.ResetReason_RESET_REASON_UNSPECIFIED
	if cursor != nil {
		switch {
		case *cursor > m.head:
			reset = clientv1.ResetReason_RESET_REASON_REWOUND
		case *cursor < m.trimmed:
			reset, start.Cursor = clientv1.ResetReason_RESET_REASON_TRIMMED, m.trimmed
		default:
			start.Cursor = *cursor
		}
	}
	start.First = [][]byte{mustFrame(s.codec, &clientv1.Envelope{Kind: &clientv1.Envelope_RoomJoined{RoomJoined: &clientv1.RoomJoined{
		RoomId: "r", Seq: m.head, Recovered: cursor != nil && reset == 0,
	}}})}
	asked := m.head
	if cursor != nil {
		asked = *cursor
	}
	if reset != 0 {
		start.First = append(start.First, resetFrame(s.codec, "r", start.Cursor, reset))
	}
	return func() {
		s.asked, s.as, s.incarnation, s.number = asked, start.As, start.Incarnation, start.Number
		s.gone, s.evicted, s.told = false, false, false
		m.topic.Attach(m.now, s, start)
	}
}

// settle heals everything and lets it happen.
func (m *model) settle() {
	for _, n := range m.nodes {
		m.linkUp(n)
	}
	m.learn()
	for _, attach := range m.late {
		attach()
	}
	m.late = nil
	for range 400 {
		for _, n := range m.nodes {
			for len(n.toNode) > 0 {
				m.serve(n)
			}
			for len(n.toHub) > 0 {
				m.deliver(n)
			}
		}
		for _, s := range m.sinks {
			for range 4 { // the smallest take one message at a time
				s.read()
			}
		}
		m.topic.CanRead(m.now)
		m.tick(100 * time.Millisecond)
		if m.now.Nanosecond() == 0 && m.now.Second()%5 == 0 {
			m.compare()
		}
	}
}
