package actorkit

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestEncodedNames(t *testing.T) {
	t.Parallel()
	require.Equal(t, "door-rooms-1.eu", doorName("rooms-1.eu"))
	require.Equal(t, "door-a_5fb_2f_c3_a4", doorName("a_b/ä"))
	goakt := regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9-_.]*$`)
	seen := map[string]string{}
	rapid.Check(t, func(t *rapid.T) {
		node := rapid.StringN(1, -1, maxIDBytes).Draw(t, "node")
		name := doorName(node)
		require.Regexp(t, goakt, name)
		require.LessOrEqual(t, len(name), 255, "GoAkt's limit")
		if other, ok := seen[name]; ok {
			require.Equal(t, other, node)
		}
		seen[name] = node
	})
	require.LessOrEqual(t, len(doorName(strings.Repeat("/", maxIDBytes))), 255)
}
