package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/opskit"
	"github.com/parley-rt/parley/libs/opskit/auth"
	parley "github.com/parley-rt/parley/sdk/go"
)

// A member's token says who it is for and what it may do where, and nothing of administrators.
func TestTokenOfAMember(t *testing.T) {
	t.Parallel()
	verifier, err := auth.NewVerifier(auth.Config{Mode: auth.ModeJWT, HMACSecret: opskit.NewSecret(hmacSecret), Audience: "parley"}, auth.Deps{})
	require.NoError(t, err)
	verify := func(args ...string) auth.Principal {
		token := must(t, append([]string{"token", "--hmac-secret", hmacSecret, "--audience", "parley"}, args...)...)
		p, err := verifier.Verify(t.Context(), strings.TrimSpace(token))
		require.NoError(t, err)
		return p
	}
	p := verify("--member", "ada", "--room", "chat-*=join,publish", "--room", "lobby", "--for", "2h")
	require.Equal(t, "ada", p.Subject)
	require.Empty(t, p.Scopes)
	require.Equal(t, auth.Join|auth.Publish, p.Rooms.In("chat-1"))
	require.Equal(t, auth.Ordinary, p.Rooms.In("lobby"))
	require.Zero(t, p.Rooms.In("other"))
	require.WithinDuration(t, time.Now().Add(2*time.Hour), p.ExpiresAt, time.Minute)
	require.Equal(t, auth.Ordinary, verify("--member", "ada").Rooms.In("any"))
	require.True(t, verify("--admin").Has(auth.ScopeAdmin))

	for want, args := range map[string][]string{
		"say whom the token is for": {},
		"leave one out":             {"--admin", "--member", "ada"},
		"everything everywhere":     {"--admin", "--room", "lobby"},
		"printable UTF-8":           {"--member", "a\nb"},
		`capability "read" is none`: {"--member", "ada", "--room", "lobby=read"},
		"a pattern has":             {"--member", "ada", "--room", "a b"},
	} {
		misused(t, want, append([]string{"token", "--hmac-secret", hmacSecret}, args...)...)
	}
}

// A command with a token that has expired says so instead of trying for ever.
func TestExpiredTokenEndsTheCommand(t *testing.T) {
	t.Parallel()
	signed, err := auth.Sign(opskit.NewSecret(hmacSecret), auth.Claims{Subject: "ada", IssuedAt: time.Unix(1, 0), ExpiresAt: time.Unix(2, 0)})
	require.NoError(t, err)
	_, err = memberFlags{Token: opskit.NewSecret(signed)}.getToken()(t.Context())
	require.ErrorIs(t, err, parley.ErrNoToken)
	require.ErrorContains(t, err, "has expired")
	require.NotContains(t, err.Error(), signed)
	for _, odd := range []string{"opaque", "a.b.c", "a.!.c"} {
		token, err := memberFlags{Token: opskit.NewSecret(odd)}.getToken()(t.Context())
		require.NoError(t, err)
		require.Equal(t, odd, token)
	}
}
