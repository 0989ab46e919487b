package api

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-rt/parley/libs/actorkit/ask"
	adminv1 "github.com/parley-rt/parley/libs/protocol/admin/v1"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/ids"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

const (
	standardHistory = 50
	maxHistoryBytes = 1 << 20
)

// Publish implements the service.
func (s *rooms) Publish(ctx context.Context, req *adminv1.PublishRequest) (*adminv1.PublishResponse, error) {
	c := begin(req.GetRoomId())
	c.text("sender", req.GetSender(), 1, maxMemberBytes)
	c.time("sent_at", req.GetSentAt())
	messageID := req.GetMessageId()
	if messageID == "" {
		messageID = ids.NewMessageID()
	} else if err := ids.CheckMessageID(messageID); err != nil {
		c.fail("message_id", "%v", err)
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	sentAt := req.GetSentAt()
	if sentAt == nil {
		sentAt = timestamppb.New(s.now())
	}
	traced := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, traced)
	answer, err := s.asker.Ask(ctx, &roomv1.Frame{RoomId: req.GetRoomId(), Kind: &roomv1.Frame_Publish{Publish: &roomv1.Publish{
		MemberId: req.GetSender(),
		Drafts: []*roomv1.Draft{{
			MessageId: messageID, Content: req.GetContent(), SentAt: sentAt,
			Traceparent: traced.Get("traceparent"), Tracestate: traced.Get("tracestate"),
		}},
		Unchecked: true,
	}}})
	if err != nil {
		return nil, err
	}
	outcomes := answer.GetPublished().GetOutcomes()
	if len(outcomes) != 1 {
		return nil, unexpected(answer.GetKind())
	}
	if refused := outcomes[0].GetRefused(); refused != nil {
		return nil, refusedMessage(refused)
	}
	return &adminv1.PublishResponse{Seq: outcomes[0].GetSeq(), MessageId: messageID, Duplicate: outcomes[0].GetDuplicate()}, nil
}

// refusedMessage names the field where the room's refusal is about one.
func refusedMessage(refused *roomv1.Refused) error {
	code := clientv1.ErrorCode(refused.GetCode())
	if code == clientv1.ErrorCode_ERROR_CODE_TOO_LARGE {
		c := new(check)
		c.fail("content", "%s", refused.GetMessage())
		return c.err()
	}
	return &ask.RefusedError{
		Code: code, Message: refused.GetMessage(), RetryAfter: time.Duration(refused.GetRetryAfterMs()) * time.Millisecond,
	}
}

// History implements the service.
func (s *rooms) History(ctx context.Context, req *adminv1.HistoryRequest) (*adminv1.HistoryResponse, error) {
	c := begin(req.GetRoomId())
	switch {
	case req.BeforeSeq != nil && req.AfterSeq != nil:
		c.fail("after_seq", "is given together with before_seq: at most one bound")
	case req.BeforeSeq != nil && req.GetBeforeSeq() == 0:
		c.fail("before_seq", "is 0: nothing is before that")
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	answer, err := s.read(ctx, &roomv1.Frame{RoomId: req.GetRoomId(), Kind: &roomv1.Frame_Read{Read: &roomv1.Read{
		AfterSeq: req.AfterSeq, BeforeSeq: req.BeforeSeq, Limit: clamp(req.GetLimit(), standardHistory, maxHistory), MaxBytes: maxHistoryBytes,
	}}})
	if err != nil {
		return nil, err
	}
	page := answer.GetPage()
	if page == nil {
		return nil, unexpected(answer.GetKind())
	}
	res := &adminv1.HistoryResponse{More: page.GetMore(), Head: page.GetHead(), Trimmed: page.GetTrimmed()}
	for _, m := range page.GetMessages() {
		res.Messages = append(res.Messages, &adminv1.Message{
			Seq: m.GetSeq(), PrevSeq: m.GetPrevSeq(), Sender: m.GetSender(), MessageId: m.GetMessageId(), Content: m.GetContent(),
			SentAt: m.GetSentAt(),
		})
	}
	return res, nil
}
