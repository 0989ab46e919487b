// Package auth runs gateways and rooms nodes whose members come with tokens of an issuer, over TLS.
package auth

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/e2e/harness"
	parley "github.com/parley-rt/parley/sdk/go"
)

// patience bounds every wait, on a machine that builds and tests other things at the same time.
const patience = 2 * time.Minute

// world is a datacenter and its issuer.
type world struct {
	t       *testing.T
	issuer  *issuer
	cert    certificate
	gateway *harness.Node
	rooms   *harness.Node
	http    *http.Client
}

func start(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, issuer: startIssuer(t), cert: newCertificate(t)}
	postgres, nats := harness.StartCluster(t), harness.NewNATS(t)
	nats.Start()
	harness.Migrate(t, postgres.URL())
	d := &harness.Deployment{JournalURL: postgres.URL(), ControlPlaneURL: nats.URL()}
	tokens := []string{
		"PARLEY_AUTH_MODE=jwt", "PARLEY_AUTH_JWKS_URL=" + w.issuer.server.URL, "PARLEY_AUTH_ISSUER=" + issuerName,
		"PARLEY_AUTH_AUDIENCE=" + audience, "PARLEY_LOG_LEVEL=debug", "OTEL_TRACES_EXPORTER=console",
	}
	w.gateway = d.NewNodes(t, harness.Gateway, 1, append(tokens, "PARLEY_TLS_CERT="+w.cert.cert, "PARLEY_TLS_KEY="+w.cert.key)...)[0]
	w.rooms = d.NewNodes(t, harness.Rooms, 1, tokens...)[0]
	w.http = w.cert.client(t)
	w.gateway.Start()
	w.rooms.Start()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, w.rooms.AwaitReady(ctx))
	require.NoError(t, w.gateway.AwaitReady(ctx))
	return w
}

func (w *world) address() string { return "wss" + strings.TrimPrefix(w.gateway.WebSocket(), "ws") }

// dial connects somebody whose tokens live that long.
func (w *world) dial(subject string, lives time.Duration, more claims, edit ...func(*parley.Config)) *parley.Client {
	w.t.Helper()
	cfg := parley.Config{
		HTTPClient: w.http, Binary: true,
		GetToken: func(context.Context) (string, error) { return w.issuer.token(subject, lives, more), nil },
	}
	for _, e := range edit {
		e(&cfg)
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	client, err := parley.Dial(ctx, w.address(), cfg)
	require.NoError(w.t, err)
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = client.Close(ctx)
	})
	return client
}

func (w *world) join(client *parley.Client, room string) *parley.Room {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	r, err := client.Join(ctx, room, parley.JoinOptions{})
	require.NoError(w.t, err)
	return r
}

func (w *world) publish(r *parley.Room) error {
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	_, err := r.Publish(ctx, "hello "+canary, parley.PublishOptions{})
	return err
}

// moderate calls the API of the rooms node with a token.
func (w *world) moderate(method, token, body string) (status int, text string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.rooms.URL()+"/parley.admin.v1.RoomService/"+method, strings.NewReader(body))
	require.NoError(w.t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	return w.do(req)
}

func (w *world) do(req *http.Request) (int, string) {
	w.t.Helper()
	res, err := http.DefaultClient.Do(req)
	require.NoError(w.t, err)
	defer func() { require.NoError(w.t, res.Body.Close()) }()
	answer, err := io.ReadAll(res.Body)
	require.NoError(w.t, err)
	return res.StatusCode, string(answer)
}

// From the issuer to the rooms: who members are, what they may, for how long, and that nobody else hears of their tokens.
func TestMembersOfAnIssuer(t *testing.T) {
	w := start(t)
	everything := claims{"rooms": []string{"*"}}

	// Ada's tokens live for seconds. She stays connected, by one connection, for as long as she gets new ones.
	var connected atomic.Int64
	ada := w.dial("ada", 6*time.Second, claims{"rooms": map[string]any{"*": []string{"join", "publish"}, "chat-*": []string{"moderate"}}}, func(c *parley.Config) {
		c.OnState = func(s parley.StateChange) {
			if s.State == parley.Connected {
				connected.Add(1)
			}
		}
	})
	require.Equal(t, "ada", ada.MemberID())
	first := ada.Session().TokenExpiresAt

	// Eve's token says where she may do what.
	eve := w.dial("eve", time.Hour, claims{"rooms": map[string]any{"news": []string{"join"}, "chat-*": []string{"join", "publish", "history"}}})
	news, chat := w.join(eve, "news"), w.join(eve, "chat-1")
	require.ErrorIs(t, w.publish(news), parley.CodeForbidden)
	require.NoError(t, w.publish(chat))
	_, err := news.History(t.Context(), parley.HistoryOptions{})
	require.ErrorIs(t, err, parley.CodeForbidden)
	_, err = chat.History(t.Context(), parley.HistoryOptions{})
	require.NoError(t, err)
	_, err = eve.Join(t.Context(), "secret", parley.JoinOptions{})
	require.ErrorIs(t, err, parley.CodeForbidden)

	// Ada moderates chats, in her own name, and nothing else.
	mine := w.issuer.token("ada", time.Hour, claims{"rooms": map[string]any{"chat-*": []string{"moderate"}}})
	status, text := w.moderate("Ban", mine, `{"room_id":"news","member_id":"eve"}`)
	require.Equal(t, http.StatusForbidden, status, text)
	status, text = w.moderate("Ban", mine, `{"room_id":"chat-1","member_id":"eve","reason":"spam"}`)
	require.Equal(t, http.StatusOK, status, text)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, err := range chat.Messages(ctx) {
		if err != nil {
			require.ErrorIs(t, err, parley.CodeBanned)
			break
		}
	}
	require.ErrorIs(t, w.publish(chat), parley.CodeBanned)
	admin := w.issuer.token("ops", time.Hour, claims{"scope": "parley:admin"})
	status, text = w.moderate("ListBans", admin, `{"room_id":"chat-1"}`)
	require.Equal(t, http.StatusOK, status, text)
	require.Contains(t, text, `"ada"`, "who did it")
	status, _ = w.moderate("ListBans", w.issuer.token("ops", time.Hour, nil), `{"room_id":"chat-1"}`)
	require.Equal(t, http.StatusUnauthorized, status)

	// The issuer signs with a new key, and goes away: who is known stays welcome.
	w.issuer.rotate()
	lobby := w.join(w.dial("bob", time.Hour, everything), "lobby")
	require.NoError(t, w.publish(lobby))
	w.issuer.server.Close()
	require.NoError(t, w.publish(w.join(w.dial("carol", time.Hour, everything), "lobby")))

	// From the command line, with the gateway's certificate.
	token := w.issuer.token("dave", time.Hour, everything)
	out, code := w.command([]string{"PARLEY_TOKEN=" + token}, "publish", "--server", w.address(), "--ca", w.cert.cert, "lobby", "from the shell "+canary)
	require.Zero(t, code, out)
	require.NotContains(t, out, token)
	out, code = w.command([]string{"PARLEY_TOKEN=" + w.issuer.token("dave", -time.Hour, everything)}, "publish", "--server", w.address(), "--ca", w.cert.cert, "lobby", "late")
	require.Equal(t, 1, code)
	require.Contains(t, out, "the token has expired")

	// A token that is not renewed ends the connection, and the program hears of it.
	var asked atomic.Int64
	frank := w.dial("frank", 0, nil, func(c *parley.Config) {
		c.GetToken = func(context.Context) (string, error) {
			if asked.Add(1) == 1 {
				return w.issuer.token("frank", -28*time.Second, everything), nil // within the difference that clocks may have
			}
			return "", fmt.Errorf("%w: logged out", parley.ErrNoToken)
		}
	})
	select {
	case <-frank.Done():
		require.ErrorIs(t, frank.Err(), parley.ErrNoToken)
	case <-time.After(patience):
		require.Fail(t, "the connection outlives its token")
	}

	require.Eventually(t, func() bool { return ada.Session().TokenExpiresAt.After(first.Add(5 * time.Second)) }, patience, 50*time.Millisecond)
	require.Equal(t, int64(1), connected.Load(), "over the same connection")
	w.nothingShown()
}

// command runs parley and returns all that it printed.
func (w *world) command(env []string, args ...string) (output string, code int) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, harness.Build(w.t), args...)
	cmd.Env = append(cmd.Environ(), env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); cmd.ProcessState == nil {
		require.NoError(w.t, err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// nothingShown looks for tokens and contents where operators look: logs with every detail, traces, and metrics.
func (w *world) nothingShown() {
	w.t.Helper()
	require.NotEmpty(w.t, w.issuer.tokens)
	for _, n := range []*harness.Node{w.gateway, w.rooms} {
		req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, n.OpsURL()+"/metrics", nil)
		require.NoError(w.t, err)
		_, metrics := w.do(req)
		require.Contains(w.t, metrics, "parley_auth_keys_fetched_total")
		require.NoError(w.t, n.Term(patience)) // what is buffered comes out
		shown := n.Log() + metrics
		require.Contains(w.t, shown, `"SpanContext"`, "traces are among it")
		require.NotContains(w.t, shown, canary)
		for _, token := range w.issuer.tokens {
			for part := range strings.SplitSeq(token, ".") {
				require.NotContains(w.t, shown, part)
			}
		}
	}
}
