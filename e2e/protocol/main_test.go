// Package protocol tests the client protocol against the built binary, with a client that knows only JSON.
package protocol

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
	"github.com/parley-rt/parley/e2e/wire"
)

// shared are the servers that this package's tests share, one on each journal; each test uses rooms of its own.
var shared harness.Shared

func TestMain(m *testing.M) { os.Exit(shared.Run(m)) }

// onEachJournal runs a test once per journal: clients cannot tell one from the other. endpoint is a WebSocket address.
func onEachJournal(t *testing.T, test func(t *testing.T, endpoint string)) {
	t.Helper()
	t.Parallel()
	for _, journal := range harness.Journals() {
		t.Run(string(journal), func(t *testing.T) {
			t.Parallel()
			test(t, shared.Server(t, journal).WebSocket())
		})
	}
}

var rooms atomic.Int64

func newRoom() string { return fmt.Sprintf("test-room:%d", rooms.Add(1)) }

// join opens a connection and joins it to the room.
func join(t *testing.T, endpoint, room string) *wire.Conn {
	t.Helper()
	c := wire.MustDial(t, endpoint)
	c.Sendf(`{"join_room":{"room_id":%q}}`, room)
	require.Equal(t, room, c.Expect("room_joined").String("room_id"))
	return c
}

// requireRun takes n messages and requires that they chain on from the cursor (S5).
func requireRun(t *testing.T, c *wire.Conn, cursor uint64, n int) []wire.Frame {
	t.Helper()
	var run []wire.Frame
	for range n {
		got := c.Expect("message")
		require.Equal(t, cursor, got.Uint("prev_seq"))
		require.Greater(t, got.Uint("seq"), cursor)
		cursor = got.Uint("seq")
		run = append(run, got)
	}
	return run
}

// messagesOf reads the messages of a history page.
func messagesOf(t *testing.T, page wire.Frame) []wire.Frame {
	t.Helper()
	list, _ := page.Body["messages"].([]any)
	var messages []wire.Frame
	for _, entry := range list {
		body, ok := entry.(map[string]any)
		require.True(t, ok)
		messages = append(messages, wire.Frame{Kind: "message", Body: body})
	}
	return messages
}
