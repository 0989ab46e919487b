package hostile

import (
	"compress/gzip"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
)

// collector takes what processes export over OTLP, as the bytes it came in, by path.
type collector struct {
	server *httptest.Server
	mu     sync.Mutex
	got    map[string][]byte
}

func collect(t *testing.T) *collector {
	t.Helper()
	c := &collector{got: map[string][]byte{}}
	c.server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body io.Reader = r.Body
		if r.Header.Get("Content-Encoding") == "gzip" {
			var err error
			if body, err = gzip.NewReader(r.Body); err != nil {
				t.Error(err)
				return
			}
		}
		b, err := io.ReadAll(body)
		if err != nil {
			t.Error(err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.got[r.URL.Path] = append(c.got[r.URL.Path], b...)
	}))
	t.Cleanup(c.server.Close)
	return c
}

func (c *collector) all(path string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.got[path])
}

// sign makes a token of HS256.
func sign(secret string, claims map[string]any) string {
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	text := part(map[string]any{"alg": "HS256", "typ": "JWT"}) + "." + part(claims)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// Nothing that members say, and nothing that lets anybody in, is in logs, metrics or traces, whatever is logged, and whether it was
// right or wrong.
func TestNothingLeaks(t *testing.T) {
	t.Parallel()
	const secret = "canary-secret-0123456789-0123456789-0123456789"
	collector := collect(t)
	postgres, nats := harness.StartCluster(t), harness.NewNATS(t)
	harness.Migrate(t, postgres.URL())
	nats.Start()
	d := &harness.Deployment{JournalURL: postgres.URL(), ControlPlaneURL: nats.URL()}
	settings := []string{
		"PARLEY_LOG_LEVEL=debug", "PARLEY_AUTH_MODE=jwt", "PARLEY_AUTH_HMAC_SECRET=" + secret, "PARLEY_AUTH_AUDIENCE=parley",
		"OTEL_TRACES_EXPORTER=otlp", "OTEL_METRICS_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "OTEL_EXPORTER_OTLP_ENDPOINT=" + collector.server.URL,
		"OTEL_TRACES_SAMPLER=always_on", "OTEL_BSP_SCHEDULE_DELAY=100", "OTEL_METRIC_EXPORT_INTERVAL=500",
	}
	rooms := d.NewNodes(t, harness.Rooms, 1, settings...)[0]
	gateway := d.NewNodes(t, harness.Gateway, 1, append(settings, "PARLEY_AUTH_DEFAULT_ROOMS=*")...)[0]
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, n := range []*harness.Node{rooms, gateway} {
		n.Start()
	}
	for _, n := range []*harness.Node{rooms, gateway} {
		require.NoError(t, n.AwaitReady(ctx))
	}
	addr := strings.TrimPrefix(gateway.URL(), "http://")

	canaries := map[string]string{"the secret": secret}
	canary := func(what string) string {
		s := fmt.Sprintf("canary-%d-%s", len(canaries), strings.ReplaceAll(what, " ", "-"))
		canaries[what] = s
		return s
	}
	claims := func() map[string]any {
		return map[string]any{"sub": "ada", "aud": "parley", "exp": time.Now().Add(time.Hour).Unix(), "note": canary("note in a token")}
	}
	token := sign(secret, claims())
	forged := sign(secret+"not", claims())
	for what, t := range map[string]string{"a token": token, "a forged token": forged} {
		parts := strings.Split(t, ".")
		canaries[what+"'s claims"], canaries[what+"'s signature"] = parts[1], parts[2]
	}

	// A member's life.
	c := connect(t, addr)
	c.send(`{"hello":{"token":%q}}`, token)
	var session string
	for session == "" {
		first, payload, err := c.next()
		require.NoError(t, err)
		if first == finText {
			e, err := parse(payload)
			require.NoError(t, err)
			require.Equal(t, "session", e.kind, "%v", e.body)
			session = e.string("token")
		}
	}
	canaries["a session's token"] = session
	c.send(`{"join_room":{"room_id":"secretive"}}`)
	c.expect("room_joined")
	c.send(`{"message":{"target":"secretive","content":%q,"message_id":%q}}`, canary("content of a message"), canary("id of a message"))
	for range 2 { // ack and message, in either order
		_, err := c.receive()
		require.NoError(t, err)
	}
	c.send(`{"signal":{"target":"secretive","type":%q,"content":%q}}`, canary("type of a signal"), canary("content of a signal"))
	c.send(`{"history":{"room_id":"secretive"}}`)
	require.NotEmpty(t, c.expect("history_page").body["messages"])
	// What is wrong.
	for _, bad := range []string{
		canary("no JSON"), `{"` + canary("unknown kind") + `":{}}`, `{"message":{"target":"secretive","content":"` + canary("frame cut off"),
		`{"join_room":{"room_id":"` + canary("bad room") + ` \n"}}`, `{"message":{"target":"elsewhere","content":"` + canary("content not joined") + `"}}`,
		`{"message":{"target":"secretive","content":"x","message_id":"` + strings.Repeat(canary("too long an id"), 10) + `"}}`,
		`{"history":{"room_id":"secretive","after_seq":"` + canary("bad number") + `"}}`, `{"hello":{"token":"` + canary("late token") + `"}}`,
	} {
		c.send("%s", bad)
		c.expect("error")
	}
	c.write(frame(finPing, canary("payload of a ping")))
	c.expectPong(canaries["payload of a ping"])
	c.write(closeFrame(4321, canary("reason of a close")))
	c.expectClose(4321)
	// Who is not let in.
	for _, hello := range []string{
		fmt.Sprintf(`{"hello":{"token":%q}}`, forged), fmt.Sprintf(`{"hello":{"token":%q}}`, canary("no token at all")), `{"hello":{}}`,
	} {
		c := connect(t, addr)
		c.send("%s", hello)
		c.expectClose(4500)
	}
	c = connect(t, addr)
	c.send(`{"hello":{"token":%q,"session_token":%q}}`, token, canary("unknown session"))
	c.works()
	for _, headers := range []string{
		"Authorization: Bearer " + forged + "\r\n", "Authorization: Basic " + canary("password") + "\r\n", "Cookie: session=" + canary("cookie") + "\r\n",
		"Sec-WebSocket-Protocol: " + canary("protocol") + "\r\n", "Origin: https://" + canary("origin") + "\r\n",
	} {
		c := dial(t, addr)
		c.write([]byte(goodHandshake + headers + "\r\n"))
		c.response()
	}
	for _, query := range []string{"token=" + canary("token in a query"), canary("bad query") + "%zz"} {
		c := dial(t, addr)
		c.write([]byte(strings.Replace(goodHandshake, "/ws", "/ws?"+query, 1) + "\r\n"))
		c.response()
	}
	// Administrators.
	for _, bearer := range []string{forged, canary("bad bearer"), token} {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, rooms.URL()+"/parley.admin.v1.RoomService/GetRoom", strings.NewReader(`{"room_id":"secretive","`+canary("unknown field of the API")+`":1}`))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+bearer)
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.NotEqual(t, http.StatusOK, res.StatusCode)
	}

	// What it was for: spans of all that came, from both processes.
	require.Eventually(t, func() bool {
		traces := collector.all("/v1/traces")
		return strings.Contains(traces, "gateway-1") && strings.Contains(traces, "rooms-1") && collector.all("/v1/metrics") != ""
	}, patience, 50*time.Millisecond, "no traces or metrics were exported")
	shown := map[string]string{"traces": collector.all("/v1/traces"), "exported metrics": collector.all("/v1/metrics")}
	for _, n := range []*harness.Node{gateway, rooms} {
		shown["metrics of "+n.Name] = get(t, n.OpsURL()+"/metrics")
		require.NoError(t, n.Term(30*time.Second), n.Name) // which exports the rest
		shown["log of "+n.Name] = n.Log()
		require.Contains(t, n.Log(), `"level":"DEBUG"`, "%s logged nothing of this level", n.Name)
	}
	shown["traces"] = collector.all("/v1/traces")
	for where, text := range shown {
		for what, canary := range canaries {
			require.NotContains(t, text, canary, "%s is in the %s", what, where)
		}
	}
}
