package parley

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/ids"
)

// JoinOptions says where to start and what to hear. The zero value starts with the next message.
type JoinOptions struct {
	// AfterSeq starts the stream with the first message after this seq; 0 starts with the oldest that is kept.
	AfterSeq *uint64
	// Cursor starts the stream where an earlier Room stopped; it is AfterSeq with a proof. At most one of both.
	Cursor *Cursor
	// Buffer is how many messages wait for Messages. Default 512. What happens when it is full is told at Room.Messages.
	Buffer int
	// OnSignal is called for every signal of another member.
	OnSignal func(Signal)
	// OnMember is called when a member comes or goes, in rooms that tell.
	OnMember func(MemberEvent)
}

// Room is a joined room. It stays joined, across reconnects, until Leave or the end of its Client.
type Room struct {
	id     string
	client *Client
	opts   JoinOptions

	items chan item
	// slots holds one element for every publication that counts against Config.MaxPending.
	slots chan struct{}
	ended chan struct{} // closed at the end; err is then final
	// lagging: messages are dropped here until the consumer has caught up with the buffer.
	lagging atomic.Bool

	consumedMu sync.Mutex
	consumed   Cursor

	// The rest is guarded by client.mu.
	phase  phase
	stream stream
	outbox outbox
	calls  []*call
	head   uint64
	err    error

	// confirmed: the room is joined on this connection.
	confirmed bool
	// wantJoin: a join is to be sent, not before joinAt. askedAt is when one was sent that is unanswered, else zero.
	wantJoin     bool
	joinAt       time.Time
	askedAt      time.Time
	joinAttempts int
	// leaveAt is when the next leave is to be sent.
	leaveAt time.Time
	// entered is closed at the first confirmation.
	entered chan struct{}
}

type phase int

const (
	joining phase = iota
	joined
	leaving
	over
)

// item is what Messages yields: a message or a reset.
type item struct {
	msg         *clientv1.Message
	incarnation uint64
	reset       *ResetError
}

const defaultBuffer = 512

func newRoom(c *Client, id string, opts JoinOptions) (*Room, error) {
	if err := ids.CheckRoom(id); err != nil {
		return nil, &Error{Code: CodeInvalidRoom, Message: err.Error()}
	}
	if opts.AfterSeq != nil && opts.Cursor != nil {
		return nil, &Error{Code: CodeInvalidArgument, Message: "both AfterSeq and Cursor are given", RoomID: id}
	}
	if opts.Buffer == 0 {
		opts.Buffer = defaultBuffer
	}
	if opts.Buffer < 0 {
		return nil, &Error{Code: CodeInvalidArgument, Message: "Buffer is negative", RoomID: id}
	}
	if opts.Cursor != nil && opts.Cursor.MessageID != "" && ids.CheckMessageID(opts.Cursor.MessageID) != nil {
		return nil, &Error{Code: CodeInvalidArgument, Message: "Cursor has an invalid message id", RoomID: id}
	}
	r := &Room{
		id: id, client: c, opts: opts,
		items:   make(chan item, opts.Buffer),
		slots:   make(chan struct{}, c.cfg.MaxPending),
		ended:   make(chan struct{}),
		entered: make(chan struct{}),
		outbox:  newOutbox(),
	}
	switch {
	case opts.Cursor != nil:
		r.stream.cursor, r.stream.placed = *opts.Cursor, true
	case opts.AfterSeq != nil:
		r.stream.cursor, r.stream.placed = Cursor{Seq: *opts.AfterSeq}, true
	}
	r.consumed = r.stream.cursor
	return r, nil
}

// ID returns the room's id.
func (r *Room) ID() string { return r.id }

// Head returns the newest seq known of the room, of events that are not messages too.
func (r *Room) Head() uint64 {
	r.client.mu.Lock()
	defer r.client.mu.Unlock()
	return r.head
}

// Cursor returns the position after what Messages yielded last, or where the stream started when it yielded nothing yet.
// Stored when a message is dealt with, it lets Join in another process go on without missing or repeating one.
func (r *Room) Cursor() Cursor {
	r.consumedMu.Lock()
	defer r.consumedMu.Unlock()
	return r.consumed
}

func (r *Room) consume(c Cursor) {
	r.consumedMu.Lock()
	defer r.consumedMu.Unlock()
	r.consumed = c
}

// Signal sends an ephemeral event to the others in the room. It does not wait for the server: nil means that the signal
// is on its way over the current connection; without one it returns ErrNotConnected at once.
func (r *Room) Signal(ctx context.Context, typ, content string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("signal in %s: %w", r.id, err)
	}
	if !utf8.ValidString(typ) || !utf8.ValidString(content) {
		return fmt.Errorf("signal in %s: %w", r.id, &Error{Code: CodeInvalidArgument, Message: "text is not UTF-8"})
	}
	c := r.client
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case r.phase == over:
		return fmt.Errorf("signal in %s: %w", r.id, r.err)
	case r.phase != joined || !r.confirmed:
		return fmt.Errorf("signal in %s: %w", r.id, ErrNotConnected)
	case len(c.signals) >= maxSignals:
		return fmt.Errorf("signal in %s: %w", r.id, &Error{Code: CodeBusy, Message: "too many signals are waiting to be sent"})
	}
	c.signals = append(c.signals, &clientv1.Signal{Target: r.id, Type: typ, Content: content})
	c.wakeWriter()
	return nil
}

// Leave leaves the room. Unanswered publishes fail with ErrLeft, and Messages ends with it after what is buffered. When ctx
// ends first Leave returns its error, and the Client goes on leaving.
func (r *Room) Leave(ctx context.Context) error {
	c := r.client
	c.mu.Lock()
	if r.phase == joining || r.phase == joined {
		r.startLeaving(ErrLeft)
		c.wakeWriter()
	}
	c.mu.Unlock()
	select {
	case <-r.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("leave %s: %w", r.id, ctx.Err())
	}
}

// startLeaving: the server is told as soon as there is a connection.
func (r *Room) startLeaving(err error) {
	r.phase, r.err = leaving, err
	r.leaveAt = time.Time{}
	r.fail(err)
}

// end takes the room out of the Client.
func (r *Room) end(err error) {
	if r.phase == over {
		return
	}
	if r.phase != leaving {
		r.err = err
	}
	r.phase = over
	r.fail(r.err)
	r.client.forget(r)
	close(r.ended)
}

// fail ends everything that waits for the server in this room.
func (r *Room) fail(err error) {
	r.outbox.failAll(err)
	for _, call := range r.calls {
		call.finish(nil, err)
	}
	r.calls = nil
}
