package admin

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
	"github.com/parley-rt/parley/e2e/wire"
)

// Once a room's settings ask for it, those in it are told who joins and leaves, and nobody is told of itself.
func TestMembersAreToldWhoComesAndGoes(t *testing.T) {
	t.Parallel()
	server := harness.StartDev(t)
	const room = "hall"
	ada := join(t, server.WebSocket(), room)
	before := join(t, server.WebSocket(), room)
	status, answer := post(t, server.APIURL(), "UpdateSettings", "", `{"room_id":"hall","presence_events":true}`)
	require.Equal(t, http.StatusOK, status, answer)

	bob := join(t, server.WebSocket(), room)
	require.Equal(t, bob.id, ada.Expect("member_joined").String("member_id"))
	bob.Sendf(`{"leave_room":{"room_id":%q}}`, room)
	bob.Expect("room_left")
	require.Equal(t, bob.id, ada.Expect("member_left").String("member_id"))
	status, answer = post(t, server.APIURL(), "Kick", "", `{"room_id":"hall","member_id":"`+before.id+`"}`)
	require.Equal(t, http.StatusOK, status, answer)
	gone := ada.ExpectWhere("member_left", func(f wire.Frame) bool { return f.String("member_id") == before.id })
	require.Equal(t, room, gone.String("room_id"))
	for _, m := range []member{ada, bob, before} {
		for _, f := range m.Frames() {
			if f.Kind == "member_joined" || f.Kind == "member_left" {
				require.NotEqual(t, m.id, f.String("member_id"), "told of itself: %s", f.Text)
			}
		}
	}
}
