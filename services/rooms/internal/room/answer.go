package room

import (
	"context"
	"fmt"
	"log/slog"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"

	"github.com/parley-rt/parley/libs/actorkit"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/rooms/internal/room/core"
)

// When a refused asker should try again, in milliseconds.
const (
	busyRetryAfter        = 250
	unavailableRetryAfter = 500
)

// Reply sends the answer to a frame back to who asked and releases the frame. An answer that the Link does not take is
// lost: the asker asks again.
func Reply(links Links, metrics *Metrics, in *Inbound, answer *roomv1.Frame) {
	reply(links, metrics, in, answer, in.Trace)
}

func reply(links Links, metrics *Metrics, in *Inbound, answer *roomv1.Frame, traced actorkit.Frame) {
	defer in.Release()
	answer.Connection, answer.Request = in.Frame.Connection, in.Frame.Request
	body, err := encodeFrame(in.Frame.RoomId, answer)
	if err == nil {
		traced.Body = body
		if _, ok := answer.Kind.(*roomv1.Frame_Published); ok { // the usual answer, and of nothing that is kept here
			traced.Decoded = answer
		}
		err = links.Send(in.From.Node, traced)
	}
	if err != nil {
		metrics.AnswerLost()
	}
}

// Refuse answers a frame that is not carried out. Statements that nobody waits for are dropped silently.
func Refuse(links Links, metrics *Metrics, in *Inbound, code clientv1.ErrorCode, message string, retryAfterMs uint32) {
	metrics.Refused(code, 1)
	if in.Unanswered() {
		in.Release()
		return
	}
	Reply(links, metrics, in, &roomv1.Frame{Kind: &roomv1.Frame_Refused{Refused: &roomv1.Refused{
		Code: int32(code), Message: message, RetryAfterMs: retryAfterMs,
	}}})
}

// Moved sends the asker on; an empty owner means that it must choose itself. A hub's statement about a room that is not
// here is answered by Closed, so that it subscribes where the room is.
func Moved(links Links, metrics *Metrics, in *Inbound, owner string) {
	switch in.Frame.Kind.(type) {
	case *roomv1.Frame_Unsubscribe:
		in.Release()
	case *roomv1.Frame_Online:
		in.Frame.Request = 0
		Reply(links, metrics, in, closedFrame(0, owner))
	default:
		Reply(links, metrics, in, &roomv1.Frame{Kind: &roomv1.Frame_Moved{Moved: &roomv1.Moved{Owner: owner}}})
	}
}

// Send sends a frame about a room.
func Send(links Links, node, roomID string, frame *roomv1.Frame) error {
	body, err := encodeFrame(roomID, frame)
	if err != nil {
		return err
	}
	return links.Send(node, actorkit.Frame{Body: body})
}

func closedFrame(epoch uint64, owner string) *roomv1.Frame {
	return &roomv1.Frame{Kind: &roomv1.Frame_Closed{Closed: &roomv1.Closed{Epoch: epoch, Owner: owner}}}
}

func encodeFrame(roomID string, frame *roomv1.Frame) ([]byte, error) {
	frame.RoomId = roomID
	body, err := proto.Marshal(frame)
	if err != nil {
		return nil, fmt.Errorf("encode frame of room %s: %w", roomID, err)
	}
	return body, nil
}

func (r *Room) answer(in *Inbound, frame *roomv1.Frame) {
	Reply(r.env.Links, r.env.Metrics, in, frame)
}

// answerTraced answers as part of a span.
func (r *Room) answerTraced(in *Inbound, frame *roomv1.Frame, span trace.Span) {
	traced := in.Trace
	if span.IsRecording() {
		actorkit.InjectTrace(trace.ContextWithSpan(context.Background(), span), &traced)
	}
	reply(r.env.Links, r.env.Metrics, in, frame, traced)
}

// deny answers a member who may not do what it asks for.
func (r *Room) deny(in *Inbound, denial *core.Denial) {
	refused := denial.Refused(r.env.Now())
	r.refuse(in, denial.Code, refused.Message, refused.RetryAfterMs)
}

func (r *Room) refuse(in *Inbound, code clientv1.ErrorCode, message string, retryAfterMs uint32) {
	Refuse(r.env.Links, r.env.Metrics, in, code, message, retryAfterMs)
}

// moved answers for a dead activation.
func (r *Room) moved(in *Inbound) {
	Moved(r.env.Links, r.env.Metrics, in, r.dead.owner)
}

// send sends a frame that answers nothing.
func (r *Room) send(node string, frame *roomv1.Frame) error {
	body, err := encodeFrame(r.id, frame)
	if err != nil {
		r.logger.Error("frame cannot be encoded", slog.Any("err", err))
		return err
	}
	return r.env.Links.Send(node, actorkit.Frame{Body: body})
}
