package gateway

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/opskit"
	"github.com/parley-rt/parley/libs/opskit/auth"
	"github.com/parley-rt/parley/libs/persistence/memory"
	clientv1 "github.com/parley-rt/parley/libs/protocol/client/v1"
)

// canary is in the secret and in every token's claims, and must be in nothing that is shown.
const canary = "canary-canary-canary-canary-canary"

func withTokens(c *Config) {
	c.Auth = auth.Config{Mode: auth.ModeJWT, HMACSecret: opskit.NewSecret(canary), Audience: "parley"}
}

// token signs one for a member: all but moderate everywhere, unless said otherwise.
func token(t testing.TB, member string, edit ...func(*auth.Claims)) string {
	t.Helper()
	c := auth.Claims{
		Subject: member, Audience: "parley", Rooms: []auth.Grant{{Pattern: "*", May: auth.Ordinary}},
		IssuedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour),
	}
	for _, e := range edit {
		e(&c)
	}
	signed, err := auth.Sign(opskit.NewSecret(canary), c)
	require.NoError(t, err)
	return signed
}

func rooms(texts ...string) func(*auth.Claims) {
	return func(c *auth.Claims) {
		c.Rooms = []auth.Grant{}
		for _, text := range texts {
			g, err := auth.ParseGrant(text)
			if err != nil {
				panic(err)
			}
			c.Rooms = append(c.Rooms, g)
		}
	}
}

func expiring(in time.Duration) func(*auth.Claims) {
	return func(c *auth.Claims) {
		c.ExpiresAt = time.Now().Add(in)
		c.IssuedAt = c.ExpiresAt.Add(-time.Hour)
	}
}

// hello opens a session as whom the token says.
func (g *bundle) hello(token, session string) *client {
	g.t.Helper()
	c := g.dialAt("/ws?hello=1")
	c.send(`{"id":5,"hello":{"token":%q,"session_token":%q}}`, token, session)
	c.session = c.expect("session").GetSession()
	return c
}

// refused sends hello with a token that is no good and returns what the gateway says before it closes with that code.
func (g *bundle) refused(token string, code clientv1.CloseCode) *clientv1.Error {
	g.t.Helper()
	c := g.dialAt("/ws?hello=1")
	c.send(`{"id":5,"hello":{"token":%q}}`, token)
	env := c.expect("error")
	require.Equal(g.t, uint32(5), env.GetId())
	c.expectClose(code)
	return env.GetError()
}

func TestMembersAreWhoTheirTokensSay(t *testing.T) {
	t.Parallel()
	g := setup(t, 1, withTokens)
	ada := g.hello(token(t, "ada"), "")
	require.Equal(t, "ada", ada.session.GetMemberId())
	require.WithinDuration(t, time.Now().Add(time.Hour), ada.session.GetTokenExpiresAt().AsTime(), time.Minute)
	ada.send(`{"join_room":{"room_id":"room-1"}}`)
	ada.expect("room_joined")
	bob := g.hello(token(t, "bob"), "")
	bob.send(`{"join_room":{"room_id":"room-1"}}`)
	bob.expect("room_joined")
	bob.send(`{"message":{"target":"room-1","content":"hi","sender":"ada"}}`)
	require.Equal(t, "bob", ada.find("message").GetMessage().GetSender())

	// The session goes on for who it belongs to.
	back := g.hello(token(t, "ada"), ada.session.GetToken())
	require.True(t, back.session.GetResumed())
	require.Equal(t, []string{"room-1"}, back.session.GetRooms())
	ada.expectClose(clientv1.CloseCode_CLOSE_CODE_SESSION_REPLACED)

	// Somebody else's token opens a session of their own, and takes nothing from hers.
	eve := g.hello(token(t, "eve"), back.session.GetToken())
	require.False(t, eve.session.GetResumed())
	require.Equal(t, "eve", eve.session.GetMemberId())
	require.Empty(t, eve.session.GetRooms())
	back.expect("room_joined")
	back.send(`{"id":9,"ping":{}}`)
	back.expect("pong")
	require.True(t, g.hello(token(t, "ada"), back.session.GetToken()).session.GetResumed())
}

// A guest's session is not taken over by a member, nor a member's by a guest, when the mode changes.
func TestSessionsOfGuestsAreNotMembers(t *testing.T) {
	t.Parallel()
	backend := memory.New(memory.Options{})
	guests := setupWith(t, 1, backend)
	guest := guests.connect("")
	members := setupWith(t, 1, backend, withTokens)
	ada := members.hello(token(t, "ada"), guest.session.GetToken())
	require.False(t, ada.session.GetResumed())
	require.Equal(t, "ada", ada.session.GetMemberId())
	require.False(t, guests.connect(ada.session.GetToken()).session.GetResumed())
}

func TestTokensThatAreNoGood(t *testing.T) {
	t.Parallel()
	var logged logs
	g := setupLogged(t, 1, memory.New(memory.Options{}), debugLogger(&logged), withTokens)
	good := token(t, "ada")
	parts := strings.Split(good, ".")
	for name, c := range map[string]struct {
		token, says string
		code        clientv1.CloseCode
	}{
		"none":           {"", "a token is needed", clientv1.CloseCode_CLOSE_CODE_UNAUTHENTICATED},
		"nonsense":       {canary, "the token is malformed", clientv1.CloseCode_CLOSE_CODE_UNAUTHENTICATED},
		"huge":           {strings.Repeat("a", 20<<10), "the token is malformed", clientv1.CloseCode_CLOSE_CODE_UNAUTHENTICATED},
		"alg none":       {base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + ".", "algorithm", clientv1.CloseCode_CLOSE_CODE_UNAUTHENTICATED},
		"no signature":   {parts[0] + "." + parts[1] + ".", "signature is wrong", clientv1.CloseCode_CLOSE_CODE_UNAUTHENTICATED},
		"other audience": {token(t, "ada", func(c *auth.Claims) { c.Audience = "other" }), "aud is for others", clientv1.CloseCode_CLOSE_CODE_UNAUTHENTICATED},
		"bad member":     {token(t, "a\n"+canary), "sub is no member id", clientv1.CloseCode_CLOSE_CODE_UNAUTHENTICATED},
		"long member":    {token(t, strings.Repeat("a", 129)), "sub is no member id", clientv1.CloseCode_CLOSE_CODE_UNAUTHENTICATED},
		"platform":       {token(t, "schedule:1"), "sub is no member id", clientv1.CloseCode_CLOSE_CODE_UNAUTHENTICATED},
		"expired":        {token(t, "ada", expiring(-time.Minute)), "has expired", clientv1.CloseCode_CLOSE_CODE_TOKEN_EXPIRED},
	} {
		e := g.refused(c.token, c.code)
		require.Equal(t, "UNAUTHENTICATED", e.GetCode(), name)
		require.Contains(t, e.GetMessage(), c.says, name)
		require.NotContains(t, e.GetMessage(), canary, name)
	}
	// What comes first instead of hello does not get in either.
	c := g.dial()
	c.send(`{"join_room":{"room_id":"room-1"}}`)
	require.Equal(t, "UNAUTHENTICATED", c.expect("error").GetError().GetCode())
	c.expectClose(clientv1.CloseCode_CLOSE_CODE_UNAUTHENTICATED)
	require.Contains(t, logged.String(), "token of a member refused")
	for _, secret := range append(parts, canary) {
		require.NotContains(t, logged.String(), secret)
	}
}

func TestSilenceEndsWithAuthTimeout(t *testing.T) {
	t.Parallel()
	g := setup(t, 1, withTokens, func(c *Config) { c.AuthTimeout = 300 * time.Millisecond })
	g.dial().expectClose(clientv1.CloseCode_CLOSE_CODE_AUTH_TIMEOUT)
	g.dialAt("/ws?hello=1").expectClose(clientv1.CloseCode_CLOSE_CODE_AUTH_TIMEOUT)
}

func (g *bundle) dialWith(header http.Header, path string) (*client, *http.Response, error) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	socket, res, err := websocket.Dial(ctx, "ws://"+g.service.Addr()+path, &websocket.DialOptions{HTTPClient: g.http, HTTPHeader: header})
	if err != nil {
		return nil, res, err
	}
	return g.client(socket), res, nil
}

// A bearer token in the handshake is checked before there is a connection.
func TestTokenInTheHandshake(t *testing.T) {
	t.Parallel()
	g := setup(t, 1, withTokens)
	with := func(value string) http.Header { return http.Header{"Authorization": {value}} }
	c, _, err := g.dialWith(with("Bearer "+token(t, "ada")), "/ws")
	require.NoError(t, err)
	session := c.expect("session").GetSession() // also without a word
	require.Equal(t, "ada", session.GetMemberId())
	c, _, err = g.dialWith(with("Bearer "+token(t, "ada")), "/ws?hello=1")
	require.NoError(t, err)
	c.send(`{"hello":{"session_token":%q}}`, session.GetToken())
	require.True(t, c.expect("session").GetSession().GetResumed())

	opened := g.service.acceptor.Active()
	for name, header := range map[string]http.Header{
		"expired": with("Bearer " + token(t, "ada", expiring(-time.Minute))),
		"another": with("Bearer " + canary),
		"scheme":  with("Basic " + canary),
		"empty":   with(""),
		"two":     {"Authorization": {"Bearer " + token(t, "ada"), "Bearer " + token(t, "eve")}},
	} {
		_, res, err := g.dialWith(header, "/ws")
		require.Error(t, err, name)
		require.Equal(t, http.StatusUnauthorized, res.StatusCode, name)
		require.Contains(t, res.Header.Get("Www-Authenticate"), "Bearer", name)
	}
	require.LessOrEqual(t, g.service.acceptor.Active(), opened)
	// A token in the address is none.
	c, _, err = g.dialWith(nil, "/ws?token="+token(t, "ada")+"&access_token="+token(t, "ada"))
	require.NoError(t, err)
	c.send(`{"ping":{}}`)
	c.expect("error")
	c.expectClose(clientv1.CloseCode_CLOSE_CODE_UNAUTHENTICATED)
}

func (g *bundle) in(token string, names ...string) *client {
	g.t.Helper()
	c := g.hello(token, "")
	for _, name := range names {
		c.send(`{"join_room":{"room_id":%q}}`, name)
		c.expect("room_joined")
	}
	return c
}

func (c *client) expectForbidden(room string) {
	c.t.Helper()
	e := c.expect("error").GetError()
	require.Equal(c.t, "FORBIDDEN", e.GetCode(), "%v", e)
	require.Equal(c.t, room, e.GetRoomId())
	require.False(c.t, e.GetRetryable())
}

// What a token does not allow is refused, in every kind of frame, and nothing of it reaches the room.
func TestCapabilities(t *testing.T) {
	t.Parallel()
	g := setup(t, 1, withTokens)
	reader := g.in(token(t, "reader", rooms("room-*=join")), "room-1")
	writer := g.in(token(t, "writer", rooms("room-1")), "room-1")
	reader.send(`{"message":{"target":"room-1","content":"x","message_id":"m"}}`)
	reader.expectForbidden("room-1")
	reader.send(`{"signal":{"target":"room-1","type":"typing"}}`)
	reader.expectForbidden("room-1")
	reader.send(`{"history":{"room_id":"room-1"}}`)
	reader.expectForbidden("room-1")
	reader.send(`{"presence":{"room_id":"room-1"}}`)
	reader.expectForbidden("room-1")
	reader.send(`{"join_room":{"room_id":"other"}}`)
	reader.expectForbidden("other")
	reader.send(`{"message":{"target":"room-2","content":"x"}}`)
	require.Equal(t, "NOT_JOINED", reader.expect("error").GetError().GetCode(), "comes before permissions")
	writer.send(`{"message":{"target":"room-1","content":"first"}}`)
	require.Equal(t, []string{"first"}, reader.messages(1))
	writer.send(`{"history":{"room_id":"room-1"}}`)
	require.Len(t, writer.find("history_page").GetHistoryPage().GetMessages(), 1)

	// Rooms of hello, and a token without any.
	c := g.dialAt("/ws?hello=1")
	c.send(`{"hello":{"token":%q,"rooms":[{"room_id":"other"},{"room_id":"room-1"}]}}`, token(t, "reader", rooms("room-*=join")))
	require.Equal(t, []string{"room-1"}, c.expect("session").GetSession().GetRooms())
	c.expectForbidden("other")
	c.expect("room_joined")
	nobody := g.in(token(t, "nobody", func(c *auth.Claims) { c.Rooms = nil }))
	nobody.send(`{"join_room":{"room_id":"room-1"}}`)
	nobody.expectForbidden("room-1")
}

func TestDefaultRooms(t *testing.T) {
	t.Parallel()
	g := setup(t, 1, withTokens, func(c *Config) { c.AuthDefaultRooms = []string{"lobby=join"} })
	c := g.in(token(t, "ada", func(c *auth.Claims) { c.Rooms = nil }), "lobby")
	c.send(`{"join_room":{"room_id":"room-1"}}`)
	c.expectForbidden("room-1")
	c = g.in(token(t, "ada", rooms("room-1")), "room-1") // the claim says it all
	c.send(`{"join_room":{"room_id":"lobby"}}`)
	c.expectForbidden("lobby")
}

// A session that is resumed has the rights of the new token.
func TestResumeHasTheNewTokensRights(t *testing.T) {
	t.Parallel()
	g := setup(t, 1, withTokens)
	ada := g.in(token(t, "ada"), "room-1", "room-2")
	back := g.dialAt("/ws?hello=1")
	back.send(`{"hello":{"token":%q,"session_token":%q}}`, token(t, "ada", rooms("room-1=join")), ada.session.GetToken())
	session := back.expect("session").GetSession()
	require.Equal(t, []string{"room-1"}, session.GetRooms())
	back.expectForbidden("room-2")
	back.expect("room_joined")
	back.send(`{"message":{"target":"room-1","content":"x"}}`)
	back.expectForbidden("room-1")
	// The room was taken out of the session: more rights later do not bring it back unasked.
	require.Equal(t, []string{"room-1"}, g.hello(token(t, "ada"), session.GetToken()).session.GetRooms())
}

func TestRenewal(t *testing.T) {
	t.Parallel()
	g := setup(t, 1, withTokens)
	ada := g.in(token(t, "ada"), "room-1", "room-2")
	bob := g.in(token(t, "bob"), "room-1", "room-2")

	// One that is no good changes nothing.
	for name, c := range map[string]struct{ token, code string }{
		"another's": {token(t, "bob"), "FORBIDDEN"},
		"expired":   {token(t, "ada", expiring(-time.Minute)), "UNAUTHENTICATED"},
		"nonsense":  {canary, "UNAUTHENTICATED"},
		"none":      {"", "INVALID_ARGUMENT"},
	} {
		ada.send(`{"id":7,"renew":{"token":%q}}`, c.token)
		env := ada.expect("error")
		require.Equal(t, uint32(7), env.GetId(), name)
		require.Equal(t, c.code, env.GetError().GetCode(), name)
		require.NotContains(t, env.GetError().GetMessage(), canary)
	}
	bob.send(`{"message":{"target":"room-2","content":"still there"}}`)
	require.Equal(t, []string{"still there"}, ada.messages(1))
	bob.find("ack")

	// A good one that allows less takes her out of a room, and allows no more than it says in the other.
	ada.send(`{"id":8,"renew":{"token":%q}}`, token(t, "ada", rooms("room-1=join"), expiring(2*time.Hour)))
	env := ada.expect("renewed")
	require.Equal(t, uint32(8), env.GetId())
	require.WithinDuration(t, time.Now().Add(2*time.Hour), env.GetRenewed().GetExpiresAt().AsTime(), time.Minute)
	left := ada.expect("room_left").GetRoomLeft()
	require.Equal(t, "room-2", left.GetRoomId())
	require.Equal(t, "forbidden", left.GetReason())
	require.Contains(t, left.GetMessage(), "does not allow join")
	ada.send(`{"message":{"target":"room-1","content":"x"}}`)
	ada.expectForbidden("room-1")
	ada.send(`{"join_room":{"room_id":"room-2"}}`)
	ada.expectForbidden("room-2")
	bob.send(`{"message":{"target":"room-2","content":"not for ada"}}`)
	bob.find("ack")
	bob.send(`{"message":{"target":"room-1","content":"for ada"}}`)
	require.Equal(t, "for ada", ada.expect("message").GetMessage().GetContent())
	require.Eventually(t, func() bool { return g.journal.members("room-2") == 1 }, patience, 10*time.Millisecond, "the room knows that she has left")

	// More rights, and she may join again.
	ada.send(`{"renew":{"token":%q}}`, token(t, "ada"))
	ada.expect("renewed")
	ada.send(`{"join_room":{"room_id":"room-2"}}`)
	ada.expect("room_joined")

	guests := setup(t, 1)
	guest := guests.connect("")
	guest.send(`{"id":3,"renew":{"token":%q}}`, token(t, "ada"))
	require.Equal(t, "INVALID_ARGUMENT", guest.expect("error").GetError().GetCode())
}

// A connection ends when its token expires, unless that was renewed; the clocks' difference is on its side.
func TestExpiry(t *testing.T) {
	t.Parallel()
	g := setup(t, 1, withTokens)
	ends := time.Now().Add(2 * time.Second)
	soon := expiring(2*time.Second - auth.ClockSkew)
	c, renewed := g.hello(token(t, "ada", soon), ""), g.hello(token(t, "bob", soon), "")
	renewed.send(`{"renew":{"token":%q}}`, token(t, "bob"))
	renewed.expect("renewed")
	c.expectClose(clientv1.CloseCode_CLOSE_CODE_TOKEN_EXPIRED)
	require.WithinRange(t, time.Now(), ends.Add(-1500*time.Millisecond), ends.Add(patience)) // exp has whole seconds
	renewed.send(`{"ping":{}}`)
	renewed.expect("pong")
	// The session goes on with a new token.
	require.True(t, g.hello(token(t, "ada"), c.session.GetToken()).session.GetResumed())
}

// While the issuer is away nobody is called unauthenticated: who it would be is told to come back.
func TestIssuerAway(t *testing.T) {
	t.Parallel()
	public, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	var mu sync.Mutex
	there := false
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if !there {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{map[string]any{
			"kty": "OKP", "crv": "Ed25519", "kid": "1", "x": base64.RawURLEncoding.EncodeToString(public),
		}}})
	}))
	defer issuer.Close()
	claims := fmt.Sprintf(`{"sub":"ada","iss":"https://issuer.example","aud":"parley","exp":%d,"rooms":["*"]}`, time.Now().Add(time.Hour).Unix())
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"EdDSA","kid":"1"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	signed := text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(private, []byte(text)))

	g := setup(t, 1, func(c *Config) {
		c.Auth = auth.Config{Mode: auth.ModeJWT, JWKSURL: issuer.URL, Issuer: "https://issuer.example", Audience: "parley"}
	})
	e := g.refused(signed, clientv1.CloseCode_CLOSE_CODE_INTERNAL)
	require.Equal(t, "UNAVAILABLE", e.GetCode())
	require.True(t, e.GetRetryable())
	_, res, err := g.dialWith(http.Header{"Authorization": {"Bearer " + signed}}, "/ws")
	require.Error(t, err)
	require.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
	require.NotEmpty(t, res.Header.Get("Retry-After"))
	require.Error(t, g.service.auth.verifier.Ready(t.Context()))

	mu.Lock()
	there = true
	mu.Unlock()
	require.Eventually(t, func() bool { return g.service.auth.verifier.Ready(t.Context()) == nil }, 2*patience, 20*time.Millisecond)
	require.Equal(t, "ada", g.hello(signed, "").session.GetMemberId())
	issuer.Close()
	require.Equal(t, "ada", g.hello(signed, "").session.GetMemberId(), "the last good keys stay")
}

// logs is what was logged, safe for concurrent use.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func debugLogger(to *logs) *slog.Logger {
	return slog.New(slog.NewJSONHandler(to, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
