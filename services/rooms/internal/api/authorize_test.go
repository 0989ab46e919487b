package api

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/opskit/auth"
	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

func moderator(t *testing.T, edit ...func(*auth.Claims)) func(*http.Request) {
	t.Helper()
	return bearer(token(t, append([]func(*auth.Claims){func(c *auth.Claims) {
		c.Subject, c.Scopes = "ada", nil
		c.Rooms = []auth.Grant{{Pattern: "chat-*", May: auth.Moderate}, {Pattern: "*", May: auth.Ordinary}}
	}}, edit...)...))
}

// A member with the capability moderate acts on members, in its own name, in the rooms that its token names, and nowhere else.
func TestModeratorsModerateTheirRooms(t *testing.T) {
	t.Parallel()
	b := setup(t, withTokens)
	b.rooms.says(administered(), nil)
	ada := moderator(t)
	for _, method := range []string{"Kick", "Ban", "Unban", "Mute", "Unmute"} {
		a := b.call(method, `{"room_id":"chat-1","member_id":"bob"}`, ada)
		require.Equal(t, http.StatusOK, a.status, "%s: %s", method, a.text)
		require.Equal(t, "ada", b.rooms.last(t).GetAdminister().GetActor(), method)
	}
	b.rooms.says(&roomv1.Frame{Kind: &roomv1.Frame_Listed{Listed: &roomv1.Listed{}}}, nil)
	for _, method := range []string{"ListMembers", "ListBans", "ListMutes"} {
		a := b.call(method, `{"room_id":"chat-1"}`, ada)
		require.Equal(t, http.StatusOK, a.status, "%s: %s", method, a.text)
	}
	asked := b.rooms.count()
	for method, body := range map[string]string{
		"Kick":            `{"room_id":"room-1","member_id":"bob"}`,
		"Ban":             `{"room_id":"chat","member_id":"bob"}`,
		"ListBans":        `{"room_id":"room-1"}`,
		"GetRoom":         `{"room_id":"chat-1"}`,
		"UpdateSettings":  `{"room_id":"chat-1","history":"LEVEL_NOBODY"}`,
		"Invite":          `{"room_id":"chat-1","member_id":"ada","moderator":true}`,
		"Uninvite":        `{"room_id":"chat-1","member_id":"bob"}`,
		"ListInvitations": `{"room_id":"chat-1"}`,
		"Publish":         `{"room_id":"chat-1","sender":"bob","content":"x"}`,
		"History":         `{"room_id":"chat-1"}`,
		"Mute":            `{"member_id":"bob"}`,
	} {
		a := b.call(method, body, ada)
		require.Equal(t, http.StatusForbidden, a.status, "%s: %s", method, a.text)
		require.Contains(t, a.text, "FORBIDDEN", method)
	}
	require.Equal(t, asked, b.rooms.count())
	// One who may not moderate anywhere is a stranger here.
	a := b.call("Kick", `{"room_id":"chat-1","member_id":"bob"}`, moderator(t, func(c *auth.Claims) { c.Rooms = c.Rooms[1:] }))
	require.Equal(t, http.StatusUnauthorized, a.status)
}
