package roomhost

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHeadsAreBounded(t *testing.T) {
	t.Parallel()
	h := newHeads(3)
	require.Zero(t, h.of("a"))
	for i, room := range []string{"a", "b", "c"} {
		h.remember(room, uint64(i+1))
	}
	h.remember("a", 7)
	h.remember("b", 0) // an activation that did not come that far
	h.remember("d", 4)
	require.Equal(t, []uint64{7, 0, 3, 4}, []uint64{h.of("a"), h.of("b"), h.of("c"), h.of("d")}, "b stopped longest ago")
	h.remember("a", 5)
	require.EqualValues(t, 5, h.of("a"), "less is announced once, and is then what there is")
	require.Len(t, h.byRoom, 3)
}
