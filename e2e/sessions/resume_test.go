package sessions

import (
	"encoding/base64"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/wire"
)

// S1, S3, S5: a gateway is killed; its client goes on at another one, with its rooms, and neither misses nor repeats a message.
func TestResumeOnAnotherGateway(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	a, b := d.gateways[0], d.gateways[1]
	c := open(t, a, "", "")
	at := c.enter("first")
	c.enter("second")
	c.say("first", "one")
	_, at = c.hear(t, "first", at, "one")
	c.Sendf(`{"message":{"target":"first","content":"unanswered","message_id":"m"}}`) // stored or not when the gateway dies
	a.Kill9()
	code, _ := c.AwaitClose()
	require.Equal(t, websocket.StatusCode(-1), code)

	other := open(t, b, "", "")
	other.enter("first")
	other.enter("second")
	other.say("first", "two")
	other.say("second", "three")

	back := open(t, b, c.token(), cursorOf("first", at))
	require.True(t, back.session.Bool("resumed"))
	require.Equal(t, c.member(), back.member())
	require.ElementsMatch(t, []any{"first", "second"}, back.session.Body["rooms"])
	require.True(t, back.Await("room_joined", func(f wire.Frame) bool { return f.String("room_id") == "first" }).Bool("recovered"))
	back.Await("room_joined", func(f wire.Frame) bool { return f.String("room_id") == "second" })
	back.Sendf(`{"message":{"target":"first","content":"unanswered","message_id":"m"}}`)
	back.say("first", "four")
	contents, at := back.hear(t, "first", at, "four")
	require.ElementsMatch(t, []string{"unanswered", "two", "four"}, contents, "once each, in whatever order the first two were stored")

	// And back, after the first gateway has come again.
	a.Start()
	ready(t, a)
	back.Close()
	other.say("first", "five")
	again := open(t, a, back.token(), cursorOf("first", at))
	require.True(t, again.session.Bool("resumed"))
	contents, _ = again.hear(t, "first", at, "five")
	require.Equal(t, []string{"five"}, contents)
}

// A session has one connection: the older one is closed with 4504, on another gateway within 10 s. Spent and forged tokens
// open nothing there either.
func TestSessionIsTakenOverOnAnotherGateway(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	older := open(t, d.gateways[0], "", "")
	older.enter("room")
	newer := open(t, d.gateways[1], older.token(), "")
	require.True(t, newer.session.Bool("resumed"))
	begun := time.Now()
	code, _ := older.AwaitClose()
	require.Equal(t, websocket.StatusCode(4504), code)
	require.Less(t, time.Since(begun), 10*time.Second)
	newer.say("room", "still here")

	newest := open(t, d.gateways[0], newer.token(), "")
	require.True(t, newest.session.Bool("resumed"))
	code, _ = newer.AwaitClose()
	require.Equal(t, websocket.StatusCode(4504), code)

	raw, err := base64.RawURLEncoding.DecodeString(newest.token())
	require.NoError(t, err)
	raw[len(raw)-1] ^= 1
	for name, token := range map[string]string{
		"spent": older.token(), "forged": base64.RawURLEncoding.EncodeToString(raw), "nonsense": "x",
	} {
		stranger := open(t, d.gateways[1], token, "")
		require.False(t, stranger.session.Bool("resumed"), name)
		require.NotEqual(t, newest.member(), stranger.member(), name)
		require.Empty(t, stranger.session.Body["rooms"], name)
	}
	newest.say("room", "and here")
}

// SESSION_TTL and SESSION_REPLAY_LIMIT do what they say.
func TestSettingsOfSessions(t *testing.T) {
	t.Parallel()
	const ttl = 12 * time.Second
	d := deploy(t, "PARLEY_SESSION_TTL="+ttl.String(), "PARLEY_SESSION_REPLAY_LIMIT=5")
	c := open(t, d.gateways[0], "", "")
	at := c.enter("room")
	writer := open(t, d.gateways[1], "", "")
	writer.enter("room")
	wait(t, 2*ttl) // an open connection keeps its session
	c.Close()
	for _, content := range []string{"1", "2", "3", "4", "5"} {
		writer.say("room", content)
	}
	wait(t, ttl-2*time.Second)
	back := open(t, d.gateways[1], c.token(), cursorOf("room", at))
	require.True(t, back.session.Bool("resumed"), "within the TTL from the end of the connection")
	_, at = back.hear(t, "room", at, "5")

	back.Close()
	var last uint64
	for _, content := range []string{"6", "7", "8", "9", "10", "11"} {
		last = writer.say("room", content)
	}
	late := open(t, d.gateways[0], back.token(), cursorOf("room", at))
	require.True(t, late.session.Bool("resumed"))
	require.False(t, late.Expect("room_joined").Bool("recovered"))
	reset := late.Expect("reset")
	require.Equal(t, "replay_limit", reset.String("reason"))
	require.Equal(t, last, reset.Uint("seq"))
	late.Sendf(`{"history":{"room_id":"room","after_seq":"%d"}}`, at)
	messages, _ := late.Expect("history_page").Body["messages"].([]any)
	require.Len(t, messages, 6, "history has what was not replayed")
	writer.say("room", "12")
	contents, _ := late.hear(t, "room", last, "12")
	require.Equal(t, []string{"12"}, contents)

	program := newProgram(t, d.gateways[0], "room")
	last = writer.say("room", "13")
	program.hear(t, "13")
	was := program.session()
	program.cable.pull()
	late.Close()
	wait(t, ttl+ttl/2+time.Second)
	gone := open(t, d.gateways[1], late.token(), "")
	require.False(t, gone.session.Bool("resumed"), "after the TTL it is over")
	require.NotEqual(t, c.member(), gone.member())
	// A program of sdk/go becomes another member, too, and goes on in its rooms where it was.
	writer.say("room", "14")
	program.cable.plug(d.gateways[1])
	require.Equal(t, []string{"14"}, contiguous(t, last, program.hear(t, "14")))
	require.False(t, program.session().Resumed)
	require.NotEqual(t, was.MemberID, program.session().MemberID)
}

func wait(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
		t.FailNow()
	}
}
