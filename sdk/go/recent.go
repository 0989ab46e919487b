package parley

import (
	"cmp"
	"slices"
	"time"
)

const (
	// recentAge is how long an acknowledged publish is kept for the case that the room loses its newest history.
	recentAge = time.Minute
	// recentBytes bounds what is kept for one room, newest first.
	recentBytes = 4 << 20
)

// recent remembers acknowledged publications, oldest first.
type recent struct {
	list  []acknowledged
	bytes int
}

type acknowledged struct {
	p  *publication
	at time.Time
}

func (r *recent) add(p *publication, now time.Time) {
	r.list = append(r.list, acknowledged{p: p, at: now})
	r.bytes += p.bytes
	r.forget(now)
}

// forget drops what is too old or too much.
func (r *recent) forget(now time.Time) {
	n := 0
	for n < len(r.list) && (r.bytes > recentBytes || now.Sub(r.list[n].at) > recentAge) {
		r.bytes -= r.list[n].p.bytes
		r.list[n] = acknowledged{}
		n++
	}
	r.list = r.list[n:]
}

// take empties the memory and returns what was acknowledged in the last minute, in the room's order.
func (r *recent) take(now time.Time) []*publication {
	r.forget(now)
	out := make([]*publication, 0, len(r.list))
	for _, a := range r.list {
		out = append(out, a.p)
	}
	*r = recent{}
	slices.SortFunc(out, func(a, b *publication) int { return cmp.Compare(a.ack.Seq, b.ack.Seq) })
	return out
}
