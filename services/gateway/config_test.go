package gateway

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	dcmemory "github.com/parley-rt/parley/libs/dcplane/memory"
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
		"max connections is negative", `origin "chat.example.com"`, "session ttl 1ns", "auth mode is not set", "backend is missing", "directory is missing",
	} {
		require.ErrorContains(t, err, part)
	}
}

func TestAuthMode(t *testing.T) {
	t.Parallel()
	dir, err := dcmemory.NewPlane().Open(t.Context(), dcmemory.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dir.Close(t.Context())) })
	for mode, want := range map[string]string{
		"":      `set it to "none"`,
		"jwt":   `this build supports only "none"`,
		"magic": `auth mode "magic" is not known`,
		"none":  "",
	} {
		_, err := New(Config{DC: "local", Node: "gateway-1", AuthMode: mode}, Deps{Backend: memory.New(memory.Options{}), Directory: dir})
		if want == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, want, mode)
		require.Equal(t, 1, strings.Count(err.Error(), "auth mode"))
	}
}
