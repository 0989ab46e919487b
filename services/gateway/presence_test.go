package gateway

import (
	"crypto/sha256"
	"encoding/base64"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
)

// sessionOf makes a session of that member, as if they had authenticated, and returns its token.
func (g *bundle) sessionOf(member string, n byte) string {
	g.t.Helper()
	raw := make([]byte, 48)
	raw[0], raw[20] = n, n
	id := persistence.SessionID(raw[:16])
	_, err := g.backend.CreateSession(g.t.Context(), id, sha256.Sum256(raw), member, time.Hour)
	require.NoError(g.t, err)
	return base64.RawURLEncoding.EncodeToString(raw)
}

// A member may have several sessions, each with a connection: on one gateway and on another. All work, presence counts them,
// and the member is there while one of them is.
func TestSeveralSessionsOfOneMember(t *testing.T) {
	t.Parallel()
	g := setup(t, 1)
	other := &bundle{t: t, service: g.start("gateway-2"), backend: g.backend, dir: g.dir, http: g.http}
	connections := []*client{g.connect(g.sessionOf("ann", 1)), g.connect(g.sessionOf("ann", 2)), other.connect(g.sessionOf("ann", 3))}
	bob := g.join("r")
	for i, c := range connections {
		require.Equal(t, "ann", c.session.GetMemberId(), i)
		require.True(t, c.session.GetResumed())
		c.send(`{"join_room":{"room_id":"r"}}`)
		c.find("room_joined")
	}
	presence := func(connections uint32) {
		t.Helper()
		require.Eventually(t, func() bool {
			bob.send(`{"presence":{"room_id":"r"}}`)
			state := bob.find("presence_state").GetPresenceState()
			for _, m := range state.GetMembers() {
				if m.GetMemberId() == "ann" {
					return state.GetCount() == 2 && m.GetConnections() == connections
				}
			}
			return connections == 0 && state.GetCount() == 1
		}, patience, 50*time.Millisecond, "%d connections", connections)
	}
	presence(3)
	for i, c := range connections {
		c.send(`{"message":{"target":"r","content":"%d","message_id":"m%d"}}`, i, i)
		require.Equal(t, uint64(i+1), c.find("ack").GetAck().GetSeq())
	}
	for _, c := range connections {
		c.send(`{"id":1,"ping":{}}`)
		c.find("pong")
	}
	// Another connection of the first session replaces that one and no other.
	again := other.connect(connections[0].session.GetToken())
	require.True(t, again.session.GetResumed())
	again.find("room_joined")
	connections[0].expectClose(clientv1.CloseCode_CLOSE_CODE_SESSION_REPLACED)
	presence(3)
	for i, c := range []*client{again, connections[1], connections[2]} {
		require.NoError(t, c.ws.CloseNow())
		presence(uint32(2 - i))
	}
}
