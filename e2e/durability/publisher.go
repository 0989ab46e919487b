package durability

import (
	"context"
	"fmt"
	"time"

	"github.com/coder/websocket"
)

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
	if !ok {
		return
	}
	took := time.Since(asked)
	p.h.answered(took)
	if took > answerWithin {
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
