package opskit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

const hidden = "hunter2"

func TestSecretIsNeverPrinted(t *testing.T) {
	t.Parallel()
	s := NewSecret(hidden)
	type exported struct{ Key Secret }
	type unexported struct{ key Secret }
	values := []any{s, &s, exported{s}, &exported{s}, unexported{s}, &unexported{s}, []Secret{s}, map[string]Secret{"k": s}, fmt.Errorf("connect with %v", s)}
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%10s", "%-8.3s", "%T %v"} {
			require.NotContains(t, fmt.Sprintf(verb, v), hidden, "%s of %T", verb, v)
			require.NotContains(t, fmt.Sprintf(verb, v), fmt.Sprintf("%x", hidden), "%s of %T", verb, v)
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		require.Equal(t, "***", fmt.Sprintf(verb, s), verb)
	}
	require.Equal(t, "***", s.String())
	require.Equal(t, "***", s.GoString())
}

func TestSecretIsNeverEncoded(t *testing.T) {
	t.Parallel()
	cfg := struct {
		Key   Secret            `json:"key"`
		Named map[string]Secret `json:"named"`
	}{NewSecret(hidden), map[string]Secret{"k": NewSecret(hidden)}}

	encoded, err := json.Marshal(cfg)
	require.NoError(t, err)
	require.JSONEq(t, `{"key":"***","named":{"k":"***"}}`, string(encoded))

	encoded, err = yaml.Marshal(cfg)
	require.NoError(t, err)
	require.NotContains(t, string(encoded), hidden)
	require.Contains(t, string(encoded), "***")

	for _, format := range []string{LogJSON, LogText} {
		var buf bytes.Buffer
		NewLogger(LogConfig{Format: format, Writer: &buf}).Info("configured", slog.Any("key", cfg.Key), slog.Any("config", cfg), slog.Group("g", slog.Any("s", cfg.Key)))
		require.NotContains(t, buf.String(), hidden, format)
		require.Contains(t, buf.String(), "***", format)
	}
}

func TestSecretHasItsValue(t *testing.T) {
	t.Parallel()
	s := NewSecret(hidden)
	require.Equal(t, hidden, s.Reveal())
	require.False(t, s.Empty())
	require.True(t, s.Equal(hidden))
	require.False(t, s.Equal("hunter3"))

	var zero Secret
	require.True(t, zero.Empty())
	require.Empty(t, zero.Reveal())
	require.Empty(t, zero.String(), "an empty secret shows that it is empty")
	require.Equal(t, zero, NewSecret(""))

	require.NoError(t, zero.UnmarshalText([]byte("x")))
	require.Equal(t, "x", zero.Reveal())
}
