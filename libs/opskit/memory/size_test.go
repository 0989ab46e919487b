package memory

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Size{
		"0": 0, "1": 1, "17B": 17, "1KiB": 1 << 10, "256MiB": 256 << 20, " 4 GiB ": 4 << 30, "2TiB": 2 << 40, "268435456": 256 << 20,
	} {
		var s Size
		require.NoError(t, s.UnmarshalText([]byte(text)), text)
		require.Equal(t, want, s, text)
	}
	for _, text := range []string{"", "x", "-1", "1.5GiB", "256MB", "MiB", "9999999TiB", "1 2"} {
		var s Size
		require.Error(t, s.UnmarshalText([]byte(text)), text)
	}
}
