package gateway

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	dcmemory "github.com/parley-rt/parley/libs/dcplane/memory"
	"github.com/parley-rt/parley/libs/opskit"
	"github.com/parley-rt/parley/libs/opskit/auth"
	"github.com/parley-rt/parley/libs/persistence/memory"
)

func TestNewTellsAllProblemsAtOnce(t *testing.T) {
	t.Parallel()
	_, err := New(Config{
		Node: "no such/name", Host: "localhost", RemotingPort: 70000, Listen: "8080", WSPath: "/", MaxConnections: -1,
		AllowedOrigins: []string{"chat.example.com"}, SessionTTL: 1,
	}, Deps{})
	require.ErrorIs(t, err, ErrInvalidConfig)
	for _, part := range []string{
		"dc is empty", "node: node name must match", `host "localhost" is not an IP`, "remoting port 70000", `listen "8080"`, `ws path "/"`,
		"max connections is negative", `origin "chat.example.com"`, "session ttl 1ns", "PARLEY_AUTH_MODE: is not set", "backend is missing", "directory is missing",
	} {
		require.ErrorContains(t, err, part)
	}
}

func TestAuthMode(t *testing.T) {
	t.Parallel()
	dir, err := dcmemory.NewPlane().Open(t.Context(), dcmemory.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dir.Close(t.Context())) })
	secret := opskit.NewSecret("a secret of the tests that is long enough")
	for _, c := range []struct {
		cfg   auth.Config
		rooms []string
		want  string
	}{
		{auth.Config{}, nil, "PARLEY_AUTH_MODE: is not set"},
		{auth.Config{Mode: "magic"}, nil, `PARLEY_AUTH_MODE: "magic" is not known`},
		{auth.Config{Mode: "jwt"}, nil, "PARLEY_AUTH_HMAC_SECRET: has 0 bytes"},
		{auth.Config{Mode: "jwt", HMACSecret: secret}, []string{"a=read"}, `capability "read" is none of join`},
		{auth.Config{Mode: "jwt", HMACSecret: secret}, []string{"chat-*=join", "news"}, ""},
		{noAuth, nil, ""},
	} {
		_, err := New(Config{DC: "local", Node: "gateway-1", Auth: c.cfg, AuthDefaultRooms: c.rooms}, Deps{Backend: memory.New(memory.Options{}), Directory: dir})
		if c.want == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, c.want)
		require.Equal(t, 1, strings.Count(err.Error(), c.want))
	}
}
