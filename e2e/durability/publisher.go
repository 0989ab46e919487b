package durability

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/coder/websocket"

	"github.com/parley-rt/parley/e2e/history"
)

// publisher keeps a window of publishes outstanding on one connection. After a reconnect it sends what is unanswered
// again, in order, with the same ids.
type publisher struct {
	session
	record  *history.Producer
	name    string
	window  int
	pending []int // message numbers
	sent    int
	quit    chan struct{}
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
		p.record.Connected(p.url)
		p.record.Sender(p.member)
		done := p.converse(ctx, socket)
		p.record.Disconnected()
		_ = socket.CloseNow()
		if done {
			return nil
		}
	}
}

// converse works one connection: true once quit is closed and nothing is outstanding.
func (p *publisher) converse(ctx context.Context, socket *websocket.Conn) bool {
	joined := false
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
			for _, n := range p.pending {
				if !p.publish(ctx, socket, n) {
					return false
				}
			}
		case f.Ack != nil:
			n, _ := p.record.Answer(f.Ack.MessageID, history.Stored, f.Ack.Seq, "")
			p.settle(n)
		case f.Error != nil:
			if f.Error.MessageID == "" {
				continue
			}
			if !f.Error.Retryable {
				p.h.Note("protocol", "publisher %s was refused for good: %s %s", p.name, f.Error.Code, f.Error.Message)
				n, _ := p.record.Answer(f.Error.MessageID, history.RefusedForGood, 0, f.Error.Code)
				p.settle(n)
				continue
			}
			n, _ := p.record.Answer(f.Error.MessageID, history.Refused, 0, f.Error.Code)
			if !p.publish(ctx, socket, n) {
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
		p.pending = append(p.pending, p.sent)
		if !p.publish(ctx, socket, p.sent) {
			return false
		}
	}
	return true
}

func (p *publisher) publish(ctx context.Context, socket *websocket.Conn, n int) bool {
	p.record.Ask(n)
	id, content := p.record.Message(n)
	text := fmt.Sprintf(`{"message":{"target":%q,"message_id":%q,"content":%q}}`, p.h.Room(), id, content)
	return socket.Write(ctx, websocket.MessageText, []byte(text)) == nil
}

func (p *publisher) settle(n int) {
	if i := slices.Index(p.pending, n); i >= 0 {
		p.pending = slices.Delete(p.pending, i, i+1)
	}
}
