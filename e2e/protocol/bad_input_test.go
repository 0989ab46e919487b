package protocol

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/wire"
)

// Every kind of bad input is answered precisely; the connection works on, and so does a neighbour's.
func TestBadInputIsAnsweredAndHarmsNobody(t *testing.T) {
	onEachJournal(t, func(t *testing.T, endpoint string) {
		room := newRoom()
		long := strings.Repeat("x", 129)
		cases := []struct{ name, frame, code string }{
			{"not JSON", `hello`, "BAD_FRAME"},
			{"cut off", `{"message":{"target":"r"`, "BAD_FRAME"},
			{"not an object", `[1,2]`, "BAD_FRAME"},
			{"trailing text", `{"ping":{}} {}`, "BAD_FRAME"},
			{"two kinds", `{"ping":{},"join_room":{"room_id":"r"}}`, "BAD_FRAME"},
			{"wrong type", `{"join_room":{"room_id":7}}`, "BAD_FRAME"},
			{"body of the wrong type", `{"join_room":"r"}`, "BAD_FRAME"},
			{"unreadable time", fmt.Sprintf(`{"message":{"target":%q,"content":"x","sent_at":"yesterday"}}`, room), "BAD_FRAME"},
			{"negative seq", `{"history":{"room_id":"r","after_seq":"-1"}}`, "BAD_FRAME"},
			{"lone surrogate", `{"message":{"target":"r","content":"\ud800"}}`, "BAD_FRAME"},
			{"no kind", `{}`, "UNKNOWN_KIND"},
			{"only an id", `{"id":9}`, "UNKNOWN_KIND"},
			{"unknown kind", `{"teleport":{"room_id":"r"}}`, "UNKNOWN_KIND"},
			{"a server's kind", `{"ack":{"target":"r"}}`, "UNKNOWN_KIND"},
			{"a server's kind", `{"room_joined":{"room_id":"r"}}`, "UNKNOWN_KIND"},
			{"no room", `{"join_room":{}}`, "INVALID_ROOM"},
			{"room with a space", `{"join_room":{"room_id":"a b"}}`, "INVALID_ROOM"},
			{"room with a slash", `{"join_room":{"room_id":"a/b"}}`, "INVALID_ROOM"},
			{"room too long", fmt.Sprintf(`{"join_room":{"room_id":%q}}`, long), "INVALID_ROOM"},
			{"room of control characters", `{"join_room":{"room_id":"a\u0000b"}}`, "INVALID_ROOM"},
			{"message to no room", `{"message":{"content":"x"}}`, "INVALID_ROOM"},
			{"message_id too long", fmt.Sprintf(`{"message":{"target":%q,"content":"x","message_id":%q}}`, room, long), "INVALID_ARGUMENT"},
			{"both history bounds", fmt.Sprintf(`{"history":{"room_id":%q,"before_seq":"5","after_seq":"1"}}`, room), "INVALID_ARGUMENT"},
			{"history before 0", fmt.Sprintf(`{"history":{"room_id":%q,"before_seq":"0"}}`, room), "INVALID_ARGUMENT"},
			{"publish without joining", `{"message":{"target":"elsewhere","content":"x"}}`, "NOT_JOINED"},
			{"signal without joining", `{"signal":{"target":"elsewhere","type":"t"}}`, "NOT_JOINED"},
			{"history without joining", `{"history":{"room_id":"elsewhere"}}`, "NOT_JOINED"},
			{"presence without joining", `{"presence":{"room_id":"elsewhere"}}`, "NOT_JOINED"},
			{"second hello", `{"hello":{}}`, "HELLO_LATE"},
		}
		canary, c := join(t, endpoint, room), join(t, endpoint, room)
		for _, test := range cases {
			c.Send(test.frame)
			got := c.Expect("error")
			require.Equal(t, test.code, got.String("code"), "%s: %s", test.name, got.Text)
			require.NotEmpty(t, got.String("message"), test.name)
			require.False(t, got.Bool("retryable"), test.name)

			c.Sendf(`{"message":{"target":%q,"content":%q}}`, room, "after "+test.name)
			c.Expect("ack")
			require.Equal(t, "after "+test.name, canary.Expect("message").String("content"))
		}
	})
}

func TestErrorsNameWhatTheyAnswer(t *testing.T) {
	onEachJournal(t, func(t *testing.T, endpoint string) {
		c := join(t, endpoint, newRoom())
		c.Send(`{"id":41,"message":{"target":"elsewhere","content":"x","message_id":"m-1"}}`)
		got := c.Expect("error")
		require.Equal(t, uint32(41), got.ID)
		require.Equal(t, "elsewhere", got.String("room_id"))
		require.Equal(t, "m-1", got.String("message_id"))
		c.Send(`{"id":42,"join_room":{"room_id":7}}`)
		got = c.Expect("error")
		require.Equal(t, "BAD_FRAME", got.String("code"))
	})
}

func TestTooManyRooms(t *testing.T) {
	onEachJournal(t, func(t *testing.T, endpoint string) {
		c := wire.MustDial(t, endpoint)
		base := newRoom()
		for i := range 100 {
			c.Sendf(`{"join_room":{"room_id":"%s-%d"}}`, base, i)
		}
		for range 100 {
			c.Expect("room_joined")
		}
		c.Sendf(`{"join_room":{"room_id":"%s-100"}}`, base)
		require.Equal(t, "TOO_MANY_ROOMS", c.Expect("error").String("code"))
		c.Sendf(`{"leave_room":{"room_id":"%s-0"}}`, base)
		c.Expect("room_left")
		c.Sendf(`{"join_room":{"room_id":"%s-100"}}`, base)
		require.Equal(t, base+"-100", c.Expect("room_joined").String("room_id"))
	})
}

func TestBinaryFrameIsClosedWith1003(t *testing.T) {
	onEachJournal(t, func(t *testing.T, endpoint string) {
		canary := join(t, endpoint, newRoom())
		c := wire.MustDial(t, endpoint)
		c.Expect("session")
		c.SendBinary([]byte{1, 2, 3})
		code, _ := c.AwaitClose()
		require.Equal(t, websocket.StatusUnsupportedData, code)
		canary.Send(`{"ping":{}}`)
		canary.Expect("pong")
	})
}

func TestOversizeMessageIsClosedWith1009(t *testing.T) {
	onEachJournal(t, func(t *testing.T, endpoint string) {
		room := newRoom()
		canary := join(t, endpoint, room)
		c := join(t, endpoint, room)
		largest := strings.Repeat("x", 60<<10)
		c.Sendf(`{"message":{"target":%q,"content":%q}}`, room, largest)
		require.Equal(t, largest, canary.Expect("message").String("content"), "60 KiB fit")
		_ = c.TrySend(fmt.Sprintf(`{"message":{"target":%q,"content":%q}}`, room, strings.Repeat("x", 64<<10)))
		code, _ := c.AwaitClose()
		require.Equal(t, websocket.StatusMessageTooBig, code)
		canary.Send(`{"ping":{}}`)
		canary.Expect("pong")
	})
}

func TestSubprotocols(t *testing.T) {
	onEachJournal(t, func(t *testing.T, endpoint string) {
		c, err := wire.Dial(t, endpoint, &websocket.DialOptions{Subprotocols: []string{"parley.v1.json"}})
		require.NoError(t, err)
		c.Expect("session")
		_, err = wire.Dial(t, endpoint, &websocket.DialOptions{Subprotocols: []string{"graphql-ws"}})
		require.ErrorContains(t, err, "400")
	})
}

func TestForeignOriginIsRefused(t *testing.T) {
	onEachJournal(t, func(t *testing.T, endpoint string) {
		dialAs := func(host, origin string) error {
			header := http.Header{}
			if origin != "" {
				header.Set("Origin", origin)
			}
			_, err := wire.Dial(t, endpoint, &websocket.DialOptions{HTTPHeader: header, Host: host})
			return err
		}
		dial := func(origin string) error { return dialAs("", origin) }
		require.NoError(t, dial(""), "programs send none")
		require.NoError(t, dial(strings.Replace(strings.TrimSuffix(endpoint, "/ws"), "ws://", "http://", 1)), "the page's own")
		for _, foreign := range []string{"https://evil.example", "null", "http://127.0.0.1.evil.example"} {
			require.ErrorContains(t, dial(foreign), "403", foreign)
		}
		// A page may have its own name lead to this machine once it is loaded (DNS rebinding): its origin is the gateway's then.
		_, port, ok := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(endpoint, "ws://127.0.0.1"), "/ws"), ":")
		require.True(t, ok, endpoint)
		for host, passes := range map[string]bool{"localhost": true, "[::1]": true, "127.0.0.1": true, "evil.example": false, "localhost.evil.example": false} {
			err := dialAs(host+":"+port, "http://"+host+":"+port)
			if passes {
				require.NoError(t, err, host)
			} else {
				require.ErrorContains(t, err, "403", host)
			}
			require.NoError(t, dialAs(host+":"+port, ""), "programs may say what they like")
		}
	})
}
