package dcplane

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func names(nodes []Node) []string {
	out := make([]string, len(nodes))
	for i, n := range nodes {
		out[i] = n.Name
	}
	return out
}

func someNodes(count int) []Node {
	nodes := make([]Node, count)
	for i := range nodes {
		nodes[i] = testNode(fmt.Sprintf("rooms-%d", i))
	}
	return nodes
}

// TestRankGolden must never change: nodes of different versions have to agree where a room goes.
func TestRankGolden(t *testing.T) {
	t.Parallel()
	nodes := someNodes(5)
	for key, want := range map[string][]string{
		"":           {"rooms-2", "rooms-4", "rooms-0", "rooms-3", "rooms-1"},
		"lobby":      {"rooms-3", "rooms-0", "rooms-1", "rooms-4", "rooms-2"},
		"room-1":     {"rooms-2", "rooms-0", "rooms-1", "rooms-4", "rooms-3"},
		"room-2":     {"rooms-1", "rooms-0", "rooms-4", "rooms-3", "rooms-2"},
		"名前/../\x00": {"rooms-4", "rooms-3", "rooms-2", "rooms-0", "rooms-1"},
	} {
		require.Equal(t, want, names(Rank(key, nodes)), "key %q", key)
	}
}

func TestRankIsStable(t *testing.T) {
	t.Parallel()
	nodes := someNodes(20)
	for i := range 100 {
		key := fmt.Sprint("room-", i)
		want := Rank(key, nodes)
		shuffled := slices.Clone(nodes)
		rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		for i := range shuffled { // what changes in a node's life does not move its rooms
			shuffled[i].State, shuffled[i].Load, shuffled[i].Incarnation, shuffled[i].Host = StateDraining, 1, "two", "elsewhere"
		}
		before := slices.Clone(shuffled)
		require.Equal(t, names(want), names(Rank(key, shuffled)))
		require.Equal(t, before, shuffled, "the argument is left alone")
	}
	require.Empty(t, Rank("room", nil))
}

func TestRankMovesOnlyWhatItMust(t *testing.T) {
	t.Parallel()
	nodes := someNodes(10)
	without := slices.Delete(slices.Clone(nodes), 3, 4)
	for i := range 1000 {
		key := fmt.Sprint("room-", i)
		rest := slices.DeleteFunc(Rank(key, nodes), func(n Node) bool { return n.Name == nodes[3].Name })
		require.Equal(t, rest, Rank(key, without))
	}
}

func TestRankSpreads(t *testing.T) {
	t.Parallel()
	const keys, count = 20000, 10
	nodes := someNodes(count)
	first, second := make(map[string]int), make(map[string]int)
	for i := range keys {
		ranked := Rank(fmt.Sprint("room-", i), nodes)
		first[ranked[0].Name]++
		if ranked[0].Name == nodes[0].Name {
			second[ranked[1].Name]++
		}
	}
	for _, n := range nodes {
		require.InEpsilon(t, keys/count, first[n.Name], 0.08, "share of %s", n.Name)
	}
	for _, n := range nodes[1:] {
		require.InEpsilon(t, first[nodes[0].Name]/(count-1), second[n.Name], 0.3, "who inherits from %s", nodes[0].Name)
	}
}

func TestHashPartsKeepsPartsApart(t *testing.T) {
	t.Parallel()
	seen := make(map[uint64][]string)
	for _, parts := range [][]string{{"a", "bc"}, {"ab", "c"}, {"abc"}, {"abc", ""}, {"", "abc"}, {}, {""}, {"", ""}} {
		h := hashParts(parts...)
		require.NotContains(t, seen, h, "%q", parts)
		seen[h] = parts
	}
}

func BenchmarkRank(b *testing.B) {
	nodes := someNodes(16)
	b.ReportAllocs()
	for b.Loop() {
		Rank("room-1", nodes)
	}
}

// Who drains is turned to last.
func TestPreferred(t *testing.T) {
	t.Parallel()
	var nodes []Node
	for _, name := range []string{"a", "b", "c"} {
		nodes = append(nodes, Node{Service: "rooms", DC: "dc", Name: name, State: StateReady})
	}
	first := Preferred("lobby", nodes)
	require.ElementsMatch(t, []string{"a", "b", "c"}, first)
	for i, n := range Rank("lobby", nodes) {
		require.Equal(t, n.Name, first[i])
	}
	for i := range nodes {
		if nodes[i].Name == first[0] {
			nodes[i].State = StateDraining
		}
	}
	require.Equal(t, []string{first[1], first[2], first[0]}, Preferred("lobby", nodes))
	require.Empty(t, Preferred("lobby", nil))
}
