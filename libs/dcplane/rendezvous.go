package dcplane

import (
	"cmp"
	"slices"
)

// Rank orders nodes by rendezvous hashing for key, best first, into a new slice; nodes is left alone. Every process and
// every version of this package gives the same order for the same key and the same identities (DC, service, name),
// whatever the order of nodes. Removing a node moves only the keys that had it first.
//
// All nodes have equal weight; State and Load play no part: filter before ranking.
func Rank(key string, nodes []Node) []Node {
	type scored struct {
		score uint64
		node  Node
	}
	h := hashParts(key)
	ranked := make([]scored, len(nodes))
	for i, n := range nodes {
		// With unequal weights the score would be -w/ln(hash); for equal ones the hash alone gives the same order, so
		// weights can come later without moving a key.
		ranked[i] = scored{mix(h ^ mix(hashParts(n.DC, n.Service, n.Name))), n}
	}
	slices.SortFunc(ranked, func(a, b scored) int {
		if c := cmp.Compare(b.score, a.score); c != 0 {
			return c
		}
		return compareKeys(a.node.Key(), b.node.Key())
	})
	out := make([]Node, len(nodes))
	for i, r := range ranked {
		out[i] = r.node
	}
	return out
}

// hashParts is 64-bit FNV-1a over the parts, each followed by its length so that parts cannot run into each other.
func hashParts(parts ...string) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for _, p := range parts {
		for i := range len(p) {
			h = (h ^ uint64(p[i])) * prime
		}
		for n := uint64(len(p)); ; n >>= 8 {
			h = (h ^ n&0xff) * prime
			if n < 1<<8 {
				break
			}
		}
	}
	return h
}

// mix is the finalizer of splitmix64. FNV alone spreads the last bytes badly, and node names differ in their last bytes.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	x ^= x >> 31
	return x
}

// compareKeys orders keys by DC, then service, then name.
func compareKeys(a, b Key) int {
	return cmp.Or(cmp.Compare(a.DC, b.DC), cmp.Compare(a.Service, b.Service), cmp.Compare(a.Name, b.Name))
}

// Preferred names nodes in the order in which to turn to them about key: those that are ready by Rank, then the others.
func Preferred(key string, nodes []Node) []string {
	ready := make([]Node, 0, len(nodes))
	var rest []string
	for _, n := range nodes {
		if n.State == StateReady {
			ready = append(ready, n)
		} else {
			rest = append(rest, n.Name)
		}
	}
	names := make([]string, 0, len(nodes))
	for _, n := range Rank(key, ready) {
		names = append(names, n.Name)
	}
	return append(names, rest...)
}
