package document

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/parley-rt/parley/libs/dcplane"
)

func TestEncodeKey(t *testing.T) {
	t.Parallel()
	for want, k := range map[string]dcplane.Key{
		"nodes/dc-a/rooms/rooms-1": {DC: "dc-a", Service: "rooms", Name: "rooms-1"},
		"nodes/a=2Fb/x/=2E=2E":     {DC: "a/b", Service: "x", Name: ".."},
		"nodes/=2A/=3E/=24KV":      {DC: "*", Service: ">", Name: "$KV"},
		"nodes/=3D41/=00/=C3=A9_-": {DC: "=41", Service: "\x00", Name: "é_-"},
	} {
		require.Equal(t, want, EncodeKey(k))
		got, err := DecodeKey(want)
		require.NoError(t, err)
		require.Equal(t, k, got)
	}
}

func TestDecodeKeyRefuses(t *testing.T) {
	t.Parallel()
	for _, key := range []string{
		"", "nodes", "nodes/", "nodes/a/b", "nodes/a/b/c/d", "node/a/b/c", "intent/a", "nodes/a//c", "nodes//b/c",
		"nodes/a/b/c.d", "nodes/a/b/=", "nodes/a/b/=4", "nodes/a/b/=2e", "nodes/a/b/=41", "nodes/a/b/=GG", "nodes/a/b/=2E=",
	} {
		_, err := DecodeKey(key)
		require.Error(t, err, "%q", key)
	}
}

// TestKeyProperties: no name leaves the alphabet of keys, and no two nodes share one.
func TestKeyProperties(t *testing.T) {
	t.Parallel()
	valid := regexp.MustCompile(`^nodes(/[A-Za-z0-9_=-]+){3}$`)
	part := rapid.OneOf(rapid.StringN(1, 20, 128), rapid.StringMatching(`[./=*>$A-C0-2-]{1,6}`))
	rapid.Check(t, func(t *rapid.T) {
		k := dcplane.Key{DC: part.Draw(t, "dc"), Service: part.Draw(t, "service"), Name: part.Draw(t, "name")}
		key := EncodeKey(k)
		require.Regexp(t, valid, key)
		got, err := DecodeKey(key)
		require.NoError(t, err)
		require.Equal(t, k, got)
	})
}

// FuzzDecodeKey: whatever decodes is the one encoding of what it decodes to.
func FuzzDecodeKey(f *testing.F) {
	f.Add("nodes/dc-a/rooms/rooms-1")
	f.Add("nodes/a=2Fb/x/=2E=2E")
	f.Fuzz(func(t *testing.T, key string) {
		if k, err := DecodeKey(key); err == nil {
			require.Equal(t, key, EncodeKey(k))
		}
	})
}
