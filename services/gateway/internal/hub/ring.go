package hub

import "sort"

// ring holds a room's most recent messages in one encoding: a contiguous run after base. Each entry's prev_seq is the seq
// of the one before it, base for the first.
type ring struct {
	base   uint64
	seqs   []uint64
	frames [][]byte
	bytes  int
}

// restart empties the ring; the next message follows base.
func (r *ring) restart(base uint64) {
	*r = ring{base: base}
}

// append adds messages that follow the last one and drops the oldest beyond the limits.
func (r *ring) append(seqs []uint64, frames [][]byte, maxCount, maxBytes int) {
	r.seqs = append(r.seqs, seqs...)
	r.frames = append(r.frames, frames...)
	for _, f := range frames {
		r.bytes += len(f)
	}
	drop := 0
	for len(r.seqs)-drop > maxCount || r.bytes > maxBytes && drop < len(r.seqs) {
		r.base = r.seqs[drop]
		r.bytes -= len(r.frames[drop])
		r.frames[drop] = nil
		drop++
	}
	if drop == 0 {
		return
	}
	r.seqs, r.frames = r.seqs[drop:], r.frames[drop:]
	// Reslicing keeps the front of the arrays alive and makes append reallocate at their end: move before it has to, into
	// arrays with room for as many messages as there are, so that a move is paid for by as many appends.
	if cap(r.seqs)-len(r.seqs) < len(seqs) {
		r.seqs, r.frames = withRoom(r.seqs), withRoom(r.frames)
	}
}

// withRoom returns a copy with as much room behind it as it has elements.
func withRoom[T any](s []T) []T { return append(make([]T, 0, max(2*len(s), 16)), s...) }

// after returns the position of the first message after cursor; ok is false when the ring does not reach back that far.
func (r *ring) after(cursor uint64) (i int, ok bool) {
	if cursor < r.base {
		return 0, false
	}
	return firstAfter(r.seqs, cursor), true
}

// firstAfter returns the index of the first seq above cursor.
func firstAfter(seqs []uint64, cursor uint64) int {
	if n := len(seqs); n == 0 || seqs[n-1] <= cursor {
		return n
	}
	return sort.Search(len(seqs), func(i int) bool { return seqs[i] > cursor })
}
