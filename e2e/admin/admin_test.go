// Package admin moderates rooms from the command line and by curl's means, and watches what clients see.
package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
	"github.com/parley-rt/parley/e2e/wire"
)

// patience bounds every command and wait, on a machine that builds and tests other things at the same time.
const patience = 2 * time.Minute

// secret signs the tokens of these tests; no log may show it.
const secret = "canary-canary-canary-canary-canary"

// parley runs a command with more variables and returns what it printed and its exit code.
func parley(t *testing.T, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	binary := harness.Build(t)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(cmd.Environ(), env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if cmd.ProcessState == nil {
		require.NoError(t, err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func must(t *testing.T, env []string, args ...string) string {
	t.Helper()
	stdout, stderr, code := parley(t, env, args...)
	require.Zero(t, code, stderr)
	return stdout
}

// member is a client that has joined a room.
type member struct {
	*wire.Conn
	id string
}

func join(t *testing.T, endpoint, room string) member {
	t.Helper()
	c := wire.MustDial(t, endpoint)
	c.Send(`{"hello":{}}`)
	m := member{Conn: c, id: c.Expect("session").String("member_id")}
	c.Sendf(`{"join_room":{"room_id":%q}}`, room)
	c.Expect("room_joined")
	return m
}

func (m member) says(room, content string) {
	m.Sendf(`{"message":{"target":%q,"content":%q}}`, room, content)
}

func (m member) hears(t *testing.T, content string) {
	t.Helper()
	m.ExpectWhere("message", func(f wire.Frame) bool { return f.String("content") == content })
}

// A ban from the command line takes a member out of its room within a second, and keeps it out until it is lifted.
func TestBanFromTheCommandLine(t *testing.T) {
	t.Parallel()
	server := harness.StartDev(t)
	const room = "lobby"
	eve, ada := join(t, server.WebSocket(), room), join(t, server.WebSocket(), room)
	eve.says(room, "buy now")
	ada.hears(t, "buy now")

	api := "--api=" + server.APIURL()
	said := must(t, nil, "room", "ban", room, eve.id, "--for", "10m", "--reason", "spam", api)
	answered := time.Now()
	left := eve.Expect("room_left")
	t.Logf("%s; seen by the client %s after the command", strings.TrimSpace(said), max(0, time.Since(answered)))
	require.Less(t, time.Since(answered), time.Second+slack)
	require.Equal(t, "banned", left.String("reason"))
	require.Equal(t, "spam", left.String("message"))
	require.Positive(t, left.Body["retry_after_ms"])

	eve.says(room, "still here")
	refusal := eve.Expect("error")
	require.Contains(t, []string{"NOT_JOINED", "BANNED"}, refusal.String("code"))
	eve.Sendf(`{"join_room":{"room_id":%q}}`, room)
	require.Equal(t, "BANNED", eve.Expect("error").String("code"))
	again := wire.MustDial(t, server.WebSocket())
	again.Send(`{"hello":{}}`)
	again.Expect("session")
	again.Sendf(`{"join_room":{"room_id":%q}}`, room)
	again.Expect("room_joined") // another member

	must(t, nil, "room", "publish", room, "eve is gone", "--as", "house", api)
	ada.hears(t, "eve is gone")
	for _, f := range eve.Frames() {
		require.NotContains(t, f.Text, "eve is gone", "nothing of the room reaches a member that is out")
	}
	require.Contains(t, must(t, nil, "room", "bans", room, api), eve.id)
	require.Regexp(t, `(?m)^bans +1$`, must(t, nil, "room", "show", room, api))

	must(t, nil, "room", "unban", room, eve.id, api)
	eve.Sendf(`{"join_room":{"room_id":%q}}`, room)
	eve.ExpectWhere("room_joined", func(wire.Frame) bool { return true })
	eve.says(room, "sorry")
	ada.hears(t, "sorry")
}

// The other commands, as far as clients see them.
func TestModerationFromTheCommandLine(t *testing.T) {
	t.Parallel()
	server := harness.StartDev(t)
	api := "--api=" + server.APIURL()
	const room = "club"
	eve := join(t, server.WebSocket(), room)

	must(t, nil, "room", "mute", room, eve.id, "--for", "1h", api)
	eve.says(room, "hello?")
	require.Equal(t, "MUTED", eve.Expect("error").String("code"))
	must(t, nil, "room", "unmute", room, eve.id, api)
	eve.says(room, "hello!")
	eve.Expect("ack")

	must(t, nil, "room", "kick", room, eve.id, api)
	require.Equal(t, "kicked", eve.Expect("room_left").String("reason"))
	eve.Sendf(`{"join_room":{"room_id":%q}}`, room)
	eve.Expect("room_joined")

	must(t, nil, "room", "set", room, "--join", "invited", api)
	require.Equal(t, "forbidden", eve.Expect("room_left").String("reason"))
	eve.Sendf(`{"join_room":{"room_id":%q}}`, room)
	require.Equal(t, "FORBIDDEN", eve.Expect("error").String("code"))
	must(t, nil, "room", "invite", room, eve.id, api)
	eve.Sendf(`{"join_room":{"room_id":%q}}`, room)
	eve.Expect("room_joined")
	require.Contains(t, must(t, nil, "room", "members", room, api), eve.id)
	require.Contains(t, must(t, nil, "room", "history", room, api), "hello!")
}

// A room's own rate holds for what its members post from then on, over a restart, until it is taken back.
func TestRateFromTheCommandLine(t *testing.T) {
	t.Parallel()
	server := harness.StartDev(t)
	const room = "quiet"
	floods := func() {
		eve := join(t, server.WebSocket(), room)
		for range 4 {
			eve.says(room, "me!")
		}
		refused := eve.Expect("error")
		require.Equal(t, "RATE_LIMITED", refused.String("code"))
		require.Greater(t, refused.Body["retry_after_ms"], float64(60_000), "what is regained in a hundred seconds")
	}
	api := "--api=" + server.APIURL()
	require.Regexp(t, `(?m)^message rate +0.01:2$`, must(t, nil, "room", "set", room, "--message-rate", "0.01:2", api))
	floods()
	server.Kill9()
	server.Restart()
	api = "--api=" + server.APIURL()
	require.Regexp(t, `(?m)^message rate +0.01:2$`, must(t, nil, "room", "settings", room, api))
	floods()
	require.Regexp(t, `(?m)^message rate +as the service limits it$`, must(t, nil, "room", "set", room, "--message-rate", "0", api))
	ada := join(t, server.WebSocket(), room)
	for range 20 {
		ada.says(room, "finally")
	}
	for range 20 {
		ada.Expect("ack")
	}
}

// post calls a method as curl would.
func post(t *testing.T, api, method, token, body string) (int, map[string]any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, api+"/parley.admin.v1.RoomService/"+method, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { require.NoError(t, res.Body.Close()) }()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	var answer map[string]any
	require.NoError(t, json.Unmarshal(text, &answer), "%s", text)
	return res.StatusCode, answer
}

// S8: in a datacenter of separate processes any rooms node's API reaches any room, for administrators only, also when the
// room's node has just died; and no log has a token or the secret.
func TestAdministerADatacenter(t *testing.T) {
	postgres, nats := harness.StartCluster(t), harness.NewNATS(t)
	nats.Start()
	harness.Migrate(t, postgres.URL())
	d := &harness.Deployment{JournalURL: postgres.URL(), ControlPlaneURL: nats.URL()}
	gateways := d.NewNodes(t, harness.Gateway, 2)
	rooms := d.NewNodes(t, harness.Rooms, 2, "PARLEY_AUTH_MODE=jwt", "PARLEY_AUTH_HMAC_SECRET="+secret, "PARLEY_AUTH_AUDIENCE=parley")
	nodes := append(append([]*harness.Node(nil), gateways...), rooms...)
	for _, n := range nodes {
		n.Start()
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, n := range nodes {
		require.NoError(t, n.AwaitReady(ctx))
	}
	const room = "plaza"
	eve, ada := join(t, gateways[0].WebSocket(), room), join(t, gateways[1].WebSocket(), room)

	_, stderr, code := parley(t, nil, "room", "ban", room, eve.id, "--api", rooms[0].URL())
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "parley token --admin")
	stranger := strings.TrimSpace(must(t, nil, "token", "--admin", "--audience", "parley", "--hmac-secret", strings.ToUpper(secret)))
	status, answer := post(t, rooms[1].URL(), "GetRoom", stranger, `{"room_id":"plaza"}`)
	require.Equal(t, http.StatusUnauthorized, status)
	require.Equal(t, "unauthenticated", answer["code"])

	token := strings.TrimSpace(must(t, []string{"PARLEY_AUTH_HMAC_SECRET=" + secret, "PARLEY_AUTH_AUDIENCE=parley"}, "token", "--admin", "--subject", "ops"))
	env := []string{"PARLEY_TOKEN=" + token}
	var owner, other *harness.Node
	for _, n := range rooms {
		status, answer := post(t, n.URL(), "GetRoom", token, `{"room_id":"plaza"}`)
		require.Equal(t, http.StatusOK, status, answer)
		info, _ := answer["room"].(map[string]any)
		for i := range rooms {
			if rooms[i].Name == info["node"] {
				owner, other = rooms[i], rooms[1-i]
			}
		}
	}
	require.NotNil(t, owner)

	// Through the node that does not run the room, seen on a gateway.
	must(t, env, "room", "ban", room, eve.id, "--reason", "spam", "--api", other.URL())
	answered := time.Now()
	require.Equal(t, "banned", eve.Expect("room_left").String("reason"))
	t.Logf("seen by the client %s after the command", max(0, time.Since(answered)))
	require.Contains(t, must(t, env, "room", "bans", room, "--api", owner.URL()), " ops ", "who did it")

	// The node that runs the room is killed: the next command finds the room's new one.
	owner.Kill9()
	killed := time.Now()
	require.Contains(t, must(t, env, "room", "mute", room, ada.id, "--timeout", "1m", "--api", other.URL()), "muted")
	t.Logf("administered again %s after the kill", time.Since(killed))
	require.Contains(t, must(t, env, "room", "bans", room, "--api", other.URL()), eve.id, "the ban is still there")
	ada.says(room, "am I heard?")
	require.Equal(t, "MUTED", ada.Expect("error").String("code"))

	for _, n := range rooms {
		log := n.Log()
		for _, hidden := range append(strings.Split(token, "."), secret, stranger) {
			require.NotContains(t, log, hidden, "the log of %s", n.Name)
		}
	}
	require.NoError(t, other.Term(patience))
	require.NotContains(t, other.Log(), `"level":"ERROR"`)
}
