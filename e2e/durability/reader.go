package durability

import (
	"context"
	"fmt"
	"sync"

	"github.com/coder/websocket"
)

// reader follows a room over reconnects by after_seq alone. It has no rule of its own against gaps and repeats: what the
// server sends is what it records.
type reader struct {
	session
	// patient readers connect again after an error that may be retried; to others any error is a violation.
	patient bool

	mu     sync.Mutex
	stream []entry
	grown  chan struct{}
	leave  context.CancelFunc // ends the connection that lives now
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
		r.follow(ctx, socket)
		_ = socket.CloseNow()
	}
}

// follow takes what one connection brings, until it ends.
func (r *reader) follow(ctx context.Context, socket *websocket.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r.mu.Lock()
	r.leave = cancel
	r.mu.Unlock()
	for {
		f, err := readFrame(ctx, socket)
		if err != nil {
			return
		}
		if r.patient && f.Error != nil && f.Error.Retryable {
			return
		}
		r.take(f)
	}
}

// reconnect ends the connection, if there is one: run opens the next.
func (r *reader) reconnect() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leave != nil {
		r.leave()
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
