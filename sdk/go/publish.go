package parley

import (
	"context"
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
	"github.com/parley-rt/parley/libs/protocol/ids"
)

// PublishOptions are what a message may carry besides its content. All are optional.
type PublishOptions struct {
	// MessageID makes the publish idempotent across processes: within two minutes the same member's same id is stored once.
	// At most 128 bytes of UTF-8. Default: a new UUIDv7.
	MessageID string
	// SentAt is the publisher's clock. Default: now.
	SentAt time.Time
	// Traceparent and Tracestate are a W3C trace context.
	Traceparent, Tracestate string
}

// Publish stores a message in the room and returns when it is durable.
//
// It survives reconnects and retries what may be retried, always with the same message id, until ctx ends or, with
// ErrOutcomeUnknown, until another attempt could store the message twice. Every error is a *PublishError.
//
// Publishes that one goroutine starts one after the other (see PublishAsync) are stored in that order. When the server
// refuses one for the moment, later ones that were not sent yet wait for it.
func (r *Room) Publish(ctx context.Context, content string, opts PublishOptions) (Ack, error) {
	p, err := r.enqueue(ctx, content, opts)
	if err != nil {
		return Ack{}, err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		r.abandon(p, ctx.Err())
	}
	return p.ack, p.err
}

// Pending is a publish that was started.
type Pending struct {
	p    *publication
	stop func() bool
}

// PublishAsync is Publish without the wait for the answer; it waits only while Config.MaxPending publishes are unanswered.
// The end of ctx ends the publish as it does in Publish.
func (r *Room) PublishAsync(ctx context.Context, content string, opts PublishOptions) (*Pending, error) {
	p, err := r.enqueue(ctx, content, opts)
	if err != nil {
		return nil, err
	}
	pending := &Pending{p: p}
	if ctx.Done() != nil {
		pending.stop = context.AfterFunc(ctx, func() { r.abandon(p, ctx.Err()) })
	}
	return pending, nil
}

// MessageID returns the message's id.
func (p *Pending) MessageID() string { return p.p.msg.GetMessageId() }

// Done is closed when the publish is settled; Wait then returns at once.
func (p *Pending) Done() <-chan struct{} { return p.p.done }

// Wait returns the outcome. It has no context: the publish has one, which ends the wait too.
func (p *Pending) Wait() (Ack, error) {
	<-p.p.done
	if p.stop != nil {
		p.stop()
	}
	return p.p.ack, p.p.err
}

// enqueue checks and queues a message.
func (r *Room) enqueue(ctx context.Context, content string, opts PublishOptions) (*publication, error) {
	if opts.MessageID == "" {
		opts.MessageID = ids.NewMessageID()
	}
	if opts.SentAt.IsZero() {
		opts.SentAt = time.Now()
	}
	failed := func(err error) error {
		return &PublishError{RoomID: r.id, MessageID: opts.MessageID, Err: err}
	}
	msg := &clientv1.Message{
		Target:      r.id,
		Content:     content,
		MessageId:   opts.MessageID,
		SentAt:      timestamppb.New(opts.SentAt),
		Traceparent: opts.Traceparent,
		Tracestate:  opts.Tracestate,
	}
	size, err := r.check(msg)
	if err != nil {
		return nil, failed(err)
	}
	select {
	case r.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, failed(ctx.Err())
	case <-r.ended:
		return nil, failed(r.err)
	}
	c := r.client
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.phase == leaving || r.phase == over {
		err = r.err
	} else {
		p := &publication{msg: msg, bytes: size, slots: r.slots, done: make(chan struct{})}
		if err = r.outbox.add(p); err == nil {
			c.wakeWriter()
			return p, nil
		}
	}
	<-r.slots
	return nil, failed(err)
}

// check finds what the server would refuse, or worse, close the connection over. It returns the message's weight in memory.
func (r *Room) check(msg *clientv1.Message) (int, error) {
	if err := ids.CheckMessageID(msg.GetMessageId()); err != nil {
		return 0, &Error{Code: CodeInvalidArgument, Message: err.Error()}
	}
	text := len(msg.GetContent()) + len(msg.GetTraceparent()) + len(msg.GetTracestate())
	for _, s := range []string{msg.GetContent(), msg.GetTraceparent(), msg.GetTracestate()} {
		if !utf8.ValidString(s) {
			return 0, &Error{Code: CodeInvalidArgument, Message: "text is not UTF-8"}
		}
	}
	if err := msg.GetSentAt().CheckValid(); err != nil {
		return 0, &Error{Code: CodeInvalidArgument, Message: err.Error()}
	}
	// Room id, message id, time and the frame's own text fit into 2 KiB, and JSON makes at most six bytes of one.
	const overhead, growth = 2 << 10, 6
	if limit := r.client.cfg.MaxMessageBytes; overhead+growth*text > limit {
		frame, err := codec.AppendJSON(nil, publishFrame(math.MaxUint32, msg))
		if err != nil {
			return 0, &Error{Code: CodeInvalidArgument, Message: err.Error()}
		}
		if len(frame) > limit {
			return 0, &Error{
				Code:    CodeTooLarge,
				Message: fmt.Sprintf("the frame has %d bytes, the server takes %d", len(frame), limit),
			}
		}
	}
	const structs = 256
	return text + structs, nil
}

func publishFrame(id uint32, msg *clientv1.Message) *clientv1.Envelope {
	return &clientv1.Envelope{Id: id, Kind: &clientv1.Envelope_Message{Message: msg}}
}

// abandon ends p, unless it is settled already.
func (r *Room) abandon(p *publication, err error) {
	r.client.mu.Lock()
	defer r.client.mu.Unlock()
	if p.state != finished {
		r.outbox.fail(p, err)
		r.client.wakeWriter()
	}
}
