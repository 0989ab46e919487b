package parley

import (
	"context"
	"fmt"
	"time"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
)

// HistoryOptions choose a page: at most one of the bounds, both exclusive; none is the newest page.
type HistoryOptions struct {
	// AfterSeq asks for the messages after it; 0 starts with the oldest that is kept.
	AfterSeq *uint64
	// BeforeSeq asks for the newest messages before it; 0: no bound.
	BeforeSeq uint64
	// Limit is the number of messages at most: 0 means 50, the server gives no more than 500. A page holds at most 1 MiB.
	Limit int
}

// History returns a page of the room's stored messages. It waits for a connection and retries what may be retried until ctx
// ends.
func (r *Room) History(ctx context.Context, opts HistoryOptions) (Page, error) {
	if opts.Limit < 0 {
		return Page{}, fmt.Errorf("history of %s: %w", r.id,
			&Error{Code: CodeInvalidArgument, Message: "limit is negative", RoomID: r.id})
	}
	h := &clientv1.History{RoomId: r.id, AfterSeq: opts.AfterSeq, Limit: uint32(min(opts.Limit, 500))}
	if opts.BeforeSeq != 0 {
		h.BeforeSeq = &opts.BeforeSeq
	}
	env, incarnation, err := r.call(ctx, &clientv1.Envelope{Kind: &clientv1.Envelope_History{History: h}})
	if err != nil {
		return Page{}, fmt.Errorf("history of %s: %w", r.id, err)
	}
	page := env.GetHistoryPage()
	out := Page{More: page.GetMore(), Messages: make([]Message, 0, len(page.GetMessages()))}
	for _, m := range page.GetMessages() {
		out.Messages = append(out.Messages, messageOf(m, r.id, incarnation))
	}
	return out, nil
}

// Presence returns who is online in the room. It waits for a connection and retries what may be retried until ctx ends.
func (r *Room) Presence(ctx context.Context) (Presence, error) {
	frame := &clientv1.Envelope{Kind: &clientv1.Envelope_Presence{Presence: &clientv1.Presence{RoomId: r.id}}}
	env, _, err := r.call(ctx, frame)
	if err != nil {
		return Presence{}, fmt.Errorf("presence of %s: %w", r.id, err)
	}
	state := env.GetPresenceState()
	out := Presence{RoomID: r.id, Count: int(state.GetCount())}
	for _, m := range state.GetMembers() {
		out.Members = append(out.Members, PresentMember{MemberID: m.GetMemberId(), Connections: int(m.GetConnections())})
	}
	return out, nil
}

// call is one request that is answered by a frame with its id. It may be sent any number of times.
type call struct {
	frame    *clientv1.Envelope
	attempts int
	// sentAt is when it was sent on this connection; zero: it is to be sent, not before notBefore.
	sentAt    time.Time
	notBefore time.Time

	done        chan struct{}
	answer      *clientv1.Envelope
	incarnation uint64
	err         error
}

func (c *call) finish(answer *clientv1.Envelope, err error) {
	c.answer, c.err = answer, err
	close(c.done)
}

func (r *Room) call(ctx context.Context, frame *clientv1.Envelope) (*clientv1.Envelope, uint64, error) {
	c := r.client
	call := &call{frame: frame, done: make(chan struct{})}
	c.mu.Lock()
	if r.phase == leaving || r.phase == over {
		defer c.mu.Unlock()
		return nil, 0, r.err
	}
	r.calls = append(r.calls, call)
	c.wakeWriter()
	c.mu.Unlock()
	select {
	case <-call.done:
		return call.answer, call.incarnation, call.err
	case <-ctx.Done():
		c.mu.Lock()
		defer c.mu.Unlock()
		r.drop(call)
		return nil, 0, ctx.Err()
	}
}

// drop forgets a call.
func (r *Room) drop(gone *call) {
	for i, call := range r.calls {
		if call == gone {
			r.calls = append(r.calls[:i:i], r.calls[i+1:]...)
			return
		}
	}
}

// answered ends a call with the server's frame or its refusal for good.
func (r *Room) answered(call *call, answer *clientv1.Envelope, err error) {
	select {
	case <-call.done:
		return
	default:
	}
	r.drop(call)
	call.incarnation = r.stream.incarnation
	call.finish(answer, err)
}
