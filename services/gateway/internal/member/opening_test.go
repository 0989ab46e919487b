package member

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

const sessionJSON = `{"session":{"token":"token","member_id":"calm-otter","node":"gateway-1","dc":"local","expires_at":"2023-11-14T23:13:20Z"}}`

func TestSilenceOpensASession(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.core.Silence(w.now)
	require.Equal(t, []string{""}, w.opens)
	w.expect()
	w.opened()
	w.expect(sessionJSON)
}

func TestAnyFirstFrameOpensASessionAndIsHandled(t *testing.T) {
	t.Parallel()
	for frame, want := range map[string]string{
		`{"id":4,"ping":{}}`: `{"id":4,"pong":{}}`,
		`nonsense`:           "*",
		`{"id":9}`:           "*",
	} {
		w := newWorld(t, Config{})
		cmd := w.client("%s", frame)
		w.client(`{"id":5,"ping":{}}`) // what comes meanwhile waits
		w.core.Silence(w.now)          // came too late
		require.Equal(t, []string{""}, w.opens)
		w.expect()
		w.opened()
		w.expect(sessionJSON, want, `{"id":5,"pong":{}}`)
		require.Len(t, w.done[cmd], 1)
		require.Zero(t, w.window)
	}
}

func TestHelloResumes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.client(`{"id":2,"hello":{"session_token":"old","rooms":[{"room_id":"b","after_seq":"5","after_message_id":"m5","incarnation":"9"},{"room_id":"d"}]}}`)
	require.Equal(t, []string{"old"}, w.opens)
	w.opened("a", "b")
	w.expect(`{"id":2,"session":{"token":"token","member_id":"calm-otter","rooms":["a","b","d"],"resumed":true,"node":"gateway-1","dc":"local","expires_at":"2023-11-14T23:13:20Z"}}`)

	// The session lists a and b already; d is saved before it is joined.
	require.Len(t, w.sent, 2)
	join := w.sent[0].frame.GetJoin()
	require.Equal(t, "b", w.sent[0].frame.GetRoomId())
	require.Equal(t, uint64(5), join.GetCursor().GetAfterSeq())
	require.Equal(t, "m5", join.GetCursor().GetAfterMessageId())
	require.Equal(t, uint64(9), join.GetCursor().GetIncarnation())
	require.Equal(t, "session", join.GetSessionId())
	require.Equal(t, uint64(3)<<32|1, join.GetOperation())
	require.Equal(t, "a", w.sent[1].frame.GetRoomId())
	require.Nil(t, w.sent[1].frame.GetJoin().GetCursor(), "rooms not named in hello start at the head")
	require.Greater(t, w.sent[1].frame.GetJoin().GetOperation(), join.GetOperation())
	require.Equal(t, [][]string{{"a", "b", "d"}}, w.saved)
	w.save(nil)
	require.Len(t, w.sent, 3)
	require.Equal(t, "d", w.sent[2].frame.GetRoomId())

	w.answer(w.sent[0], &roomv1.Joined{Head: 8, Cursor: 5, Recovered: true, Incarnation: 9, Epoch: 2})
	w.expect(`{"room_joined":{"room_id":"b","seq":"8","recovered":true,"incarnation":"9"}}`)
	require.Equal(t, uint64(5), w.attached["b"].Cursor)
	w.answer(w.sent[1], &roomv1.Joined{Head: 30, Cursor: 20, ResetReason: int32(clientv1.ResetReason_RESET_REASON_TRIMMED)})
	w.expect(`{"room_joined":{"room_id":"a","seq":"30"}}`, `{"reset":{"room_id":"a","seq":"20","reason":"trimmed"}}`)
	w.answer(w.sent[2], refused(clientv1.ErrorCode_ERROR_CODE_BANNED))
	w.expectError("BANNED", "d", "")
	require.Equal(t, []string{"a", "b"}, w.saved[1], "a room that refuses for good is taken out of the session")
}

func TestHelloWithUnusableRooms(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{MaxRooms: 3})
	w.client(`{"hello":{"rooms":[{"room_id":"no room"},{"room_id":"a"},{"room_id":"a","after_seq":"1"},{"room_id":"b","after_message_id":%q},{"room_id":"c"},{"room_id":"d"},{"room_id":"e"}]}}`, strings.Repeat("x", 129))
	w.opened("f")
	w.expect("*", "*", "*", "*", "*")
	var got []string
	for _, env := range w.replies[1:] {
		got = append(got, env.GetError().GetRoomId()+" "+env.GetError().GetCode())
	}
	require.Equal(t, []string{"no room INVALID_ROOM", "b INVALID_ARGUMENT", "e TOO_MANY_ROOMS", "f TOO_MANY_ROOMS"}, got)
	require.Equal(t, []string{"a", "c", "d"}, w.replies[0].GetSession().GetRooms())
	require.Equal(t, [][]string{{"a", "c", "d"}}, w.saved)
	require.Len(t, w.sent, 1)
	require.Equal(t, "f", w.last().frame.GetRoomId())
	leave := w.last().frame.GetLeave()
	w.save(nil)
	require.Len(t, w.sent, 4, "each room once")
	require.Greater(t, w.last().frame.GetJoin().GetOperation(), leave.GetOperation())
}

// Each room of the session and of hello gets exactly one answer, also those that there is no place for.
func TestResumeOfMoreRoomsThanAllowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	rooms := make([]string, 100)
	for i := range rooms {
		rooms[i] = fmt.Sprintf(`{"room_id":"new-%02d"}`, i)
	}
	w.client(`{"hello":{"session_token":"old","rooms":[%s]}}`, strings.Join(rooms, ","))
	w.opened("old-1")
	require.Len(t, w.replies[0].GetSession().GetRooms(), 100)
	w.taken = 1
	e := w.expectError("TOO_MANY_ROOMS", "old-1", "")
	require.False(t, e.GetRetryable())
	require.NotContains(t, w.saved[0], "old-1")
	require.Len(t, w.saved[0], 100)
	require.NotNil(t, w.last().frame.GetLeave(), "the room knows the member of the connection before")
	require.Equal(t, "old-1", w.last().frame.GetRoomId())
	w.save(nil)
	require.Len(t, w.sent, 101)
}

// A room whose cursor cannot be used is answered with that, and not joined from the head as well.
func TestResumeWithABadCursorOfAListedRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.client(`{"hello":{"session_token":"old","rooms":[{"room_id":"a","after_message_id":%q},{"room_id":"a"}]}}`, strings.Repeat("x", 129))
	w.opened("a", "b")
	w.taken = 1
	w.expectError("INVALID_ARGUMENT", "a", "")
	require.Equal(t, []string{"b"}, w.replies[0].GetSession().GetRooms())
	require.Equal(t, "b", w.last().frame.GetRoomId())
	require.Equal(t, [][]string{{"b"}}, w.saved)
}

// A new member's resent messages would be new messages, so a store that cannot be asked is no reason for a new session.
func TestStoreThatCannotBeAskedCloses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.client(`{"hello":{"session_token":"old"}}`)
	w.core.SessionOpened(w.now, Opened{Err: persistence.ErrUnavailable})
	require.Equal(t, clientv1.CloseCode_CLOSE_CODE_INTERNAL, w.closed)
	w.expect()
	w.client(`{"ping":{}}`)
	w.core.Stop()
	require.Zero(t, w.window)
}

func TestLateHello(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.open()
	w.client(`{"id":3,"hello":{}}`)
	e := w.expectError("HELLO_LATE", "", "")
	require.False(t, e.GetRetryable())
	require.Equal(t, uint32(3), w.replies[w.taken-1].GetId())
	w.client(`{"id":4,"ping":{}}`)
	w.expect(`{"id":4,"pong":{}}`)
}

func TestReplacedSession(t *testing.T) {
	t.Parallel()
	for name, replace := range map[string]func(w *world){
		"by this node":    func(w *world) { w.core.Replaced() },
		"by another node": func(w *world) { w.client(`{"join_room":{"room_id":"a"}}`); w.save(persistence.ErrSessionReplaced) },
	} {
		w := newWorld(t, Config{})
		w.open()
		replace(w)
		require.Equal(t, clientv1.CloseCode_CLOSE_CODE_SESSION_REPLACED, w.closed, name)
		w.pass(6e9)
		w.core.Stop()
		require.Zero(t, w.window, name)
	}
}

func TestSessionThatVanished(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.open()
	w.client(`{"join_room":{"room_id":"a"}}`)
	w.save(fmt.Errorf("save: %w", persistence.ErrSessionUnknown))
	require.Equal(t, clientv1.CloseCode_CLOSE_CODE_INTERNAL, w.closed)
}

func TestStopLetsEverythingGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.open()
	w.join("a")
	w.join("b")
	var cmds []*Command
	for range 3 {
		cmds = append(cmds, w.client(`{"message":{"target":"a","content":"x"}}`))
	}
	w.noRoom = true
	cmds = append(cmds,
		w.client(`{"history":{"room_id":"b"}}`),
		w.client(`{"join_room":{"room_id":"c"}}`),
		w.client(`{"message":{"target":"c"}}`),
		w.client(`{"leave_room":{"room_id":"b"}}`))
	asked := len(w.sent)
	w.core.Stop()
	require.ElementsMatch(t, []string{"a", "b"}, w.detached)
	for _, cmd := range cmds {
		require.Equal(t, []string{outcomeClosed}, w.done[cmd], jsonOf(cmd.Env))
	}
	require.Zero(t, w.window)
	for _, s := range w.sent { // late answers and ticks find nothing
		w.stored(s, 1)
	}
	w.save(errors.New("late"))
	w.pass(6e9)
	require.Len(t, w.sent, asked, "nothing more is sent for a connection that is gone")
}

func TestDrain(t *testing.T) {
	t.Parallel()
	t.Run("idle", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, Config{})
		w.open()
		w.core.Drain(w.now, 1500)
		w.expect(`{"reconnect":{"after_ms":1500,"reason":"DRAIN"}}`)
		w.client(`{"id":1,"ping":{}}`)
		w.expect(`{"id":1,"pong":{}}`) // it is served until it should be gone
		w.pass(1400e6)
		require.Zero(t, w.closed)
		w.pass(100e6)
		require.Equal(t, clientv1.CloseCode_CLOSE_CODE_DRAIN, w.closed)
	})
	t.Run("publish in flight", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, Config{})
		w.open()
		w.join("a")
		w.client(`{"message":{"target":"a","message_id":"m"}}`)
		w.core.Drain(w.now, 10)
		w.core.Drain(w.now, 10)
		w.expect(`{"reconnect":{"after_ms":10,"reason":"DRAIN"}}`)
		w.pass(4e9)
		require.Zero(t, w.closed)
		late := w.client(`{"message":{"target":"a","message_id":"n"}}`)
		require.Equal(t, []string{outcomeClosed}, w.done[late], "what comes now would keep it here for ever")
		w.stored(w.last(), 8)
		w.expect(`{"ack":{"target":"a","message_id":"m","seq":"8"}}`)
		require.Equal(t, clientv1.CloseCode_CLOSE_CODE_DRAIN, w.closed)
	})
	t.Run("publish that is not answered in time", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, Config{})
		w.open()
		w.join("a")
		w.client(`{"message":{"target":"a","message_id":"m"}}`)
		w.core.Drain(w.now, 10)
		w.expect(`{"reconnect":{"after_ms":10,"reason":"DRAIN"}}`)
		w.pass(4700e6)
		w.expectError("UNKNOWN_OUTCOME", "a", "m") // L1 holds for it too
		require.Equal(t, clientv1.CloseCode_CLOSE_CODE_DRAIN, w.closed)
	})
	t.Run("a page that the client has no room for", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, Config{})
		w.open()
		w.join("a")
		w.noRoom = true
		w.client(`{"history":{"room_id":"a"}}`)
		w.core.Drain(w.now, 10)
		w.pass(4900e6)
		require.Zero(t, w.closed)
		w.pass(200e6)
		require.Equal(t, clientv1.CloseCode_CLOSE_CODE_DRAIN, w.closed)
	})
	t.Run("before the session is open", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, Config{})
		w.core.Drain(w.now, 10)
		require.Equal(t, clientv1.CloseCode_CLOSE_CODE_DRAIN, w.closed)
		w.core.Silence(w.now)
		require.Empty(t, w.opens)
	})
}
