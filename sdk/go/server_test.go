package parley_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
	"github.com/parley-rt/parley/libs/protocol/codes"
	"github.com/parley-rt/parley/sdk/go"
)

// patience bounds every wait of a test for something that must happen.
const patience = 10 * time.Second

// server is a scripted Parley: each connection becomes a peer, and the test plays the server's part frame by frame.
type server struct {
	t     *testing.T
	http  *httptest.Server
	peers chan *peer

	mu     sync.Mutex
	refuse []http.HandlerFunc // answers instead of the next handshakes
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, peers: make(chan *peer, 16)}
	s.http = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.http.Close)
	return s
}

func (s *server) url() string { return "ws" + strings.TrimPrefix(s.http.URL, "http") }

// refuseNext answers the next handshake with plain HTTP.
func (s *server) refuseNext(h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = append(s.refuse, h)
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	var refuse http.HandlerFunc
	if len(s.refuse) > 0 {
		refuse, s.refuse = s.refuse[0], s.refuse[1:]
	}
	s.mu.Unlock()
	if refuse != nil {
		refuse(w, r)
		return
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{codec.SubprotocolJSON}})
	if err != nil {
		return
	}
	ws.SetReadLimit(64 << 10)
	p := &peer{t: s.t, ws: ws, path: r.URL.Path, query: r.URL.RawQuery, header: r.Header, frames: make(chan *clientv1.Envelope, 4096), at: time.Now()}
	s.peers <- p
	defer close(p.frames)
	for {
		_, data, err := ws.Read(context.Background())
		if err != nil {
			return
		}
		env, err := codec.DecodeJSON(data)
		if err != nil {
			s.t.Errorf("client sent %q: %v", data, err)
			return
		}
		p.frames <- env
	}
}

// accept waits for the next connection.
func (s *server) accept() *peer {
	s.t.Helper()
	select {
	case p := <-s.peers:
		return p
	case <-time.After(patience):
		s.t.Fatal("no connection came")
		return nil
	}
}

// peer is the server's end of one connection.
type peer struct {
	t       *testing.T
	ws      *websocket.Conn
	path    string
	query   string
	helloID uint32
	header  http.Header
	frames  chan *clientv1.Envelope
	at      time.Time
}

// next returns the client's next frame.
func (p *peer) next() *clientv1.Envelope {
	p.t.Helper()
	select {
	case env, ok := <-p.frames:
		require.True(p.t, ok, "the connection ended instead of a frame")
		return env
	case <-time.After(patience):
		p.t.Fatal("no frame came")
		return nil
	}
}

func (p *peer) silence(d time.Duration) {
	p.t.Helper()
	select {
	case env, ok := <-p.frames:
		if ok {
			p.t.Fatalf("unexpected frame %v", env)
		}
	case <-time.After(d):
	}
}

// ended waits for the client to end the connection.
func (p *peer) ended() {
	p.t.Helper()
	for {
		select {
		case _, ok := <-p.frames:
			if !ok {
				return
			}
		case <-time.After(patience):
			p.t.Fatal("the client did not end the connection")
		}
	}
}

func (p *peer) send(envs ...*clientv1.Envelope) {
	p.t.Helper()
	for _, env := range envs {
		frame, err := codec.AppendJSON(nil, env)
		require.NoError(p.t, err)
		p.raw(string(frame))
	}
}

func (p *peer) raw(frame string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(p.t, p.ws.Write(ctx, websocket.MessageText, []byte(frame)))
}

func (p *peer) cut() { _ = p.ws.CloseNow() }

func (p *peer) close(code clientv1.CloseCode) { p.closeWith(int(code), codes.CloseName(code)) }

func (p *peer) closeWith(code int, reason string) {
	_ = p.ws.Close(websocket.StatusCode(code), reason)
}

func (p *peer) hello() *clientv1.Hello {
	p.t.Helper()
	env := p.next()
	require.NotNil(p.t, env.GetHello(), "the first frame must be hello")
	p.helloID = env.GetId()
	return env.GetHello()
}

func (p *peer) session(token, member string, resumed bool) {
	p.t.Helper()
	p.send(&clientv1.Envelope{Id: p.helloID, Kind: &clientv1.Envelope_Session{Session: &clientv1.Session{
		Token: token, MemberId: member, Resumed: resumed, Node: "gateway-1", Dc: "dc-a",
	}}})
}

func (p *peer) message() (*clientv1.Message, uint32) {
	p.t.Helper()
	env := p.next()
	require.NotNil(p.t, env.GetMessage(), "expected a message, got %v", env)
	return env.GetMessage(), env.GetId()
}

func (p *peer) join() (*clientv1.JoinRoom, uint32) {
	p.t.Helper()
	env := p.next()
	require.NotNil(p.t, env.GetJoinRoom(), "expected a join, got %v", env)
	return env.GetJoinRoom(), env.GetId()
}

func roomJoined(id uint32, room string, seq, incarnation uint64, recovered bool) *clientv1.Envelope {
	return &clientv1.Envelope{Id: id, Kind: &clientv1.Envelope_RoomJoined{RoomJoined: &clientv1.RoomJoined{
		RoomId: room, Seq: seq, Incarnation: incarnation, Recovered: recovered,
	}}}
}

func ack(id uint32, m *clientv1.Message, seq uint64, duplicate bool) *clientv1.Envelope {
	return &clientv1.Envelope{Id: id, Kind: &clientv1.Envelope_Ack{Ack: &clientv1.Ack{
		Target: m.GetTarget(), MessageId: m.GetMessageId(), Seq: seq, Duplicate: duplicate,
	}}}
}

func refusal(id uint32, code parley.Code, room, messageID string, retryable bool, after time.Duration) *clientv1.Envelope {
	return &clientv1.Envelope{Id: id, Kind: &clientv1.Envelope_Error{Error: &clientv1.Error{
		Code: string(code), Message: "no", Retryable: retryable, RetryAfterMs: uint32(after.Milliseconds()),
		RoomId: room, MessageId: messageID,
	}}}
}

func reset(room string, seq uint64, reason parley.ResetReason) *clientv1.Envelope {
	return &clientv1.Envelope{Kind: &clientv1.Envelope_Reset_{Reset_: &clientv1.Reset{
		RoomId: room, Seq: seq, Reason: string(reason),
	}}}
}

func delivery(room string, seq, prev uint64) *clientv1.Envelope {
	return &clientv1.Envelope{Kind: &clientv1.Envelope_Message{Message: &clientv1.Message{
		Target: room, Seq: seq, PrevSeq: prev, Sender: "somebody", Content: fmt.Sprint("message ", seq),
		MessageId: fmt.Sprint("id-", seq),
	}}}
}

// fast is a configuration for tests: quick to come back, slow to lose patience.
func fast() parley.Config {
	return parley.Config{BackoffMin: time.Millisecond, BackoffMax: 5 * time.Millisecond}
}

// dial connects a client whose session is "token-1" of member "me".
func dial(t *testing.T, s *server, cfg parley.Config) (*parley.Client, *peer) {
	t.Helper()
	ready := make(chan *peer, 1)
	go func() {
		p := s.accept()
		p.hello()
		p.session("token-1", "me", false)
		ready <- p
	}()
	client, err := parley.Dial(context.Background(), s.url(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, client.Close(ctx))
	})
	return client, <-ready
}

// enter joins "room" at head 10, incarnation 1.
func enter(t *testing.T, client *parley.Client, p *peer, opts parley.JoinOptions) *parley.Room {
	t.Helper()
	entered := make(chan *parley.Room, 1)
	go func() {
		r, err := client.Join(context.Background(), "room", opts)
		if err != nil {
			t.Error(err)
		}
		entered <- r
	}()
	j, id := p.join()
	require.Equal(t, "room", j.GetRoomId())
	p.send(roomJoined(id, "room", 10, 1, j.AfterSeq != nil))
	return <-entered
}

// resume plays the server's part of a reconnect of a client that is in "room".
func resume(t *testing.T, s *server, token string) (*peer, *clientv1.Hello) {
	t.Helper()
	p := s.accept()
	hello := p.hello()
	p.session(token, "me", true)
	for _, r := range hello.GetRooms() {
		p.send(roomJoined(0, r.GetRoomId(), 10, 1, r.AfterSeq != nil))
	}
	return p, hello
}

// outcome is what Publish returned.
type outcome struct {
	ack parley.Ack
	err error
}

func publish(ctx context.Context, r *parley.Room, content, id string) <-chan outcome {
	out := make(chan outcome, 1)
	go func() {
		a, err := r.Publish(ctx, content, parley.PublishOptions{MessageID: id})
		out <- outcome{a, err}
	}()
	return out
}

func await[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// collected is one thing that Messages yielded.
type collected struct {
	msg parley.Message
	err error
}

// consume passes on what Messages yields until the iteration ends.
func consume(t *testing.T, r *parley.Room) <-chan collected {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out := make(chan collected, 4096)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for m, err := range r.Messages(ctx) {
			out <- collected{m, err}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return out
}
