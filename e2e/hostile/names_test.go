package hostile

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
)

// mark is in every name that is made to break what it is put into.
const mark = "Ev1L7"

// evilNames are none of rooms.
func evilNames() []string {
	return []string{
		`'; DROP TABLE streams; --` + mark, `" OR ""="` + mark, mark + `\`, mark + "`", "a\n" + `{"level":"ERROR","msg":"` + mark + `"}`, "a\r" + mark,
		"\x1b[31m" + mark, "\x1b]0;" + mark + "\x07", mark + "\x00", "\u202e" + mark, mark + "é", mark + "\u200b", "\u0430" + mark,
		"../../" + mark, mark + "/x", "room/" + mark, mark + "*", mark + ".>", mark + " x", " " + mark, mark + "\t", mark + "#x", mark + "?x", mark + "@x",
		mark + "%s%n", mark + "%2e", mark + "+", mark + "=", mark + ",", mark + ";", mark + "|", mark + "&", mark + "$x", "${" + mark + "}", "{{" + mark + "}}",
		"<script>" + mark + "</script>", mark + "(", mark + "[x]", mark + "~", mark + "^", mark + "!", mark + `"`, mark + "'",
		mark + strings.Repeat("x", 124), mark + strings.Repeat("y", 30_000),
	}
}

// nastyNames are rooms like any others.
func nastyNames() []string {
	return []string{
		".", "..", "...", "-", "--", "--help", "-1", "_", ":", "::", "a.b:c", "a_b:c", "a:b_c", ".hidden", "x.", "0", "NaN", "null", "true", "undefined",
		"__proto__", "constructor", "GoAkt", "GoAktSystem", "room", "rooms", "members", "schedules", "schedule:1", "roomhost", "hub-0", "door", "CON", "nul.txt", "X", "x",
		strings.Repeat("x", 128), strings.Repeat(":", 128), strings.Repeat(".", 128), strings.Repeat("-", 128), strings.Repeat("_:", 64),
	}
}

// A name that is none of a room is refused, whatever it is put into, and nothing of it is anywhere afterwards: not in logs, metrics,
// or a terminal. Those who use rooms with names that are right are unharmed.
func TestEvilNames(t *testing.T) {
	for _, journal := range harness.Journals() {
		t.Run(string(journal), func(t *testing.T) {
			server := harness.StartDevOn(t, journal, "--log-level", "debug")
			addr := strings.TrimPrefix(server.URL(), "http://")
			canary := release(t, addr)
			c := connect(t, addr)
			for _, name := range evilNames() {
				quoted := strconv.Quote(name)
				quoted = strings.NewReplacer(`\x1b`, `\u001b`, `\x00`, `\u0000`, `\a`, `\u0007`).Replace(quoted)
				for _, format := range []string{
					`{"join_room":{"room_id":%s}}`, `{"leave_room":{"room_id":%s}}`, `{"message":{"target":%s,"content":"x"}}`, `{"signal":{"target":%s,"type":"t"}}`,
					`{"history":{"room_id":%s}}`, `{"presence":{"room_id":%s}}`,
				} {
					c.send(format, quoted)
					require.Equal(t, "INVALID_ROOM", c.expect("error").string("code"), "%.80s as %s", name, format)
				}
				for _, method := range []string{"GetRoom", "History", "ListMembers"} {
					status, answer := administer(t, server.APIURL(), method, `{"room_id":`+quoted+`}`)
					require.Equal(t, http.StatusBadRequest, status, "%s of %.80s: %s", method, name, answer)
				}
			}
			hello := connect(t, addr)
			hello.send(`{"hello":{"rooms":[{"room_id":"%s; DROP"},{"room_id":"fine"}]}}`, mark)
			require.Equal(t, "INVALID_ROOM", hello.expect("error").string("code"))
			require.Equal(t, "fine", hello.expect("room_joined").string("room_id"))

			for _, name := range []string{"\x1b[31m" + mark, "a\n" + mark, mark + "/../x"} {
				for _, args := range [][]string{{"room", "show", "--api", server.APIURL(), "--", name}, {"publish", "--server", server.WebSocket(), "--", name, "x"}} {
					output, err := command(t, args...)
					require.Error(t, err, "%q", args)
					require.NotContains(t, output, "\x1b[31m", "a terminal would obey")
				}
			}
			metrics, log := get(t, server.OpsURL()+"/metrics"), server.Log()
			require.NotContains(t, metrics, mark)
			require.NotContains(t, log, mark)
			canary.unharmed()
		})
	}
}

// A name that is right works everywhere, however it looks.
func TestNastyNames(t *testing.T) {
	for _, journal := range harness.Journals() {
		t.Run(string(journal), func(t *testing.T) {
			server := harness.StartDevOn(t, journal)
			addr := strings.TrimPrefix(server.URL(), "http://")
			canary := release(t, addr)
			c := connect(t, addr)
			for i, name := range nastyNames() {
				c.send(`{"join_room":{"room_id":%q}}`, name)
				joined := c.expect("room_joined")
				require.Equal(t, name, joined.string("room_id"))
				require.Zero(t, joined.uint("seq"), "%s is another room, too", name)
				c.send(`{"message":{"target":%q,"content":"%d"}}`, name, i)
				for seen := map[string]bool{}; !seen["ack"] || !seen["message"]; {
					e, err := c.receive()
					require.NoError(t, err)
					require.Contains(t, []string{"ack", "message"}, e.kind, "%v", e.body)
					require.Equal(t, name, e.string("target"))
					seen[e.kind] = true
				}
				c.send(`{"presence":{"room_id":%q}}`, name)
				require.InDelta(t, 1, c.expect("presence_state").body["count"], 0)
				status, answer := administer(t, server.APIURL(), "History", fmt.Sprintf(`{"room_id":%q}`, name))
				require.Equal(t, http.StatusOK, status, answer)
				require.Contains(t, answer, fmt.Sprintf(`"%d"`, i))
				c.send(`{"leave_room":{"room_id":%q}}`, name)
				require.Equal(t, name, c.expect("room_left").string("room_id"))
			}
			for _, name := range []string{"..", "--help", ":", "a.b:c"} {
				output, err := command(t, "publish", "--server", server.WebSocket(), "--", name, "from a shell")
				require.NoError(t, err, output)
				output, err = command(t, "room", "history", "--api", server.APIURL(), "--", name)
				require.NoError(t, err, output)
				require.Contains(t, output, "from a shell")
			}
			canary.unharmed()
			server.Kill9()
			server.Restart()
			c = connect(t, addr)
			for i, name := range nastyNames() { // and each has its own again
				c.send(`{"join_room":{"room_id":%q,"after_seq":"0"}}`, name)
				require.Equal(t, name, c.expect("room_joined").string("room_id"))
				require.Equal(t, strconv.Itoa(i), c.expect("message").string("content"))
				c.send(`{"leave_room":{"room_id":%q}}`, name)
				for e, err := c.receive(); e.kind != "room_left"; e, err = c.receive() { // what came from a shell
					require.NoError(t, err)
				}
			}
		})
	}
}

// administer asks the API for administrators.
func administer(tb testing.TB, api, method, body string) (status int, answer string) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, api+"/parley.admin.v1.RoomService/"+method, strings.NewReader(body))
	require.NoError(tb, err)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	require.NoError(tb, err)
	b, err := io.ReadAll(res.Body)
	require.NoError(tb, err)
	require.NoError(tb, res.Body.Close())
	return res.StatusCode, string(b)
}

// command runs parley and returns all that it printed.
func command(tb testing.TB, args ...string) (string, error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, harness.Build(tb), args...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	err := cmd.Run()
	return output.String(), err
}
