package protocol

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/wire"
)

// History pages come from the journal once memory does not hold them: more messages than a room's tail keeps.
func TestHistoryBeyondMemory(t *testing.T) {
	onEachJournal(t, func(t *testing.T, endpoint string) {
		const total = 3000
		room := newRoom()
		c := join(t, endpoint, room)
		for i := range total {
			c.Sendf(`{"message":{"target":%q,"content":"m%d"}}`, room, i)
			if i%50 == 49 { // stay inside what a connection may have outstanding
				for range 50 {
					c.Expect("ack")
				}
			}
		}
		page := func(bounds string) ([]wire.Frame, bool) {
			c.Sendf(`{"history":{"room_id":%q%s}}`, room, bounds)
			got := c.Expect("history_page")
			return messagesOf(t, got), got.Bool("more")
		}

		newest, more := page("")
		require.Len(t, newest, 50, "default limit")
		require.True(t, more)
		require.Equal(t, fmt.Sprintf("m%d", total-1), newest[49].String("content"))

		clamped, _ := page(`,"limit":100000`)
		require.Len(t, clamped, 500)

		t.Run("backwards to the oldest", func(t *testing.T) {
			before, seen := newest[0].Uint("seq"), total-50
			for {
				got, more := page(fmt.Sprintf(`,"limit":500,"before_seq":"%d"`, before))
				for i := len(got) - 1; i >= 0; i-- {
					seen--
					require.Equal(t, fmt.Sprintf("m%d", seen), got[i].String("content"))
				}
				if !more {
					break
				}
				before = got[0].Uint("seq")
			}
			require.Zero(t, seen)
		})

		t.Run("forwards from the oldest, chained", func(t *testing.T) {
			var cursor uint64
			seen := 0
			for more := true; more; {
				var got []wire.Frame
				got, more = page(fmt.Sprintf(`,"limit":500,"after_seq":"%d"`, cursor))
				for _, m := range got {
					require.Equal(t, cursor, m.Uint("prev_seq"))
					require.Equal(t, fmt.Sprintf("m%d", seen), m.String("content"))
					cursor = m.Uint("seq")
					seen++
				}
			}
			require.Equal(t, total, seen)
		})

		t.Run("replay of everything on join", func(t *testing.T) {
			reader := wire.MustDial(t, endpoint)
			reader.Sendf(`{"join_room":{"room_id":%q,"after_seq":0}}`, room)
			require.True(t, reader.Expect("room_joined").Bool("recovered"))
			requireRun(t, reader, 0, total)
		})
	})
}

func TestJoinAgain(t *testing.T) {
	onEachJournal(t, func(t *testing.T, endpoint string) {
		room := newRoom()
		c := join(t, endpoint, room)
		for i := range 10 {
			c.Sendf(`{"message":{"target":%q,"content":"m%d"}}`, room, i)
		}
		first := requireRun(t, c, 0, 10)

		c.Sendf(`{"join_room":{"room_id":%q}}`, room)
		require.Equal(t, first[9].Uint("seq"), c.Expect("room_joined").Uint("seq"))
		c.Sendf(`{"message":{"target":%q,"content":"m10"}}`, room)
		next := c.Expect("message")
		require.Equal(t, "m10", next.String("content"), "joining again without a cursor changes nothing")

		c.Sendf(`{"join_room":{"room_id":%q,"after_seq":"%d"}}`, room, first[4].Uint("seq"))
		require.True(t, c.Expect("room_joined").Bool("recovered"))
		again := requireRun(t, c, first[4].Uint("seq"), 6)
		require.Equal(t, "m5", again[0].String("content"), "with one it restarts the stream there")
	})
}

func TestCursorOfALostHistoryIsReset(t *testing.T) {
	onEachJournal(t, func(t *testing.T, endpoint string) {
		room := newRoom()
		c := join(t, endpoint, room)
		for i := range 3 {
			c.Sendf(`{"message":{"target":%q,"content":"m%d","message_id":"id-%d"}}`, room, i, i)
		}
		sent := requireRun(t, c, 0, 3)
		head := sent[2].Uint("seq")
		cases := []struct{ name, cursor string }{
			{"seq beyond the head", fmt.Sprintf(`"after_seq":"%d"`, head+5)},
			{"another message at that seq", fmt.Sprintf(`"after_seq":"%d","after_message_id":"id-0"`, sent[1].Uint("seq"))},
			{"another incarnation", fmt.Sprintf(`"after_seq":"%d","incarnation":"1"`, sent[1].Uint("seq"))},
		}
		for _, test := range cases {
			reader := wire.MustDial(t, endpoint)
			reader.Sendf(`{"join_room":{"room_id":%q,%s}}`, room, test.cursor)
			joined := reader.Expect("room_joined")
			require.False(t, joined.Bool("recovered"), test.name)
			reset := reader.Expect("reset")
			require.Equal(t, "rewound", reset.String("reason"), test.name)
			require.Equal(t, head, reset.Uint("seq"), test.name)
		}
		reader := wire.MustDial(t, endpoint)
		reader.Sendf(`{"join_room":{"room_id":%q,"after_seq":"%d","after_message_id":"id-1"}}`, room, sent[1].Uint("seq"))
		require.True(t, reader.Expect("room_joined").Bool("recovered"))
		require.Equal(t, "m2", reader.Expect("message").String("content"))
	})
}
