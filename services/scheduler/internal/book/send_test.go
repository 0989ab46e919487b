package book

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestReasonsCanBeStored(t *testing.T) {
	t.Parallel()
	for _, reason := range []string{
		"", "short", strings.Repeat("x", maxReason), strings.Repeat("x", maxReason+1), strings.Repeat("ü", maxReason), "x" + strings.Repeat("€", maxReason),
		"not \xff UTF-8", strings.Repeat("\xff", 3*maxReason), strings.Repeat("\xffa", maxReason),
	} {
		got := bounded(reason)
		require.LessOrEqual(t, len(got), maxReason)
		require.True(t, utf8.ValidString(got), "%q", got)
		if utf8.ValidString(reason) && len(reason) <= maxReason {
			require.Equal(t, reason, got)
		}
	}
}
