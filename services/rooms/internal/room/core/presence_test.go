package core

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

func TestPresenceList(t *testing.T) {
	t.Parallel()
	p := NewPresence()
	var everybody []*roomv1.Present
	for n := range PresenceListed + 500 {
		everybody = append(everybody, &roomv1.Present{MemberId: fmt.Sprintf("m%05d", n), Connections: 1})
	}
	p.Online("gw-1", &roomv1.Online{Full: true, Members: everybody})
	p.Online("gw-2", &roomv1.Online{Members: []*roomv1.Present{{MemberId: "m00000", Connections: 2}, {MemberId: "", Connections: 9}}})
	require.Equal(t, PresenceListed+500, p.Count())
	list := p.List()
	require.Len(t, list, PresenceListed)
	require.Equal(t, uint32(3), list[0].Connections)
	require.True(t, slices.IsSortedFunc(list, func(a, b *roomv1.Present) int { return compareStrings(a.MemberId, b.MemberId) }))

	p.Drop("gw-1")
	require.Equal(t, 1, p.Count())
	require.Equal(t, uint32(2), p.List()[0].Connections)
	p.Online("gw-2", &roomv1.Online{Members: []*roomv1.Present{{MemberId: "m00000"}}})
	require.Zero(t, p.Count())
	require.Empty(t, p.List())
	require.Empty(t, p.nodes)
}

func compareStrings(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	default:
		return 0
	}
}

// The totals are always the sum of what the nodes last said.
func TestPresenceModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := NewPresence()
		model := map[string]map[string]uint32{"a": {}, "b": {}}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			node := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "node")
			if rapid.IntRange(0, 9).Draw(t, "drop") == 0 {
				p.Drop(node)
				model[node] = map[string]uint32{}
				continue
			}
			full := rapid.IntRange(0, 4).Draw(t, "full") == 0
			if full {
				model[node] = map[string]uint32{}
			}
			var members []*roomv1.Present
			for range rapid.IntRange(0, 4).Draw(t, "members") {
				m := fmt.Sprint(rapid.IntRange(0, 5).Draw(t, "member"))
				n := uint32(rapid.IntRange(0, 3).Draw(t, "connections"))
				members = append(members, &roomv1.Present{MemberId: m, Connections: n})
				if model[node][m] = n; n == 0 {
					delete(model[node], m)
				}
			}
			p.Online(node, &roomv1.Online{Full: full, Members: members})
			want := map[string]uint32{}
			for _, share := range model {
				for m, n := range share {
					want[m] += n
				}
			}
			require.Equal(t, want, p.total)
			require.Equal(t, len(want), p.Count())
			require.Len(t, p.List(), len(want))
		}
	})
}
