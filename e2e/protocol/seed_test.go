package protocol

import (
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/wire"
)

// The frames that any WebSocket client may type by hand.
func TestSeedFramesVerbatim(t *testing.T) {
	onEachJournal(t, func(t *testing.T, endpoint string) {
		alice, bob := wire.MustDial(t, endpoint), wire.MustDial(t, endpoint)

		// Silence opens a session: the first frame of each connection is the server's session.
		session := bob.Expect("session")
		require.Equal(t, "session", bob.Frames()[0].Kind)
		require.NotEmpty(t, session.String("token"))
		require.NotEmpty(t, session.String("member_id"))
		require.NotEmpty(t, session.String("node"))
		require.NotEmpty(t, session.String("dc"))
		require.False(t, session.Bool("resumed"))
		expires, err := time.Parse(time.RFC3339, session.String("expires_at"))
		require.NoError(t, err)
		require.Greater(t, time.Until(expires), time.Minute)

		// Any other first frame does too, and is then handled.
		alice.Send(`{"join_room":{"room_id":"room-1"}}`)
		joined := alice.Expect("room_joined")
		require.Equal(t, "session", alice.Frames()[0].Kind)
		require.Equal(t, "room-1", joined.String("room_id"))
		bob.Send(`{"join_room":{"room_id":"room-1"}}`)
		bob.Expect("room_joined")

		alice.Send(`{"message":{"target":"room-1","content":"hello"}}`)
		ack := alice.Expect("ack")
		require.Equal(t, "room-1", ack.String("target"))
		require.Greater(t, ack.Uint("seq"), joined.Uint("seq"))
		require.Regexp(t, regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`), ack.String("message_id"),
			"a missing message_id is filled in with a UUIDv7")

		got := bob.Expect("message")
		require.Equal(t, "hello", got.String("content"))
		require.Equal(t, "room-1", got.String("target"))
		require.Equal(t, ack.Uint("seq"), got.Uint("seq"))
		require.Equal(t, ack.String("message_id"), got.String("message_id"))
		require.Equal(t, alice.Frames()[0].String("member_id"), got.String("sender"))
		sent, err := time.Parse(time.RFC3339, got.String("sent_at"))
		require.NoError(t, err, "a missing sent_at is filled in")
		require.WithinDuration(t, time.Now(), sent, time.Minute)

		alice.Send(`{"leave_room":{"room_id":"room-1"}}`)
		require.Equal(t, "room-1", alice.Expect("room_left").String("room_id"))
		alice.Send(`{"leave_room":{"room_id":"never-joined"}}`)
		require.Equal(t, "never-joined", alice.Expect("room_left").String("room_id"), "leaving a room not joined is answered too")
		alice.Send(`{"message":{"target":"room-1","content":"after leaving"}}`)
		require.Equal(t, "NOT_JOINED", alice.Expect("error").String("code"))
	})
}

func TestOwnMessageComesInOrderWithTheOthers(t *testing.T) {
	onEachJournal(t, func(t *testing.T, endpoint string) {
		room := newRoom()
		alice, bob := join(t, endpoint, room), join(t, endpoint, room)
		const each = 50
		for i := range each {
			alice.Sendf(`{"message":{"target":%q,"content":"a%d"}}`, room, i)
			bob.Sendf(`{"message":{"target":%q,"content":"b%d"}}`, room, i)
		}
		streams := make([][]wire.Frame, 2)
		for i, conn := range []*wire.Conn{alice, bob} {
			for range 2 * each {
				streams[i] = append(streams[i], conn.Expect("message"))
			}
		}
		var cursor uint64
		next := map[byte]int{'a': 0, 'b': 0}
		for i, got := range streams[0] {
			require.Equal(t, streams[1][i].Text, got.Text, "both receive the same stream (S2, S5)")
			require.Equal(t, cursor, got.Uint("prev_seq"), "prev_seq chains the messages (S5)")
			require.Greater(t, got.Uint("seq"), cursor)
			cursor = got.Uint("seq")
			content := got.String("content")
			require.Equal(t, fmt.Sprintf("%c%d", content[0], next[content[0]]), content, "a connection's order is kept (S4)")
			next[content[0]]++
		}
	})
}

func TestTraceContextIsCarriedThrough(t *testing.T) {
	onEachJournal(t, func(t *testing.T, endpoint string) {
		room := newRoom()
		alice, bob := join(t, endpoint, room), join(t, endpoint, room)
		const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		alice.Sendf(`{"message":{"target":%q,"content":"x","traceparent":%q,"tracestate":"vendor=1"}}`, room, parent)
		got := bob.Expect("message")
		require.Equal(t, parent, got.String("traceparent"))
		require.Equal(t, "vendor=1", got.String("tracestate"))
	})
}

func TestFieldsOfTheServerAreNeverTakenFromAClient(t *testing.T) {
	onEachJournal(t, func(t *testing.T, endpoint string) {
		room := newRoom()
		alice := join(t, endpoint, room)
		alice.Sendf(`{"message":{"target":%q,"content":"x","sender":"the-boss","seq":"99","prev_seq":98}}`, room)
		got := alice.Expect("message")
		require.Equal(t, alice.Frames()[0].String("member_id"), got.String("sender"))
		require.Less(t, got.Uint("seq"), uint64(99))
		require.Zero(t, got.Uint("prev_seq"))
	})
}

// S3: the same member, room and message_id is one message.
func TestMessageIDIsIdempotent(t *testing.T) {
	onEachJournal(t, func(t *testing.T, endpoint string) {
		room := newRoom()
		alice, bob := join(t, endpoint, room), join(t, endpoint, room)
		publish := func(c *wire.Conn, content string) wire.Frame {
			c.Sendf(`{"message":{"target":%q,"content":%q,"message_id":"same"}}`, room, content)
			return c.Expect("ack")
		}
		first := publish(alice, "one")
		again := publish(alice, "two")
		require.Equal(t, first.Uint("seq"), again.Uint("seq"))
		require.True(t, again.Bool("duplicate"))
		require.False(t, first.Bool("duplicate"))
		other := publish(bob, "three")
		require.Greater(t, other.Uint("seq"), first.Uint("seq"), "another member's message of that id is another message")
		for _, content := range []string{"one", "three"} {
			bob.Await("message", func(f wire.Frame) bool { return f.String("content") == content })
		}
		for _, f := range bob.Frames() {
			require.NotEqual(t, "two", f.String("content"))
		}
	})
}

func TestIDIsEchoedInAnswers(t *testing.T) {
	onEachJournal(t, func(t *testing.T, endpoint string) {
		room := newRoom()
		c := wire.MustDial(t, endpoint)
		c.Send(`{"id":1,"hello":{}}`)
		require.Equal(t, uint32(1), c.Expect("session").ID)
		c.Sendf(`{"id":2,"join_room":{"room_id":%q}}`, room)
		require.Equal(t, uint32(2), c.Expect("room_joined").ID)
		c.Sendf(`{"id":3,"message":{"target":%q,"content":"x"}}`, room)
		require.Equal(t, uint32(3), c.Expect("ack").ID)
		c.Sendf(`{"id":4,"history":{"room_id":%q}}`, room)
		require.Equal(t, uint32(4), c.Expect("history_page").ID)
		c.Sendf(`{"id":5,"presence":{"room_id":%q}}`, room)
		require.Equal(t, uint32(5), c.Expect("presence_state").ID)
		c.Send(`{"id":6,"ping":{}}`)
		require.Equal(t, uint32(6), c.Expect("pong").ID)
		c.Sendf(`{"id":7,"leave_room":{"room_id":%q}}`, room)
		require.Equal(t, uint32(7), c.Expect("room_left").ID)
		c.Send(`{"id":8,"hello":{}}`)
		late := c.Expect("error")
		require.Equal(t, uint32(8), late.ID)
		require.Equal(t, "HELLO_LATE", late.String("code"))
		for _, f := range c.Frames() {
			if f.Kind == "message" {
				require.Zero(t, f.ID)
			}
		}
	})
}

func TestSignalsReachOthersAndAreNotStored(t *testing.T) {
	onEachJournal(t, func(t *testing.T, endpoint string) {
		room := newRoom()
		alice, bob := join(t, endpoint, room), join(t, endpoint, room)
		alice.Sendf(`{"signal":{"target":%q,"type":"typing","content":"…"}}`, room)
		got := bob.Expect("signal")
		require.Equal(t, "typing", got.String("type"))
		require.Equal(t, "…", got.String("content"))
		require.Equal(t, alice.Frames()[0].String("member_id"), got.String("sender"))

		alice.Sendf(`{"message":{"target":%q,"content":"after"}}`, room)
		require.Zero(t, bob.Expect("message").Uint("prev_seq"), "a signal takes no place in the chain")
		alice.Expect("message")
		for _, f := range alice.Frames() {
			require.NotEqual(t, "signal", f.Kind, "the sender gets no copy")
		}
	})
}

func TestPresenceListsWhoIsOnline(t *testing.T) {
	onEachJournal(t, func(t *testing.T, endpoint string) {
		room := newRoom()
		alice, bob := join(t, endpoint, room), join(t, endpoint, room)
		names := []string{alice.Frames()[0].String("member_id"), bob.Frames()[0].String("member_id")}
		require.ElementsMatch(t, names, presentMembers(t, alice, room, 2))
		bob.Close()
		require.Equal(t, names[:1], presentMembers(t, alice, room, 1))
	})
}

// presentMembers asks until the count is as wanted; presence may lag 5 s behind.
func presentMembers(t *testing.T, c *wire.Conn, room string, want int) []string {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; {
		c.Sendf(`{"presence":{"room_id":%q}}`, room)
		state := c.Expect("presence_state")
		members, _ := state.Body["members"].([]any)
		if count, _ := state.Body["count"].(float64); int(count) == want {
			var names []string
			for _, m := range members {
				member, ok := m.(map[string]any)
				require.True(t, ok)
				require.InDelta(t, 1, member["connections"], 0)
				names = append(names, fmt.Sprint(member["member_id"]))
			}
			return names
		}
		require.True(t, time.Now().Before(deadline), "presence did not become %d within 5 s: %s", want, state.Text)
	}
}
