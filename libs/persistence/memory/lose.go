package memory

import (
	"slices"

	"github.com/parley-rt/parley/libs/persistence"
)

// Lose takes a stream back to seq, as if the journal had been put back to that moment: what is above it is gone and nobody
// is told. For tests of those who have to notice.
func (b *Backend) Lose(key persistence.StreamKey, seq uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, known := b.streams[key]
	if !known || seq >= s.head.LastSeq {
		return
	}
	above := func(e persistence.Event) bool { return e.Seq > seq }
	s.events = slices.DeleteFunc(s.events, above)
	s.snapshots = slices.DeleteFunc(s.snapshots, func(snap persistence.Snapshot) bool { return snap.Seq > seq })
	s.head.LastSeq, s.head.SnapSeq = seq, 0
	if len(s.snapshots) > 0 {
		s.head.SnapSeq = s.snapshots[0].Seq
	}
	l := b.lanes[s.lane]
	l.entries = slices.DeleteFunc(l.entries, func(e entry) bool { return e.stream == s && above(e.event) })
}
