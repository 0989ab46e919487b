package hub

import (
	"strings"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
	"github.com/parley-rt/parley/libs/protocol/codes"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
	"github.com/parley-rt/parley/services/gateway/internal/ws"
)

// frameOverhead is about what a message weighs in JSON beside its content.
const frameOverhead = 320

// Frame compiles an envelope into a frame for connections of that codec.
func Frame(c codec.Codec, env *clientv1.Envelope) ([]byte, error) {
	return frame(c, env, frameOverhead)
}

func frame(c codec.Codec, env *clientv1.Envelope, size int) ([]byte, error) {
	buf, err := c.Append(ws.Begin(size), env)
	if err != nil {
		return nil, err
	}
	return ws.Finish(buf, c.Text()), nil
}

// messageFrame compiles a message of a room. What is stored was checked when it came in; should it still not be encodable
// it is delivered without what is wrong with it, because leaving it out would be a gap.
func messageFrame(c codec.Codec, room string, m *roomv1.Message) []byte {
	msg := &clientv1.Message{
		Target: room, Content: m.GetContent(), MessageId: m.GetMessageId(), SentAt: m.GetSentAt(),
		Traceparent: m.GetTraceparent(), Tracestate: m.GetTracestate(),
		Sender: m.GetSender(), Seq: m.GetSeq(), PrevSeq: m.GetPrevSeq(),
	}
	env := &clientv1.Envelope{Kind: &clientv1.Envelope_Message{Message: msg}}
	size := frameOverhead + len(msg.Content) + len(msg.Content)/16
	f, err := frame(c, env, size)
	if err == nil {
		return f
	}
	valid := func(s *string) { *s = strings.ToValidUTF8(*s, "\uFFFD") }
	for _, s := range []*string{&msg.Content, &msg.MessageId, &msg.Traceparent, &msg.Tracestate, &msg.Sender} {
		valid(s)
	}
	if !msg.SentAt.IsValid() {
		msg.SentAt = nil
	}
	f, err = frame(c, env, size)
	if err != nil {
		panic(err) // nothing invalid is left; the shard's supervisor is told
	}
	return f
}

// messageFrames compiles messages that follow each other, one behind the other in memory: a connection that gets several of them then
// writes them as they lie there.
func messageFrames(c codec.Codec, room string, messages []*roomv1.Message) [][]byte {
	frames := make([][]byte, len(messages))
	total := 0
	for i, m := range messages {
		frames[i] = messageFrame(c, room, m)
		total += len(frames[i])
	}
	if len(frames) > 1 {
		ws.Adjoin(frames, total)
	}
	return frames
}

func resetFrame(c codec.Codec, room string, seq uint64, reason clientv1.ResetReason) []byte {
	return mustFrame(c, &clientv1.Envelope{Kind: &clientv1.Envelope_Reset_{Reset_: &clientv1.Reset{
		RoomId: room, Seq: seq, Reason: codes.ResetName(reason),
	}}})
}

func joinedFrame(c codec.Codec, id uint32, room string, seq, incarnation uint64) []byte {
	return mustFrame(c, &clientv1.Envelope{Id: id, Kind: &clientv1.Envelope_RoomJoined{RoomJoined: &clientv1.RoomJoined{
		RoomId: room, Seq: seq, Incarnation: incarnation,
	}}})
}

// mustFrame compiles what consists of checked strings and numbers.
func mustFrame(c codec.Codec, env *clientv1.Envelope) []byte {
	f, err := Frame(c, env)
	if err != nil {
		panic(err)
	}
	return f
}
