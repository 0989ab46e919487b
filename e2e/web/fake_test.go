package web

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
)

// fake is a gateway whose misfortunes are scripted: what a real one does once a year, the page must survive each time.
// It keeps rooms in memory and follows the protocol wherever it is not told otherwise.
type fake struct {
	mu       sync.Mutex
	rooms    map[string]*fakeRoom
	sessions map[string]*fakeSession // by token
	conns    map[*fakeConn]bool
	numbers  int
	opened   int                 // sessions opened or resumed
	got      []*clientv1.Message // every publish that arrived, in order
	arrived  *sync.Cond

	// Faults; guarded by mu. The publishing hook runs before the publish is handled and says what to do with it.
	publishing func(*clientv1.Message) verdict
	skip       int                  // so many deliveries are not sent
	down       bool                 // refuses connections
	helloCode  websocket.StatusCode // closes every connection that offers a session
}

type verdict struct {
	refuse *clientv1.Error
	lose   bool // stored, then the connection is cut before anybody hears of it
	drop   bool // not stored, and the connection is cut
	mute   bool // nothing happens at all
}

type fakeRoom struct {
	messages    []*clientv1.Message
	head        uint64
	trimmed     uint64
	incarnation uint64
}

type fakeSession struct {
	member string
	rooms  []string
}

type fakeConn struct {
	out     chan []byte
	close   chan websocket.StatusCode
	session *fakeSession
	rooms   map[string]bool
}

func newFake() *fake {
	f := &fake{rooms: map[string]*fakeRoom{}, sessions: map[string]*fakeSession{}, conns: map[*fakeConn]bool{}}
	f.arrived = sync.NewCond(&f.mu)
	return f
}

// do changes the fake between frames.
func (f *fake) do(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	f.arrived.Broadcast()
}

// cut closes every connection; closeWithoutFrame cuts without a close frame.
func (f *fake) cut(code websocket.StatusCode) {
	for c := range f.conns {
		select {
		case c.close <- code:
		default: // already being closed
		}
	}
}

func (f *fake) room(id string) *fakeRoom {
	r := f.rooms[id]
	if r == nil {
		r = &fakeRoom{incarnation: 1}
		f.rooms[id] = r
	}
	return r
}

// say stores a message of somebody who is not connected and delivers it.
func (f *fake) say(room, sender, content string) {
	f.store(room, &clientv1.Message{Target: room, Content: content, Sender: sender, SentAt: timestamppb.Now()})
}

func (f *fake) store(room string, m *clientv1.Message) *clientv1.Message {
	r := f.room(room)
	if n := len(r.messages); n > 0 {
		m.PrevSeq = r.messages[n-1].GetSeq()
	}
	r.head++
	m.Seq = r.head
	if m.GetMessageId() == "" {
		f.numbers++
		m.MessageId = fmt.Sprintf("fake-%d", f.numbers)
	}
	r.messages = append(r.messages, m)
	if f.skip > 0 {
		f.skip--
		return m
	}
	for c := range f.conns {
		if c.rooms[room] {
			c.send(&clientv1.Envelope{Kind: &clientv1.Envelope_Message{Message: m}})
		}
	}
	return m
}

// rewind loses the room's messages after seq, as a restored backup does.
func (f *fake) rewind(room string, seq uint64) {
	r := f.room(room)
	r.messages = slices.DeleteFunc(r.messages, func(m *clientv1.Message) bool { return m.GetSeq() > seq })
	r.head = seq
	r.incarnation++
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	down := f.down
	f.mu.Unlock()
	if down {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"parley.v1.json"}})
	if err != nil {
		return // answered
	}
	ws.SetReadLimit(64 << 10)
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	c := &fakeConn{out: make(chan []byte, 1<<14), close: make(chan websocket.StatusCode, 1), rooms: map[string]bool{}}
	var writer sync.WaitGroup
	writer.Go(func() {
		defer cancel()
		for {
			select {
			case frame := <-c.out:
				if ws.Write(ctx, websocket.MessageText, frame) != nil {
					return
				}
			case code := <-c.close:
				if code == closeWithoutFrame {
					_ = ws.CloseNow()
				} else {
					_ = ws.Close(code, "scripted")
				}
				return
			case <-ctx.Done():
				return
			}
		}
	})
	for {
		_, text, err := ws.Read(ctx)
		if err != nil {
			break
		}
		e := &clientv1.Envelope{}
		if err := protojson.Unmarshal(text, e); err != nil {
			c.refuse(0, &clientv1.Error{Code: "BAD_FRAME", Message: err.Error()})
			continue
		}
		f.do(func() { f.handle(c, e) })
	}
	cancel()
	writer.Wait()
	_ = ws.CloseNow()
	f.do(func() { delete(f.conns, c) })
}

// closeWithoutFrame is what a client sees of a connection that just ends.
const closeWithoutFrame = websocket.StatusAbnormalClosure
