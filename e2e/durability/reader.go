package durability

import (
	"context"
	"fmt"
	"sync"

	"github.com/coder/websocket"

	"github.com/parley-rt/parley/e2e/history"
)

// reader follows a room over reconnects by after_seq alone. It has no rule of its own against gaps and repeats: what the
// server sends is what it records.
type reader struct {
	session
	record *history.Follower
	// patient readers connect again after an error that may be retried; to others any error is a violation.
	patient bool

	mu    sync.Mutex
	leave context.CancelFunc // ends the connection that lives now
}

func newReader(name, url string, h *history.Recorder) *reader {
	return &reader{session: session{url: url, h: h}, record: h.Follower(name, false)}
}

// run follows until ctx ends.
func (r *reader) run(ctx context.Context) {
	for ctx.Err() == nil {
		after, cursor := r.cursor()
		socket, err := r.open(ctx, cursor)
		if err != nil {
			return
		}
		r.follow(ctx, socket, after)
		_ = socket.CloseNow()
		r.record.Away()
	}
}

// follow takes what one connection brings, until it ends.
func (r *reader) follow(ctx context.Context, socket *websocket.Conn, after uint64) {
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
		r.take(f, after)
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

func (r *reader) cursor() (after uint64, text string) {
	after, id := r.record.Cursor()
	if id == "" {
		return after, fmt.Sprintf(`,"after_seq":"%d"`, after)
	}
	return after, fmt.Sprintf(`,"after_seq":"%d","after_message_id":%q`, after, id)
}

func (r *reader) take(f frame, after uint64) {
	switch {
	case f.RoomJoined != nil:
		r.record.Joined(&after, f.RoomJoined.Seq, f.RoomJoined.Recovered, f.RoomJoined.Incarnation)
	case f.Reset != nil:
		r.record.Reset(f.Reset.Seq, f.Reset.Reason)
	case f.Error != nil:
		r.h.Note("protocol", "reader %s got an error: %s %s", r.member, f.Error.Code, f.Error.Message)
	case f.Message != nil:
		r.record.Received(f.Message.entry())
	}
}

// await waits until the reader has received seq.
func (r *reader) await(ctx context.Context, seq uint64) error {
	for {
		at, grown := r.record.Grown()
		if at >= seq {
			return nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return fmt.Errorf("reader of %s is at %d of %d: %w", r.h.Room(), at, seq, ctx.Err())
		}
	}
}
