package member

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	"github.com/parley-rt/parley/libs/protocol/codec"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

func joined(t testing.TB, cfg Config) *world {
	w := newWorld(t, cfg)
	w.open()
	w.join("a")
	return w
}

func (w *world) publish(id string) *Command {
	return w.client(`{"message":{"target":"a","content":"c","message_id":%q}}`, id)
}

func drafts(s sent) string {
	var ids []string
	for _, d := range s.frame.GetPublish().GetDrafts() {
		ids = append(ids, d.GetMessageId())
	}
	return strings.Join(ids, " ")
}

func TestWhatIsFilledIn(t *testing.T) {
	t.Parallel()
	w := joined(t, Config{})
	w.client(`{"message":{"target":"a","content":"hi","sender":"boss","seq":"9","prev_seq":"8","traceparent":"tp","tracestate":"ts"}}`)
	p := w.last().frame.GetPublish()
	require.Equal(t, "calm-otter", p.GetMemberId())
	d := p.GetDrafts()[0]
	id, err := uuid.Parse(d.GetMessageId())
	require.NoError(t, err)
	require.Equal(t, uuid.Version(7), id.Version())
	require.Equal(t, w.now.UTC(), d.GetSentAt().AsTime())
	require.Equal(t, "tp", d.GetTraceparent())
	require.Equal(t, "ts", d.GetTracestate())
	w.stored(w.last(), 12)
	w.expect(fmt.Sprintf(`{"ack":{"target":"a","message_id":%q,"seq":"12"}}`, d.GetMessageId()))

	w.client(`{"message":{"target":"a","message_id":"mine","sent_at":"2020-01-02T03:04:05Z"}}`)
	require.Equal(t, int64(1577934245), w.last().frame.GetPublish().GetDrafts()[0].GetSentAt().GetSeconds())
}

// S4: at most one batch of a room is out; the next waits for its answer.
func TestOneBatchAtATime(t *testing.T) {
	t.Parallel()
	w := joined(t, Config{BatchMessages: 3})
	for i := range 6 {
		w.publish(fmt.Sprintf("m%d", i))
	}
	require.Equal(t, "m0", drafts(w.last()))
	w.stored(w.last(), 1)
	require.Equal(t, "m1 m2 m3", drafts(w.last()))
	w.stored(w.last(), 2)
	require.Equal(t, "m4 m5", drafts(w.last()))
	w.answer(w.last(), &roomv1.Published{Outcomes: []*roomv1.Outcome{{Seq: 2, Duplicate: true}, {Refused: refused(clientv1.ErrorCode_ERROR_CODE_TOO_LARGE)}}})
	w.expect("*", "*", "*", "*",
		`{"ack":{"target":"a","message_id":"m4","seq":"2","duplicate":true}}`,
		`{"error":{"code":"TOO_LARGE","message":"because","room_id":"a","message_id":"m5"}}`)
	require.Zero(t, w.window)
}

// What a client sends at once leaves in one batch: the first one does not go alone.
func TestWhatComesTogetherLeavesTogether(t *testing.T) {
	t.Parallel()
	w := joined(t, Config{BatchMessages: 3})
	w.join("b")
	asked := len(w.sent)
	w.more = true
	w.publish("m0")
	w.client(`{"message":{"target":"b","content":"c","message_id":"b0"}}`)
	require.Len(t, w.sent, asked, "more is to come")
	w.more = false
	w.publish("m1")
	require.Len(t, w.sent, asked+2)
	require.Equal(t, "m0 m1", drafts(w.sent[asked]))
	require.Equal(t, "b0", drafts(w.sent[asked+1]))

	w.stored(w.sent[asked], 1)
	w.more = true
	w.publish("m2")
	require.Len(t, w.sent, asked+2)
	w.core.Rest(w.now)
	require.Equal(t, "m2", drafts(w.last()), "it did not come")
	w.core.Rest(w.now)
	require.Len(t, w.sent, asked+3)

	w.stored(w.last(), 3)
	for i := range 3 {
		w.publish(fmt.Sprintf("n%d", i))
	}
	require.Equal(t, "n0 n1 n2", drafts(w.last()), "as many as a batch holds wait for nothing")
	w.publish("n3")
	w.core.Stop()
	w.core.Rest(w.now)
	require.Len(t, w.sent, asked+4, "nothing is sent for a socket that is gone")
}

// What comes together with the first frame, before the session is open, is not kept back when the session is.
func TestWhatComesBeforeTheSessionIsStarted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.more = true
	w.client(`{"hello":{"token":"t"}}`)
	w.publish("m0")
	w.core.Rest(w.now)
	w.opened("a")
	w.answer(w.last(), &roomv1.Joined{Head: 7, Cursor: 7, Incarnation: 1, Epoch: 1})
	require.Equal(t, "m0", drafts(w.last()))
}

func TestBatchesAreBoundedByBytes(t *testing.T) {
	t.Parallel()
	w := joined(t, Config{})
	w.publish("first")
	for i := range 4 {
		w.client(`{"message":{"target":"a","content":%q,"message_id":"m%d"}}`, strings.Repeat("x", 30_000), i)
	}
	w.stored(w.last(), 1)
	require.Equal(t, "m0 m1", drafts(w.last()))
	w.stored(w.last(), 2)
	require.Equal(t, "m2 m3", drafts(w.last()))
}

func TestRoomsDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	w := joined(t, Config{})
	w.join("b")
	w.publish("m1")
	w.client(`{"message":{"target":"b","message_id":"m2"}}`)
	require.Equal(t, "b", w.last().frame.GetRoomId())
}

func TestPublishFollowsMoved(t *testing.T) {
	t.Parallel()
	w := joined(t, Config{})
	w.publish("m1")
	w.publish("m2")
	first := w.last()
	w.answer(first, &roomv1.Moved{Owner: "rooms-9"})
	require.Equal(t, "rooms-9", w.last().node)
	require.Equal(t, jsonOf(first.frame), jsonOf(w.last().frame), "the same batch under the same number")
	w.stored(w.last(), 5)
	require.Equal(t, "m2", drafts(w.last()))
	require.Equal(t, "rooms-9", w.last().node)
}

func TestNodesThatPointAtEachOther(t *testing.T) {
	t.Parallel()
	w := joined(t, Config{})
	w.publish("m1")
	other := map[string]string{"rooms-1": "rooms-2", "rooms-2": "rooms-1"}
	before, asked := 0, len(w.sent)
	for before != len(w.sent) {
		before = len(w.sent)
		w.answer(w.last(), &roomv1.Moved{Owner: other[w.last().node]})
	}
	require.Equal(t, maxHops, len(w.sent)-asked, "then there is a pause")
	w.pass(200 * time.Millisecond)
	require.Equal(t, maxHops+1, len(w.sent)-asked)
	w.stored(w.last(), 1)
	w.expect(`{"ack":{"target":"a","message_id":"m1","seq":"1"}}`)
}

func TestSilenceAsksTheNextNode(t *testing.T) {
	t.Parallel()
	w := joined(t, Config{})
	w.publish("m1")
	first := w.last()
	require.Equal(t, "rooms-1", first.node)
	w.pass(1900 * time.Millisecond)
	require.Equal(t, first, w.last())
	w.pass(200 * time.Millisecond)
	require.Equal(t, "rooms-2", w.last().node)
	require.Equal(t, jsonOf(first.frame), jsonOf(w.last().frame))
	w.stored(first, 4) // the late answer is as good
	w.expect(`{"ack":{"target":"a","message_id":"m1","seq":"4"}}`)
	w.stored(w.last(), 4)
	w.expect()
}

func TestLinkDownAsksTheNextNodeAtOnce(t *testing.T) {
	t.Parallel()
	w := joined(t, Config{})
	w.publish("m1")
	w.down["rooms-1"] = true
	w.core.LinkDown(w.now, "rooms-3")
	require.Equal(t, "rooms-1", w.last().node)
	w.core.LinkDown(w.now, "rooms-1")
	require.Equal(t, "rooms-2", w.last().node)
}

func TestLostAnswersAreAskedForAgain(t *testing.T) {
	t.Parallel()
	w := joined(t, Config{})
	w.publish("m1")
	first := w.last()
	w.core.LinkLost(w.now, "rooms-3")
	require.Equal(t, first, w.last())
	asked := len(w.sent)
	w.core.LinkLost(w.now, "rooms-1")
	require.Len(t, w.sent, asked+1)
	require.Equal(t, "rooms-1", w.last().node)
	require.Equal(t, jsonOf(first.frame), jsonOf(w.last().frame))
	w.stored(w.last(), 4)
	w.expect(`{"ack":{"target":"a","message_id":"m1","seq":"4"}}`)
	w.core.LinkLost(w.now, "rooms-1")
	require.Len(t, w.sent, asked+1, "nothing waits")
}

func TestRefusalsThatPassAreNotToldAtOnce(t *testing.T) {
	t.Parallel()
	w := joined(t, Config{})
	w.publish("m1")
	for range 3 {
		asked := len(w.sent)
		w.answer(w.last(), refused(clientv1.ErrorCode_ERROR_CODE_UNKNOWN_OUTCOME))
		w.expect()
		w.pass(time.Second)
		require.Len(t, w.sent, asked+1)
	}
	w.stored(w.last(), 4)
	w.expect(`{"ack":{"target":"a","message_id":"m1","seq":"4"}}`)

	w.publish("m2")
	w.answer(w.last(), &roomv1.Refused{Code: int32(clientv1.ErrorCode_ERROR_CODE_BUSY), Message: "later", RetryAfterMs: 250})
	w.expect(`{"error":{"code":"BUSY","message":"later","retryable":true,"retry_after_ms":250,"room_id":"a","message_id":"m2"}}`)
}

// L1: every publish is answered within 5 s of its receipt, whatever happens to it.
func TestEveryPublishIsAnsweredInTime(t *testing.T) {
	t.Parallel()
	t.Run("sent and never answered", func(t *testing.T) {
		t.Parallel()
		w := joined(t, Config{})
		w.publish("m1")
		w.pass(time.Second)
		w.publish("m2") // waits behind m1
		w.pass(3900 * time.Millisecond)
		e := w.expectError("UNKNOWN_OUTCOME", "a", "m1")
		require.True(t, e.GetRetryable())
		require.Equal(t, "m2", drafts(w.last()), "time is up for m1, so m2 has its turn")
		w.pass(time.Second)
		w.expectError("UNKNOWN_OUTCOME", "a", "m2")
		require.True(t, w.core.Idle())
	})
	t.Run("never sent", func(t *testing.T) {
		t.Parallel()
		w := joined(t, Config{})
		w.down["rooms-1"], w.down["rooms-2"] = true, true
		w.publish("m1")
		w.publish("m2")
		w.pass(5 * time.Second)
		w.expect("*", "*")
		for _, env := range w.replies[w.taken-2:] {
			require.Equal(t, "UNAVAILABLE", env.GetError().GetCode())
			require.True(t, env.GetError().GetRetryable())
		}
	})
	t.Run("behind a join that hangs", func(t *testing.T) {
		t.Parallel()
		w := joined(t, Config{})
		w.client(`{"join_room":{"room_id":"b"}}`)
		w.client(`{"message":{"target":"b","message_id":"m"}}`)
		w.save(nil)
		w.pass(5 * time.Second)
		w.expect("*", "*")
		require.Equal(t, "UNAVAILABLE", w.replies[w.taken-2].GetError().GetCode())
	})
	t.Run("behind a join that the session store keeps waiting", func(t *testing.T) {
		t.Parallel()
		w := joined(t, Config{})
		w.client(`{"id":1,"join_room":{"room_id":"b"}}`)
		w.client(`{"message":{"target":"b","message_id":"m"}}`)
		w.pass(5 * time.Second)
		w.expect("*", "*")
		require.Equal(t, "UNAVAILABLE", w.replies[w.taken-2].GetError().GetCode())
		require.True(t, w.replies[w.taken-2].GetError().GetRetryable())
		require.Equal(t, "m", w.replies[w.taken-1].GetError().GetMessageId())
		require.True(t, w.core.Idle())
		w.save(nil) // late: the row lists a room that was not joined
		require.Equal(t, []string{"a"}, w.saved[len(w.saved)-1])
		w.save(nil)
		w.expect()
		w.join("b")
	})
	t.Run("behind a leave that the session store keeps waiting", func(t *testing.T) {
		t.Parallel()
		w := joined(t, Config{})
		w.client(`{"leave_room":{"room_id":"a"}}`)
		w.publish("m")
		w.answer(w.last(), &roomv1.Left{})
		w.expect()
		w.pass(5 * time.Second)
		w.expect("*", "*")
		require.Equal(t, "UNAVAILABLE", w.replies[w.taken-2].GetError().GetCode())
		require.Equal(t, "m", w.replies[w.taken-1].GetError().GetMessageId())
		require.Equal(t, []string{"a"}, w.detached, "the room streams no more")
		w.client(`{"id":2,"leave_room":{"room_id":"a"}}`)
		w.expect()
		w.save(nil)
		w.expect(`{"id":2,"room_left":{"room_id":"a"}}`)
	})
	t.Run("before the session is open", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, Config{})
		cmd := w.client(`{"message":{"target":"a","message_id":"m"}}`)
		w.pass(3900 * time.Millisecond)
		require.Zero(t, w.closed)
		w.pass(100 * time.Millisecond)
		require.Equal(t, clientv1.CloseCode_CLOSE_CODE_INTERNAL, w.closed)
		w.opened() // late
		w.expect()
		w.core.Stop()
		require.Equal(t, []string{outcomeClosed}, w.done[cmd])
	})
	t.Run("the session was long in opening", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, Config{})
		w.client(`{"join_room":{"room_id":"a"}}`)
		w.client(`{"message":{"target":"a","message_id":"m"}}`)
		w.pass(3900 * time.Millisecond)
		w.opened()
		w.expect("*")
		w.pass(1100 * time.Millisecond)
		w.expect("*", "*")
		require.Equal(t, "m", w.replies[w.taken-1].GetError().GetMessageId())
	})
	t.Run("the way is full", func(t *testing.T) {
		t.Parallel()
		w := joined(t, Config{})
		w.busy = true
		w.publish("m1")
		w.pass(500 * time.Millisecond)
		w.busy = false
		w.pass(time.Second)
		w.stored(w.last(), 9)
		w.expect(`{"ack":{"target":"a","message_id":"m1","seq":"9"}}`)
	})
}

// spanBy records links.
type spanBy struct {
	noop.Span
	id    byte
	links []byte
}

func (s *spanBy) IsRecording() bool { return true }
func (s *spanBy) AddLink(l trace.Link) {
	id := l.SpanContext.SpanID()
	s.links = append(s.links, id[0])
}

func (s *spanBy) SpanContext() trace.SpanContext {
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{s.id}, SpanID: trace.SpanID{s.id}})
}

// A batch goes on in one trace, but that of each message leads there.
func TestBatchLinksItsTraces(t *testing.T) {
	t.Parallel()
	w := joined(t, Config{})
	w.publish("m0") // is out, so the next ones wait for each other
	var spans []*spanBy
	for i := range 3 {
		s := &spanBy{id: byte(i + 1)}
		spans = append(spans, s)
		env, err := codec.DecodeJSON([]byte(fmt.Sprintf(`{"message":{"target":"a","message_id":"b%d"}}`, i)))
		require.NoError(t, err)
		w.core.Frame(w.now, &Command{Env: env, At: w.now, Span: s})
	}
	w.stored(w.last(), 1)
	require.Equal(t, "b0 b1 b2", drafts(w.last()))
	w.core.LinkDown(w.now, w.last().node) // sending again links nothing twice
	require.Equal(t, []byte{2, 3}, spans[0].links)
	require.Equal(t, []byte{1}, spans[1].links)
	require.Equal(t, []byte{1}, spans[2].links)
}

// An unanswered batch is resent whole, also when time was up for a part of it.
func TestBatchIsResentWhole(t *testing.T) {
	t.Parallel()
	w := joined(t, Config{})
	w.publish("m0")
	w.publish("m1")
	w.pass(1500 * time.Millisecond)
	w.publish("m2")
	w.stored(w.last(), 1)
	w.expect("*")
	require.Equal(t, "m1 m2", drafts(w.last()))
	w.pass(3400 * time.Millisecond)
	w.expectError("UNKNOWN_OUTCOME", "a", "m1")
	w.core.LinkDown(w.now, w.last().node)
	require.Equal(t, "m1 m2", drafts(w.last()))
	w.stored(w.last(), 2)
	w.expect(`{"ack":{"target":"a","message_id":"m2","seq":"3"}}`)
}

func TestAnswersThatDoNotFitAreIgnored(t *testing.T) {
	t.Parallel()
	w := joined(t, Config{})
	w.publish("m1")
	s := w.last()
	w.answer(s, &roomv1.Joined{Head: 1})
	w.answer(s, &roomv1.Published{})
	w.answer(s, &roomv1.Published{Outcomes: []*roomv1.Outcome{{Seq: 1}, {Seq: 2}}})
	w.core.Answer(w.now, "rooms-1", &roomv1.Frame{})
	w.expect()
	w.stored(s, 8)
	w.expect(`{"ack":{"target":"a","message_id":"m1","seq":"8"}}`)
}

func TestUnknownRefusalCodeIsInternal(t *testing.T) {
	t.Parallel()
	w := joined(t, Config{})
	w.publish("m1")
	w.answer(w.last(), refused(clientv1.ErrorCode(999)))
	e := w.expectError("INTERNAL", "a", "m1")
	require.True(t, e.GetRetryable())
}
