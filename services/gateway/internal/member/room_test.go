package member

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// The order of checks is part of the protocol: the first that fails is the one that is told.
func TestOrderOfChecks(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 129)
	for frame, want := range map[string]string{
		`{`:                               "BAD_FRAME",
		`[]`:                              "BAD_FRAME",
		`{"id":1,"message":{"target":5}}`: "BAD_FRAME",
		`{"id":1,"ping":{},"pong":{}}`:    "BAD_FRAME",
		`{"message":{"target":"no room","sent_at":"yesterday"}}`: "BAD_FRAME",
		`{}`:                       "UNKNOWN_KIND",
		`{"dance":{}}`:             "UNKNOWN_KIND",
		`{"ack":{"target":"a b"}}`: "UNKNOWN_KIND",
		`{"session":{}}`:           "UNKNOWN_KIND",
		`{"message":{}}`:           "INVALID_ROOM",
		`{"message":{"target":"a b","message_id":"` + long + `"}}`:                          "INVALID_ROOM",
		`{"join_room":{"room_id":"` + long + `"}}`:                                          "INVALID_ROOM",
		`{"leave_room":{"room_id":"a/b"}}`:                                                  "INVALID_ROOM",
		`{"signal":{"target":"ä"}}`:                                                         "INVALID_ROOM",
		`{"presence":{}}`:                                                                   "INVALID_ROOM",
		`{"history":{"before_seq":"1","after_seq":"1"}}`:                                    "INVALID_ROOM",
		`{"history":{"room_id":"out","before_seq":"1","after_seq":"1"}}`:                    "INVALID_ARGUMENT",
		`{"history":{"room_id":"out","before_seq":"0"}}`:                                    "INVALID_ARGUMENT",
		`{"message":{"target":"out","message_id":"` + long + `"}}`:                          "INVALID_ARGUMENT",
		`{"join_room":{"room_id":"out","after_seq":"1","after_message_id":"` + long + `"}}`: "INVALID_ARGUMENT",
		`{"message":{"target":"out"}}`:                                                      "NOT_JOINED",
		`{"signal":{"target":"out"}}`:                                                       "NOT_JOINED",
		`{"history":{"room_id":"out"}}`:                                                     "NOT_JOINED",
		`{"presence":{"room_id":"out"}}`:                                                    "NOT_JOINED",
		`{"join_room":{"room_id":"three"}}`:                                                 "TOO_MANY_ROOMS",
	} {
		w := newWorld(t, Config{MaxRooms: 2})
		w.open()
		w.join("one")
		w.join("two")
		before := len(w.sent)
		cmd := w.client("%s", frame)
		fresh := w.replies[w.taken:]
		require.Len(t, fresh, 1, frame)
		require.Equal(t, want, fresh[0].GetError().GetCode(), frame)
		require.False(t, fresh[0].GetError().GetRetryable(), frame)
		require.Equal(t, []string{want}, w.done[cmd], frame)
		require.Len(t, w.sent, before, frame)
		require.Zero(t, w.window, frame)
		w.taken = len(w.replies)
		w.client(`{"id":1,"ping":{}}`)
		w.expect(`{"id":1,"pong":{}}`)
	}
}

func TestErrorsTellWhatTheyAreAbout(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.open()
	w.client(`{"id":7,"message":{"target":"out","message_id":"m1"}}`)
	w.expectError("NOT_JOINED", "out", "m1")
	require.Equal(t, uint32(7), w.replies[w.taken-1].GetId())
	w.client(`{"id":8,"message":{"target":"a b","message_id":"m2"}}`)
	w.expectError("INVALID_ROOM", "a b", "m2")
	require.Equal(t, uint32(8), w.replies[w.taken-1].GetId())
	w.client(`{"id":9,"message":{"target":%q}}`, strings.Repeat("r", 5000))
	w.expectError("INVALID_ROOM", "", "")
}

func TestJoinSavesFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.open()
	w.client(`{"id":5,"join_room":{"room_id":"a","after_seq":"0"}}`)
	require.Empty(t, w.sent)
	require.Equal(t, [][]string{{"a"}}, w.saved)
	w.save(nil)
	j := w.last().frame.GetJoin()
	require.NotNil(t, j.GetCursor())
	require.Zero(t, j.GetCursor().GetAfterSeq(), "after_seq 0 is from the oldest, not from the head")
	w.answer(w.last(), &roomv1.Joined{Head: 3, Recovered: true, Incarnation: 1, Epoch: 4})
	w.expect(`{"id":5,"room_joined":{"room_id":"a","seq":"3","recovered":true,"incarnation":"1"}}`)
	require.Equal(t, "rooms-1", w.attached["a"].Node)
	require.Equal(t, uint64(4), w.attached["a"].Epoch)
}

func TestJoinThatCannotBeSaved(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.open()
	w.client(`{"join_room":{"room_id":"a"}}`)
	w.client(`{"message":{"target":"a","message_id":"m"}}`)
	w.save(errors.New("disk on fire"))
	w.expect("*", "*")
	require.Equal(t, "UNAVAILABLE", w.replies[1].GetError().GetCode())
	require.True(t, w.replies[1].GetError().GetRetryable())
	require.NotContains(t, w.replies[1].GetError().GetMessage(), "fire", "what failed inside is not the client's")
	require.Equal(t, "NOT_JOINED", w.replies[2].GetError().GetCode())
	require.Empty(t, w.saves, "it is not tried again by itself")
	w.join("a")
	require.Equal(t, []string{"a"}, w.saved[1])
}

// A room may have let in a member whose connection gave up waiting. It is told to let it out again, or the member would be
// in it for as long as the session lives.
func TestJoinThatTimesOutIsTakenBack(t *testing.T) {
	t.Parallel()
	leaves := func(w *world) (n int) {
		for _, s := range w.sent {
			if s.frame.GetLeave() != nil {
				n++
			}
		}
		return n
	}
	w := newWorld(t, Config{})
	w.open()
	w.client(`{"join_room":{"room_id":"a"}}`)
	w.save(nil)
	join := w.last()
	w.pass(5 * time.Second)
	w.expectError("UNAVAILABLE", "a", "")
	leave := w.last().frame
	require.Greater(t, leave.GetLeave().GetOperation(), join.frame.GetJoin().GetOperation())
	require.Equal(t, "session", leave.GetLeave().GetSessionId())
	require.Equal(t, "calm-otter", leave.GetLeave().GetMemberId())
	require.Equal(t, "a", leave.GetRoomId())
	require.Zero(t, leave.GetRequest(), "nobody waits for its answer")
	w.answer(w.last(), &roomv1.Left{})
	w.answer(join, &roomv1.Joined{Head: 4, Cursor: 4}) // late
	w.expect()
	require.True(t, w.core.Idle())
	require.Equal(t, 1, leaves(w))

	// That one may be lost; whoever leaves makes sure.
	w.client(`{"id":1,"leave_room":{"room_id":"a"}}`)
	require.Equal(t, 2, leaves(w))
	w.save(nil)
	w.expect(`{"id":1,"room_left":{"room_id":"a"}}`)
	w.client(`{"id":2,"leave_room":{"room_id":"a"}}`)
	w.expect(`{"id":2,"room_left":{"room_id":"a"}}`)
	require.Equal(t, 2, leaves(w), "by now it is certain")

	// A join that comes back later is newer than all of that.
	w.client(`{"join_room":{"room_id":"a"}}`)
	w.save(nil)
	require.Greater(t, w.last().frame.GetJoin().GetOperation(), leave.GetLeave().GetOperation()+1)

	// What never left this node needs no taking back; neither does the stream of a room that is joined.
	w.answer(w.last(), &roomv1.Joined{Head: 4, Cursor: 4})
	w.expect("*")
	w.client(`{"join_room":{"room_id":"a","after_seq":"1"}}`)
	w.pass(5 * time.Second)
	w.expectError("UNAVAILABLE", "a", "")
	w.down["rooms-1"], w.down["rooms-2"] = true, true
	w.client(`{"join_room":{"room_id":"b"}}`)
	w.save(nil)
	w.pass(5 * time.Second)
	w.expectError("UNAVAILABLE", "b", "")
	require.Equal(t, 2, leaves(w))
}

func TestJoiningAJoinedRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.open()
	w.join("a")
	asked := len(w.sent)
	w.client(`{"id":2,"join_room":{"room_id":"a"}}`)
	w.expect(`{"id":2,"room_joined":{"room_id":"a","seq":"7"}}`)
	require.Len(t, w.sent, asked, "without after_seq nothing changes")

	w.client(`{"id":3,"join_room":{"room_id":"a","after_seq":"2"}}`)
	w.answer(w.last(), &roomv1.Joined{Head: 9, Cursor: 2, Recovered: true})
	w.expect(`{"id":3,"room_joined":{"room_id":"a","seq":"9","recovered":true}}`)
	require.Equal(t, uint64(2), w.attached["a"].Cursor)

	w.client(`{"id":4,"join_room":{"room_id":"a","after_seq":"2"}}`)
	w.answer(w.last(), refused(clientv1.ErrorCode_ERROR_CODE_BUSY))
	w.expectError("BUSY", "a", "")
	w.client(`{"message":{"target":"a","message_id":"m"}}`)
	w.stored(w.last(), 10)
	w.expect(`{"ack":{"target":"a","message_id":"m","seq":"10"}}`)
}

// A client may send everything at once: each frame waits for what it needs.
func TestPipelining(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.open()
	w.client(`{"id":1,"join_room":{"room_id":"a"}}`)
	w.client(`{"id":2,"message":{"target":"a","message_id":"m1"}}`)
	w.client(`{"id":3,"message":{"target":"a","message_id":"m2"}}`)
	w.client(`{"id":4,"leave_room":{"room_id":"a"}}`)
	w.client(`{"id":5,"message":{"target":"a","message_id":"m3"}}`)
	w.client(`{"id":6,"join_room":{"room_id":"a"}}`)
	w.expect()
	w.save(nil)
	w.answer(w.last(), &roomv1.Joined{})
	w.expect(`{"id":1,"room_joined":{"room_id":"a"}}`)
	require.Len(t, w.last().frame.GetPublish().GetDrafts(), 2)
	w.stored(w.last(), 1)
	w.expect(`{"id":2,"ack":{"target":"a","message_id":"m1","seq":"1"}}`, `{"id":3,"ack":{"target":"a","message_id":"m2","seq":"2"}}`)
	require.NotNil(t, w.last().frame.GetLeave())
	w.answer(w.last(), &roomv1.Left{})
	w.expect()
	require.Equal(t, []string{}, w.saved[1])
	w.save(nil)
	require.Equal(t, []string{"a"}, w.detached)
	w.expect(`{"id":4,"room_left":{"room_id":"a"}}`, "*")
	require.Equal(t, "NOT_JOINED", w.replies[w.taken-1].GetError().GetCode())
	w.save(nil)
	require.NotNil(t, w.last().frame.GetJoin())
	w.answer(w.last(), &roomv1.Joined{})
	w.expect(`{"id":6,"room_joined":{"room_id":"a"}}`)
}

func TestLeaving(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.open()
	w.client(`{"id":1,"leave_room":{"room_id":"never"}}`)
	w.expect(`{"id":1,"room_left":{"room_id":"never"}}`)

	w.join("a")
	w.client(`{"leave_room":{"room_id":"a"}}`)
	op := w.last().frame.GetLeave().GetOperation()
	require.Equal(t, uint64(3)<<32|2, op)
	w.answer(w.last(), &roomv1.Left{})
	w.save(errors.New("away"))
	w.expectError("UNAVAILABLE", "a", "")
	require.Equal(t, []string{"a"}, w.detached)
	w.client(`{"id":2,"leave_room":{"room_id":"a"}}`)
	w.expect()
	require.Equal(t, []string{}, w.saved[len(w.saved)-1], "the row still lists it, so it is saved again")
	w.save(nil)
	w.expect(`{"id":2,"room_left":{"room_id":"a"}}`)
	w.client(`{"id":3,"leave_room":{"room_id":"a"}}`)
	w.expect(`{"id":3,"room_left":{"room_id":"a"}}`)
	require.Zero(t, w.core.rooms.Len())
}

func TestLeaveOfARoomThatForgot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.open()
	w.join("a")
	w.client(`{"leave_room":{"room_id":"a"}}`)
	w.answer(w.last(), refused(clientv1.ErrorCode_ERROR_CODE_NOT_JOINED))
	w.save(nil)
	w.expect(`{"room_left":{"room_id":"a"}}`)
}

func TestSignals(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.open()
	w.join("a")
	w.client(`{"signal":{"target":"a","type":"typing","content":"1","sender":"somebody else"}}`)
	w.expect()
	s := w.last().frame
	require.Equal(t, "calm-otter", s.GetSignal().GetMemberId())
	w.down["rooms-1"], w.down["rooms-2"] = true, true
	w.client(`{"id":3,"signal":{"target":"a","type":"typing"}}`)
	w.expectError("UNAVAILABLE", "a", "")
}

func TestHistoryPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.open()
	w.join("a")
	for frame, want := range map[string]string{
		`{"history":{"room_id":"a"}}`:                                `{"limit":50,"maxBytes":1048576,"memberId":"calm-otter"}`,
		`{"history":{"room_id":"a","limit":7,"before_seq":"9"}}`:     `{"limit":7,"beforeSeq":"9","maxBytes":1048576,"memberId":"calm-otter"}`,
		`{"history":{"room_id":"a","limit":100000,"after_seq":"0"}}`: `{"limit":500,"afterSeq":"0","maxBytes":1048576,"memberId":"calm-otter"}`,
	} {
		w.client("%s", frame)
		require.JSONEq(t, want, jsonOf(w.last().frame.GetRead()), frame)
		w.answer(w.last(), &roomv1.Page{More: true, Messages: []*roomv1.Message{{Seq: 4, PrevSeq: 2, Sender: "s", Content: "c", MessageId: "m"}}})
		w.expect(`{"history_page":{"room_id":"a","more":true,"messages":[{"target":"a","content":"c","message_id":"m","sender":"s","seq":"4","prev_seq":"2"}]}}`)
	}
}

// Pages are asked for one after the other, and only when the client has read the last.
func TestPagesArePaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.open()
	w.join("a")
	w.noRoom = true
	asked := len(w.sent)
	for i := range 3 {
		w.client(`{"id":%d,"history":{"room_id":"a"}}`, i+1)
	}
	w.client(`{"id":4,"presence":{"room_id":"a"}}`)
	require.Len(t, w.sent, asked)
	require.Equal(t, 400, w.window, "what waits is counted against the client")
	w.pass(20 * time.Second) // however long it does not read
	w.expect()
	w.noRoom = false
	w.core.Drained(w.now)
	for i := range 3 {
		require.Len(t, w.sent, asked+i+1)
		w.answer(w.last(), &roomv1.Page{})
		w.expect(fmt.Sprintf(`{"id":%d,"history_page":{"room_id":"a"}}`, i+1))
	}
	w.answer(w.last(), &roomv1.PresenceList{Count: 2, Members: []*roomv1.Present{{MemberId: "x", Connections: 1}}})
	w.expect(`{"id":4,"presence_state":{"room_id":"a","count":2,"members":[{"member_id":"x","connections":1}]}}`)
	require.Zero(t, w.window)
}
