package rooms

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/parley-rt/parley/libs/actorkit"
	"github.com/parley-rt/parley/libs/actorkit/actorkittest"
	"github.com/parley-rt/parley/libs/dcplane"
	"github.com/parley-rt/parley/libs/dcplane/memory"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// patience is how long a test waits for something that must come.
const patience = 15 * time.Second

// fakeGateway speaks room.proto over real Links, as a gateway node's hub and connections do.
type fakeGateway struct {
	t             testing.TB
	service, name string
	node          *actorkit.Node
	reg           dcplane.Registration

	mu      sync.Mutex
	next    uint64
	answers map[uint64]pending
	// Frames that answer nothing, in order of arrival, with the node they came from.
	frames  []received
	changed chan struct{}
	// stalled makes the door wait: the Link to this gateway fills up.
	stalled chan struct{}
}

// pending is a request that was sent to a node and not answered yet. If lossy, nil is its answer when the Link to the node
// goes down.
type pending struct {
	ch    chan *roomv1.Frame
	node  string
	lossy bool
}

type received struct {
	from  string
	frame *roomv1.Frame
}

func startGateway(t testing.TB, plane *memory.Plane, name string, edit ...func(*actorkit.NodeConfig)) *fakeGateway {
	t.Helper()
	return startPeer(t, plane, gatewayService, name, edit...)
}

// startPeer starts a node of any service that only asks.
func startPeer(t testing.TB, plane *memory.Plane, service, name string, edit ...func(*actorkit.NodeConfig)) *fakeGateway {
	t.Helper()
	g := &fakeGateway{t: t, service: service, name: name, answers: make(map[uint64]pending), changed: make(chan struct{})}
	g.node = actorkittest.StartNode(t, name, g, edit...)
	g.reg = g.register(plane)
	return g
}

// register makes the gateway known on a plane.
func (g *fakeGateway) register(plane *memory.Plane) dcplane.Registration {
	g.t.Helper()
	dir, err := plane.Open(context.Background(), memory.Config{})
	require.NoError(g.t, err)
	g.t.Cleanup(func() { require.NoError(g.t, dir.Close(context.Background())) })
	self := g.node.Self()
	reg, err := dir.Register(context.Background(), dcplane.Node{
		Service: g.service, DC: "dc-a", Name: g.name, Incarnation: self.Incarnation,
		Host: self.Host, RemotingPort: self.RemotingPort, State: dcplane.StateReady,
	})
	require.NoError(g.t, err)
	return reg
}

// connect links the gateway with rooms nodes and waits until the Links are up in both directions.
func (g *fakeGateway) connect(services ...*Service) {
	g.t.Helper()
	peers := make([]actorkit.Peer, len(services))
	for i, s := range services {
		peers[i] = s.node.Self()
	}
	g.node.SetPeers(peers)
	for _, s := range services {
		actorkittest.WaitUp(g.t, g.node, s.cfg.Node)
		actorkittest.WaitUp(g.t, s.node, g.name)
	}
}

func (g *fakeGateway) HandleFrame(from actorkit.Peer, f actorkit.Frame) {
	g.mu.Lock()
	stalled := g.stalled
	g.mu.Unlock()
	if stalled != nil {
		<-stalled
	}
	frame := new(roomv1.Frame)
	if err := proto.Unmarshal(f.Body, frame); err != nil {
		g.t.Errorf("rooms sent what is no frame: %v", err)
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if p, ok := g.answers[frame.Request]; ok && frame.Request != 0 {
		delete(g.answers, frame.Request)
		p.ch <- frame
		return
	}
	g.frames = append(g.frames, received{from.Node, frame})
	close(g.changed)
	g.changed = make(chan struct{})
}

func (g *fakeGateway) HandleLink(e actorkit.LinkEvent) {
	if e.Kind != actorkit.LinkDown {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for request, p := range g.answers {
		if p.lossy && p.node == e.Peer.Node {
			delete(g.answers, request)
			p.ch <- nil
		}
	}
}

// stall makes the gateway take nothing until the returned function is called.
func (g *fakeGateway) stall() (release func()) {
	stalled := make(chan struct{})
	g.mu.Lock()
	g.stalled = stalled
	g.mu.Unlock()
	return sync.OnceFunc(func() {
		g.mu.Lock()
		g.stalled = nil
		g.mu.Unlock()
		close(stalled)
	})
}

// send sends a frame without waiting for an answer.
func (g *fakeGateway) send(node string, frame *roomv1.Frame) error {
	body, err := proto.Marshal(frame)
	require.NoError(g.t, err)
	return g.node.Send(node, actorkit.Frame{Body: body})
}

// start sends a request and returns where its answer will come.
func (g *fakeGateway) start(node, roomID string, frame *roomv1.Frame) <-chan *roomv1.Frame {
	g.t.Helper()
	ch, err := g.try(node, roomID, frame)
	require.NoError(g.t, err)
	return ch
}

func (g *fakeGateway) try(node, roomID string, frame *roomv1.Frame) (<-chan *roomv1.Frame, error) {
	return g.request(pending{node: node}, roomID, frame)
}

func (g *fakeGateway) request(p pending, roomID string, frame *roomv1.Frame) (<-chan *roomv1.Frame, error) {
	p.ch = make(chan *roomv1.Frame, 1)
	g.mu.Lock()
	g.next++
	frame.RoomId, frame.Request, frame.Connection = roomID, g.next, 1
	g.answers[g.next] = p
	g.mu.Unlock()
	return p.ch, g.send(p.node, frame)
}

func (g *fakeGateway) await(ch <-chan *roomv1.Frame) *roomv1.Frame {
	g.t.Helper()
	select {
	case frame := <-ch:
		return frame
	case <-time.After(patience):
		require.FailNow(g.t, "no answer")
		return nil
	}
}

// ask sends a request and waits for its answer.
func (g *fakeGateway) ask(node, roomID string, frame *roomv1.Frame) *roomv1.Frame {
	g.t.Helper()
	return g.await(g.start(node, roomID, frame))
}

func (g *fakeGateway) join(node, roomID, member string) *roomv1.Joined {
	g.t.Helper()
	answer := g.ask(node, roomID, joinFrame(member, "s-"+member, 1, nil))
	require.NotNil(g.t, answer.GetJoined(), "join answered by %v", answer)
	return answer.GetJoined()
}

func (g *fakeGateway) subscribe(node, roomID string) *roomv1.Subscribed {
	g.t.Helper()
	answer := g.ask(node, roomID, &roomv1.Frame{Kind: &roomv1.Frame_Subscribe{Subscribe: &roomv1.Subscribe{}}})
	require.NotNil(g.t, answer.GetSubscribed(), "subscribe answered by %v", answer)
	return answer.GetSubscribed()
}

// publish publishes messages and returns their outcomes.
func (g *fakeGateway) publish(node, roomID, member string, messageIDs ...string) []*roomv1.Outcome {
	g.t.Helper()
	answer := g.ask(node, roomID, publishFrame(member, messageIDs...))
	require.NotNil(g.t, answer.GetPublished(), "publish answered by %v", answer)
	return answer.GetPublished().Outcomes
}

// insist publishes as a gateway does: it follows Moved and sends the batch again after silence or a retryable refusal.
func (g *fakeGateway) insist(node, roomID, member string, messageIDs ...string) []*roomv1.Outcome {
	g.t.Helper()
	deadline := time.Now().Add(patience)
	first := node
	for time.Now().Before(deadline) {
		var answer *roomv1.Frame
		ch, err := g.try(node, roomID, publishFrame(member, messageIDs...))
		if err != nil {
			node = first
			<-time.After(5 * time.Millisecond)
			continue
		}
		select {
		case answer = <-ch:
		case <-time.After(2 * time.Second):
			node = first
			continue
		}
		switch k := answer.Kind.(type) {
		case *roomv1.Frame_Published:
			return k.Published.Outcomes
		case *roomv1.Frame_Moved:
			if k.Moved.Owner != "" {
				node = k.Moved.Owner
			}
		}
		<-time.After(20 * time.Millisecond)
	}
	require.FailNow(g.t, "publish was never stored")
	return nil
}

// insistJoin joins as a gateway does: it follows Moved.
func (g *fakeGateway) insistJoin(node, roomID, member string) {
	g.t.Helper()
	f := follower{g: g, room: roomID, node: node, nodes: bothNodes}
	answer, err := f.ask(func() *roomv1.Frame { return joinFrame(member, "s-"+member, 1, nil) })
	require.NoError(g.t, err)
	require.NotNil(g.t, answer.GetJoined(), "answered by %v", answer)
}

// wait waits until the frames that answer nothing satisfy cond.
func (g *fakeGateway) wait(what string, cond func([]received) bool) []received {
	g.t.Helper()
	timeout := time.After(patience)
	for {
		g.mu.Lock()
		frames, changed := g.frames, g.changed
		g.mu.Unlock()
		if cond(frames) {
			return frames
		}
		select {
		case <-changed:
		case <-timeout:
			require.FailNow(g.t, "no "+what, "have %v", frames)
		}
	}
}

// delivered waits for n delivered messages of a room and returns them.
func (g *fakeGateway) delivered(roomID string, n int) []*roomv1.Message {
	g.t.Helper()
	var messages []*roomv1.Message
	g.wait(fmt.Sprintf("%d deliveries in %s", n, roomID), func(frames []received) bool {
		messages = messagesOf(frames, roomID)
		return len(messages) >= n
	})
	return messages
}

func messagesOf(frames []received, roomID string) []*roomv1.Message {
	var messages []*roomv1.Message
	for _, r := range frames {
		if r.frame.RoomId == roomID {
			messages = append(messages, r.frame.GetDeliver().GetMessages()...)
		}
	}
	return messages
}

// closed waits for the n-th Closed of a room.
func (g *fakeGateway) closed(roomID string, n int) *roomv1.Closed {
	g.t.Helper()
	var found *roomv1.Closed
	g.wait("Closed of "+roomID, func(frames []received) bool {
		seen := 0
		for _, r := range frames {
			if c := r.frame.GetClosed(); c != nil && r.frame.RoomId == roomID {
				if seen++; seen == n {
					found = c
					return true
				}
			}
		}
		return false
	})
	return found
}

func joinFrame(member, session string, operation uint64, cursor *roomv1.Cursor) *roomv1.Frame {
	return &roomv1.Frame{Kind: &roomv1.Frame_Join{Join: &roomv1.Join{
		MemberId: member, SessionId: session, Operation: operation, Cursor: cursor,
	}}}
}

func leaveFrame(member, session string, operation uint64) *roomv1.Frame {
	return &roomv1.Frame{Kind: &roomv1.Frame_Leave{Leave: &roomv1.Leave{MemberId: member, SessionId: session, Operation: operation}}}
}

func publishFrame(member string, messageIDs ...string) *roomv1.Frame {
	drafts := make([]*roomv1.Draft, len(messageIDs))
	for i, id := range messageIDs {
		drafts[i] = &roomv1.Draft{MessageId: id, Content: "content of " + id}
	}
	return &roomv1.Frame{Kind: &roomv1.Frame_Publish{Publish: &roomv1.Publish{MemberId: member, Drafts: drafts}}}
}

func readFrame(read *roomv1.Read) *roomv1.Frame {
	return &roomv1.Frame{Kind: &roomv1.Frame_Read{Read: read}}
}

// contiguous checks the chain of messages after the one at last.
func contiguous(t testing.TB, last uint64, messages []*roomv1.Message) {
	t.Helper()
	for _, m := range messages {
		require.Equal(t, last, m.PrevSeq, "message %d does not follow", m.Seq)
		require.Greater(t, m.Seq, last)
		last = m.Seq
	}
}

func refusedWith(t testing.TB, answer *roomv1.Frame, code clientv1.ErrorCode) *roomv1.Refused {
	t.Helper()
	require.NotNil(t, answer.GetRefused(), "answered by %v", answer)
	require.Equal(t, code.String(), clientv1.ErrorCode(answer.GetRefused().Code).String())
	return answer.GetRefused()
}
