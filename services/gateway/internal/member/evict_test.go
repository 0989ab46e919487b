package member

import (
	"testing"

	"github.com/stretchr/testify/require"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// evicted does what the hub does: it ends the stream, tells the client and then the member.
func (w *world) evicted(room string) {
	a := w.attached[room]
	delete(w.attached, room)
	w.core.Evicted(w.now, room, a.Number)
}

// A member that was taken out is out: nothing is sent for it, and the session does not bring it back.
func TestEvicted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.open()
	w.join("a")
	before, first := len(w.sent), w.attached["a"].Number
	w.evicted("a")
	require.Equal(t, []string{}, w.saved[len(w.saved)-1], "a resume must not join it")
	w.save(nil)
	for _, frame := range []string{
		`{"message":{"target":"a"}}`, `{"signal":{"target":"a"}}`, `{"history":{"room_id":"a"}}`, `{"presence":{"room_id":"a"}}`,
	} {
		w.client("%s", frame)
		require.Equal(t, "NOT_JOINED", w.replies[w.taken].GetError().GetCode())
		w.taken = len(w.replies)
	}
	require.Len(t, w.sent, before)
	require.Zero(t, w.core.rooms.Len())
	w.evicted("a")
	w.evicted("never joined")
	w.expect()

	w.client(`{"join_room":{"room_id":"a"}}`)
	w.save(nil)
	w.answer(w.last(), &roomv1.Joined{Head: 9, Cursor: 9, Incarnation: 1, Epoch: 1})
	w.expect(`{"room_joined":{"room_id":"a","seq":"9","incarnation":"1"}}`)
	w.core.Evicted(w.now, "a", first) // late: it is of before the join
	w.client(`{"message":{"target":"a","message_id":"m"}}`)
	w.stored(w.last(), 10)
	w.expect(`{"ack":{"target":"a","message_id":"m","seq":"10"}}`)
}

// What is on its way to the room when the member is taken out gets the room's answer, what is behind it none of its.
func TestEvictedWhilePublishing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.open()
	w.join("a")
	w.client(`{"message":{"target":"a","message_id":"first"}}`)
	out := w.last()
	w.client(`{"message":{"target":"a","message_id":"second"}}`)
	w.evicted("a")
	w.expectError("NOT_JOINED", "a", "second")
	w.answer(out, &roomv1.Published{Outcomes: []*roomv1.Outcome{{Refused: &roomv1.Refused{
		Code: int32(clientv1.ErrorCode_ERROR_CODE_BANNED), Message: "spam", RetryAfterMs: 5000,
	}}}})
	e := w.expectError("BANNED", "a", "first")
	require.False(t, e.GetRetryable())
	require.Equal(t, uint32(5000), e.GetRetryAfterMs())
	require.Equal(t, "spam", e.GetMessage())
	require.Zero(t, w.window)
}

// A leave that is being carried out ends as it would have.
func TestEvictedWhileLeaving(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.open()
	w.join("a")
	w.client(`{"id":5,"leave_room":{"room_id":"a"}}`)
	w.evicted("a")
	w.answer(w.last(), &roomv1.Left{})
	w.save(nil)
	w.expect(`{"id":5,"room_left":{"room_id":"a"}}`)
	require.Zero(t, w.core.rooms.Len())
}

// A join that the room refuses because it took the member out ends what was left of the stream.
func TestStreamRestartRefused(t *testing.T) {
	t.Parallel()
	for _, code := range []clientv1.ErrorCode{
		clientv1.ErrorCode_ERROR_CODE_BANNED, clientv1.ErrorCode_ERROR_CODE_FORBIDDEN, clientv1.ErrorCode_ERROR_CODE_NOT_JOINED,
	} {
		w := newWorld(t, Config{})
		w.open()
		w.join("a")
		w.client(`{"id":2,"join_room":{"room_id":"a","after_seq":"3"}}`)
		w.answer(w.last(), refused(code))
		require.Len(t, w.replies[w.taken:], 1)
		require.Equal(t, int32(code), int32(clientv1.ErrorCode_value["ERROR_CODE_"+w.replies[w.taken].GetError().GetCode()]))
		require.Equal(t, []string{"a"}, w.detached)
		w.save(nil)
		require.Zero(t, w.core.rooms.Len())
	}
}

// On a resume a room that does not let the member in any more answers with one error, and leaves the session's row.
func TestResumeIntoABan(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.client(`{"hello":{"session_token":"t"}}`)
	w.opened("a", "b")
	w.expect("*")
	require.Len(t, w.sent, 2)
	for _, s := range w.sent[:2] {
		if s.frame.GetRoomId() == "a" {
			w.answer(s, &roomv1.Refused{Code: int32(clientv1.ErrorCode_ERROR_CODE_BANNED), Message: "spam", RetryAfterMs: 9000})
		}
	}
	e := w.expectError("BANNED", "a", "")
	require.Equal(t, uint32(9000), e.GetRetryAfterMs())
	require.Equal(t, []string{"b"}, w.saved[len(w.saved)-1])
}

// A signal is answered only when the member may not send it.
func TestRefusedSignal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.open()
	w.join("a")
	w.client(`{"id":4,"signal":{"target":"a","type":"typing"}}`)
	muted := w.last()
	for range signalsKept - 1 {
		w.client(`{"id":5,"signal":{"target":"a"}}`)
	}
	w.answer(w.last(), refused(clientv1.ErrorCode_ERROR_CODE_BUSY))
	w.expect()
	w.answer(muted, &roomv1.Refused{Code: int32(clientv1.ErrorCode_ERROR_CODE_MUTED), Message: "quiet", RetryAfterMs: 700})
	e := w.expectError("MUTED", "a", "")
	require.Equal(t, uint32(4), w.replies[len(w.replies)-1].GetId())
	require.Equal(t, uint32(700), e.GetRetryAfterMs())
	w.answer(muted, refused(clientv1.ErrorCode_ERROR_CODE_MUTED))
	w.expect() // once is enough
	require.LessOrEqual(t, len(w.core.signals), signalsKept)
}
