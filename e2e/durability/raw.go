package durability

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// frame is what these clients read of a server frame.
type frame struct {
	Session *struct {
		Token    string `json:"token"`
		MemberID string `json:"member_id"`
		Resumed  bool   `json:"resumed"`
	} `json:"session"`
	RoomJoined *struct {
		Seq         uint64 `json:"seq,string"`
		Incarnation string `json:"incarnation"`
		Recovered   bool   `json:"recovered"`
	} `json:"room_joined"`
	Message     *message     `json:"message"`
	HistoryPage *historyPage `json:"history_page"`
	Ack         *struct {
		MessageID string `json:"message_id"`
		Seq       uint64 `json:"seq,string"`
	} `json:"ack"`
	Reset *struct {
		Reason string `json:"reason"`
	} `json:"reset"`
	Error *struct {
		Code      string `json:"code"`
		Message   string `json:"message"`
		Retryable bool   `json:"retryable"`
		MessageID string `json:"message_id"`
	} `json:"error"`
}

type message struct {
	Content   string `json:"content"`
	MessageID string `json:"message_id"`
	Sender    string `json:"sender"`
	Seq       uint64 `json:"seq,string"`
	PrevSeq   uint64 `json:"prev_seq,string"`
}

func (m message) entry() entry {
	return entry{seq: m.Seq, prevSeq: m.PrevSeq, id: m.MessageID, sender: m.Sender, content: m.Content}
}

type historyPage struct {
	Messages []message `json:"messages"`
	More     bool      `json:"more"`
}

// session is the part of a raw client that survives its connections.
type session struct {
	url, token, member string
	h                  *history
}

// open connects until ctx ends, presents the session's token with the cursor, and returns the socket. A session once
// given must be resumed: a new member's resend would be a second message.
func (s *session) open(ctx context.Context, cursor string) (*websocket.Conn, error) {
	for {
		socket, err := s.tryOpen(ctx, cursor)
		if err == nil {
			return socket, nil
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *session) tryOpen(ctx context.Context, cursor string) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	socket, response, err := websocket.Dial(ctx, s.url, nil)
	if response != nil && response.Body != nil {
		_ = response.Body.Close()
	}
	if err != nil {
		return nil, err
	}
	socket.SetReadLimit(4 << 20)
	hello := fmt.Sprintf(`{"hello":{"session_token":%q,"rooms":[{"room_id":%q%s}]}}`, s.token, s.h.room, cursor)
	if err := socket.Write(ctx, websocket.MessageText, []byte(hello)); err != nil {
		_ = socket.CloseNow()
		return nil, err
	}
	first, err := readFrame(ctx, socket)
	if err == nil && first.Session == nil {
		err = errors.New("first frame is not session")
		s.h.note("protocol: first frame is not session")
	}
	if err != nil {
		_ = socket.CloseNow()
		return nil, err
	}
	if s.token != "" && (!first.Session.Resumed || first.Session.MemberID != s.member) {
		s.h.note("session of %s was not resumed: it is %s now", s.member, first.Session.MemberID)
	}
	s.token, s.member = first.Session.Token, first.Session.MemberID
	return socket, nil
}

func readFrame(ctx context.Context, socket *websocket.Conn) (frame, error) {
	_, text, err := socket.Read(ctx)
	if err != nil {
		return frame{}, err
	}
	var f frame
	if err := json.Unmarshal(text, &f); err != nil {
		return frame{}, fmt.Errorf("frame %.200q: %w", text, err)
	}
	return f, nil
}

// reader follows a room over reconnects by after_seq alone. It has no rule of its own against gaps and repeats: what the
// server sends is what it records.
type reader struct {
	session
	mu     sync.Mutex
	stream []entry
	grown  chan struct{}
}

func newReader(url string, h *history) *reader {
	return &reader{session: session{url: url, h: h}, grown: make(chan struct{})}
}

// run follows until ctx ends.
func (r *reader) run(ctx context.Context) {
	for ctx.Err() == nil {
		socket, err := r.open(ctx, r.cursor())
		if err != nil {
			return
		}
		for {
			f, err := readFrame(ctx, socket)
			if err != nil {
				break
			}
			r.take(f)
		}
		_ = socket.CloseNow()
	}
}

func (r *reader) cursor() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.stream) == 0 {
		return `,"after_seq":"0"`
	}
	last := r.stream[len(r.stream)-1]
	return fmt.Sprintf(`,"after_seq":"%d","after_message_id":%q`, last.seq, last.id)
}

func (r *reader) take(f frame) {
	if f.Reset != nil {
		r.h.note("S5: reader of %s was reset: %s", r.h.room, f.Reset.Reason)
	}
	if f.Error != nil {
		r.h.note("reader of %s got an error: %s %s", r.h.room, f.Error.Code, f.Error.Message)
	}
	if f.Message == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stream = append(r.stream, f.Message.entry())
	close(r.grown)
	r.grown = make(chan struct{})
}

// await waits until the reader received seq and returns what it received.
func (r *reader) await(ctx context.Context, seq uint64) ([]entry, error) {
	for {
		r.mu.Lock()
		stream, grown := r.stream, r.grown
		r.mu.Unlock()
		if n := len(stream); n > 0 && stream[n-1].seq >= seq {
			return stream, nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return stream, fmt.Errorf("reader of %s is at message %d of %d: %w", r.h.room, len(stream), seq, ctx.Err())
		}
	}
}

// publisher keeps a window of publishes outstanding on one connection. After a reconnect it sends what is unanswered
// again, in order, with the same ids.
type publisher struct {
	session
	name    string
	window  int
	pending []string
	// asked is when each pending id was sent on the connection that lives now.
	asked map[string]time.Time
	sent  int
	quit  chan struct{}
}

// answerWithin is how soon a living server answers a publish (L1), and a second for this process to notice.
const answerWithin = 6 * time.Second

// run publishes until quit is closed and everything sent was answered, or ctx ends.
func (p *publisher) run(ctx context.Context) error {
	for {
		socket, err := p.open(ctx, "")
		if err != nil {
			return fmt.Errorf("publisher %s: %d unanswered: %w", p.name, len(p.pending), err)
		}
		done := p.converse(ctx, socket)
		_ = socket.CloseNow()
		if done {
			return nil
		}
	}
}

// converse works one connection: true once quit is closed and nothing is outstanding.
func (p *publisher) converse(ctx context.Context, socket *websocket.Conn) bool {
	joined := false
	p.asked = map[string]time.Time{}
	for {
		if joined && !p.fill(ctx, socket) {
			return false
		}
		if joined && len(p.pending) == 0 {
			return true
		}
		f, err := readFrame(ctx, socket)
		if err != nil {
			return false
		}
		switch {
		case f.RoomJoined != nil && !joined:
			joined = true
			for _, id := range p.pending {
				if !p.publish(ctx, socket, id) {
					return false
				}
			}
		case f.Ack != nil:
			p.answered(f.Ack.MessageID)
			p.h.ack(f.Ack.MessageID, f.Ack.Seq)
			p.settle(f.Ack.MessageID)
		case f.Error != nil:
			p.answered(f.Error.MessageID)
			if !f.Error.Retryable {
				p.h.note("publisher %s was refused for good: %s %s", p.name, f.Error.Code, f.Error.Message)
				p.settle(f.Error.MessageID)
				continue
			}
			p.h.refuse(f.Error.MessageID)
			if f.Error.MessageID != "" && !p.publish(ctx, socket, f.Error.MessageID) {
				return false
			}
		}
	}
}

// fill sends new publishes up to the window, unless quit is closed.
func (p *publisher) fill(ctx context.Context, socket *websocket.Conn) bool {
	for len(p.pending) < p.window {
		select {
		case <-p.quit:
			return true
		default:
		}
		p.sent++
		id := fmt.Sprintf("%s %d", p.name, p.sent)
		p.pending = append(p.pending, id)
		if !p.publish(ctx, socket, id) {
			return false
		}
	}
	return true
}

// answered checks that the server took its five seconds at most (L1).
func (p *publisher) answered(id string) {
	asked, ok := p.asked[id]
	if took := time.Since(asked); ok && took > answerWithin {
		p.h.note("L1: %s was answered after %s", id, took.Round(time.Millisecond))
	}
}

func (p *publisher) publish(ctx context.Context, socket *websocket.Conn, id string) bool {
	p.asked[id] = time.Now()
	text := fmt.Sprintf(`{"message":{"target":%q,"message_id":%q,"content":"payload of %s"}}`, p.h.room, id, id)
	return socket.Write(ctx, websocket.MessageText, []byte(text)) == nil
}

func (p *publisher) settle(id string) {
	for i, pending := range p.pending {
		if pending == id {
			p.pending = append(p.pending[:i], p.pending[i+1:]...)
			return
		}
	}
}
