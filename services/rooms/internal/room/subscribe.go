package room

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/tochemey/goakt/v4/actor"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-rt/parley/libs/actorkit"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/rooms/internal/room/core"
)

const (
	// deliverBytes bounds one Deliver frame; a large commit is sent as several.
	deliverBytes = 64 << 10
	// owedRetry is how long a room waits before it tries again to tell a node that its subscription ended.
	owedRetry = 500 * time.Millisecond
)

// subscribe starts a gateway node's deliveries. Subscribed goes first and through the same Link, so the chain of
// deliveries starts at its last_message_seq (S5). A node that is subscribed already starts anew.
func (r *Room) subscribe(in *Inbound) {
	node := in.From.Node
	state := r.stream.State()
	body, err := encodeFrame(r.id, &roomv1.Frame{
		Connection: in.Frame.Connection,
		Request:    in.Frame.Request,
		Kind: &roomv1.Frame_Subscribed{Subscribed: &roomv1.Subscribed{
			Epoch:          r.epoch(),
			Incarnation:    r.stream.Claim().Incarnation,
			Head:           state.Head(),
			LastMessageSeq: state.LastMessage(),
			RemovalSeq:     r.removal,
		}},
	})
	if err == nil {
		err = r.env.Links.Send(node, actorkit.Frame{Body: body, Traceparent: in.Trace.Traceparent, Tracestate: in.Trace.Tracestate})
	}
	in.Release()
	if err != nil {
		// The hub has heard nothing and asks again.
		r.env.Metrics.AnswerLost()
		r.unsubscribe(node)
		return
	}
	delete(r.owed, node)
	if _, ok := r.subscribers[node]; !ok {
		r.subscribers[node] = struct{}{}
		r.env.Metrics.subscriptions.Add(context.Background(), 1)
	}
}

func (r *Room) unsubscribe(node string) {
	delete(r.owed, node)
	r.presence.Drop(node)
	r.removeSubscriber(node)
}

func (r *Room) removeSubscriber(node string) {
	if _, ok := r.subscribers[node]; ok {
		delete(r.subscribers, node)
		r.env.Metrics.subscriptions.Add(context.Background(), -1)
	}
}

// deliver sends new messages to every subscribed gateway node, encoded once.
func (r *Room) deliver(messages []*roomv1.Message, cause actorkit.Frame, accepted time.Time) {
	if len(r.subscribers) == 0 {
		return
	}
	frames := r.deliverFrames(messages, cause, accepted)
	for node := range r.subscribers {
		for _, f := range frames {
			if err := r.env.Links.Send(node, f); err != nil {
				r.lose(node, err)
				break
			}
		}
	}
	r.settleOwed()
}

func (r *Room) deliverFrames(messages []*roomv1.Message, cause actorkit.Frame, accepted time.Time) []actorkit.Frame {
	var frames []actorkit.Frame
	acceptedAt := timestamppb.New(accepted)
	for len(messages) > 0 {
		n, bytes := 0, 0
		for n < len(messages) && (n == 0 || bytes+core.Weight(messages[n]) <= deliverBytes) {
			bytes += core.Weight(messages[n])
			n++
		}
		frame := &roomv1.Frame{Kind: &roomv1.Frame_Deliver{Deliver: &roomv1.Deliver{
			Epoch: r.epoch(), Messages: messages[:n:n], AcceptedAt: acceptedAt, RemovalSeq: r.removal,
		}}}
		body, err := encodeFrame(r.id, frame)
		if err != nil {
			// Every message was encoded before, for the journal. The hubs see the gap at the next message.
			r.logger.Error("delivery cannot be encoded", slog.Any("err", err))
			return frames
		}
		frames = append(frames, actorkit.Frame{Body: body, Traceparent: cause.Traceparent, Tracestate: cause.Tracestate, Decoded: frame})
		messages = messages[n:]
	}
	return frames
}

// lose ends the subscription of a node that could not be sent to; the node is told as soon as possible (L2). With a full
// Link the node lives: what it said about presence still holds.
func (r *Room) lose(node string, why error) {
	r.removeSubscriber(node)
	r.owed[node] = struct{}{}
	r.env.Metrics.lost.Add(context.Background(), 1)
	if !errors.Is(why, actorkit.ErrLinkFull) {
		r.presence.Drop(node)
	}
	r.logger.Debug("subscription lost", slog.String("peer", node), slog.Any("err", why))
}

// dropNode ends what a gateway node has here: it is gone, or frames of it are missing.
func (r *Room) dropNode(node string) {
	r.presence.Drop(node)
	if _, ok := r.subscribers[node]; ok {
		r.removeSubscriber(node)
		r.owed[node] = struct{}{}
		r.env.Metrics.lost.Add(context.Background(), 1)
	}
	r.wake()
}

// settleOwed tells nodes that their subscription ended. A node that is no peer any more is owed nothing.
func (r *Room) settleOwed() {
	for node := range r.owed {
		status, known := r.env.Links.Link(node)
		switch {
		case !known:
			delete(r.owed, node)
		case status.Up:
			if r.send(node, closedFrame(r.epoch(), r.env.Node)) == nil {
				delete(r.owed, node)
			}
		}
	}
	r.wake()
}

// wake asks the host for a tick when the first of these is due: something is owed, memberships are to be ended, ids wait to be
// forgotten, messages come of age.
func (r *Room) wake() {
	var at time.Time
	due := func(t time.Time) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	now := r.env.Now()
	if len(r.owed) > 0 {
		due(now.Add(owedRetry))
	}
	if r.stream.State().WindowLen() > 0 {
		due(now.Add(core.WindowAge + core.WindowFloor))
	}
	due(r.sweepAt)
	due(r.retain.dueAt)
	due(r.comings.dueAt())
	if at.IsZero() {
		r.slot.wakeAt.Store(0)
		return
	}
	r.slot.wakeAt.Store(at.UnixNano())
}

func (r *Room) tick(rctx *actor.ReceiveContext) {
	if r.dead != nil || r.ending != "" {
		r.settleOwed()
		return
	}
	now := r.env.Now()
	r.stream.State().Expire(now)
	if !r.sweepAt.IsZero() && !now.Before(r.sweepAt) {
		r.sweep(rctx)
	}
	r.retain.tick(rctx)
	r.comings.report()
	r.settleOwed()
}

// closeAll tells everybody that the subscription has ended. owner is where the hubs should look.
func (r *Room) closeAll(owner string) {
	for node := range r.subscribers {
		r.owed[node] = struct{}{}
	}
	for node := range r.owed {
		if r.send(node, closedFrame(r.epoch(), owner)) != nil {
			r.env.Metrics.AnswerLost()
		}
		delete(r.owed, node)
	}
}
