package protocol

import (
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/wire"
)

func TestSessionResumesWithItsRoomsAndMember(t *testing.T) {
	onEachJournal(t, func(t *testing.T, endpoint string) {
		room, other := newRoom(), newRoom()
		c := join(t, endpoint, room)
		opened := c.Frames()[0]
		c.Sendf(`{"join_room":{"room_id":%q}}`, other)
		c.Expect("room_joined")
		c.Sendf(`{"message":{"target":%q,"content":"before"}}`, room)
		seen := c.Expect("message")
		c.Close()

		writer := join(t, endpoint, room)
		writer.Sendf(`{"message":{"target":%q,"content":"meanwhile"}}`, room)
		writer.Expect("ack")

		back := wire.MustDial(t, endpoint+"?hello=1")
		back.Sendf(`{"id":5,"hello":{"session_token":%q,"rooms":[{"room_id":%q,"after_seq":%q,"after_message_id":%q}]}}`,
			opened.String("token"), room, seen.String("seq"), seen.String("message_id"))
		session := back.Expect("session")
		require.Equal(t, uint32(5), session.ID)
		require.True(t, session.Bool("resumed"))
		require.Equal(t, opened.String("member_id"), session.String("member_id"))
		require.NotEqual(t, opened.String("token"), session.String("token"), "the token rotates")
		require.ElementsMatch(t, []any{room, other}, session.Body["rooms"])
		for range 2 {
			require.Zero(t, back.Expect("room_joined").ID, "room_joined after hello carries no id")
		}
		got := back.Await("message", func(wire.Frame) bool { return true })
		require.Equal(t, "meanwhile", got.String("content"))
		require.Equal(t, seen.Uint("seq"), got.Uint("prev_seq"))

		// Dedupe follows the member: an unanswered publish of the old connection is resent by the new one (S3).
		back.Sendf(`{"message":{"target":%q,"content":"before","message_id":%q}}`, room, seen.String("message_id"))
		ack := back.Expect("ack")
		require.True(t, ack.Bool("duplicate"))
		require.Equal(t, seen.Uint("seq"), ack.Uint("seq"))
	})
}

func TestLostAnswerStrandsNobodyAndASpentTokenOpensNothing(t *testing.T) {
	onEachJournal(t, func(t *testing.T, endpoint string) {
		first := wire.MustDial(t, endpoint)
		opened := first.Expect("session")
		first.Close()
		resume := func(token string) (*wire.Conn, wire.Frame) {
			c := wire.MustDial(t, endpoint+"?hello=1")
			c.Sendf(`{"hello":{"session_token":%q}}`, token)
			return c, c.Expect("session")
		}
		lost, second := resume(opened.String("token")) // its answer is taken for lost
		lost.Close()
		again, third := resume(opened.String("token"))
		require.True(t, third.Bool("resumed"), "the replaced token works until the newest is used")
		again.Close()
		fourth, session := resume(third.String("token"))
		require.True(t, session.Bool("resumed"))
		fourth.Close()
		for name, token := range map[string]string{
			"spent": opened.String("token"), "never used": second.String("token"), "forged": "AAAA" + third.String("token")[4:], "nonsense": "x",
		} {
			_, got := resume(token)
			require.False(t, got.Bool("resumed"), name)
			require.NotEqual(t, opened.String("member_id"), got.String("member_id"), name)
		}
	})
}

func TestResumeClosesTheOlderConnection(t *testing.T) {
	onEachJournal(t, func(t *testing.T, endpoint string) {
		older := wire.MustDial(t, endpoint)
		token := older.Expect("session").String("token")
		newer := wire.MustDial(t, endpoint+"?hello=1")
		newer.Sendf(`{"hello":{"session_token":%q}}`, token)
		require.True(t, newer.Expect("session").Bool("resumed"))
		code, _ := older.AwaitClose()
		require.Equal(t, websocket.StatusCode(4504), code)
		newer.Send(`{"ping":{}}`)
		newer.Expect("pong")
	})
}
