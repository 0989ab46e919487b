package router

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/tochemey/goakt/v4/hash"
)

// pointsPerRoutee is GoAkt's number: with it the busiest of ten routees has a quarter more keys than the mean.
const pointsPerRoutee = 150

// ring assigns keys to routees by their names alone, so that all processes agree.
type ring struct {
	hasher hash.Hasher
	points []point
}

type point struct {
	at     uint64
	member int
}

func newRing[M, R any](members []Member[M, R]) *ring {
	r := &ring{hasher: hash.DefaultHasher(), points: make([]point, 0, len(members)*pointsPerRoutee)}
	for i, m := range members {
		for p := range pointsPerRoutee {
			r.points = append(r.points, point{r.hasher.HashCode([]byte(m.Name + "#" + strconv.Itoa(p))), i})
		}
	}
	slices.SortFunc(r.points, func(a, b point) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(members[a.member].Name, members[b.member].Name))
	})
	return r
}

// owner returns the member that a key belongs to. There is one.
func (r *ring) owner(key string) int {
	at := r.hasher.HashCode([]byte(key))
	i, _ := slices.BinarySearchFunc(r.points, at, func(p point, at uint64) int { return cmp.Compare(p.at, at) })
	return r.points[i%len(r.points)].member
}
