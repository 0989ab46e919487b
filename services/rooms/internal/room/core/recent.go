package core

import (
	"slices"

	"github.com/parley-rt/parley/libs/persistence"
)

// recent collects the ids of the newest events while a room recovers: SureIDs of them, fewer when their events are large.
type recent struct {
	// ascending
	replayed []remembered
	// descending, all before those replayed
	before []remembered
	bytes  int
}

type remembered struct {
	id  [16]byte
	seq uint64
}

// newer takes the next event of a replay.
func (r *recent) newer(e persistence.Event) {
	if len(r.replayed) == 2*SureIDs {
		r.replayed = r.replayed[:copy(r.replayed, r.replayed[SureIDs:])]
	}
	r.replayed = append(r.replayed, remembered{e.MessageID, e.Seq})
}

// older takes the event before the oldest one. It reports false when there are enough.
func (r *recent) older(e persistence.Event) bool {
	if !r.wanting() {
		return false
	}
	r.before = append(r.before, remembered{e.MessageID, e.Seq})
	r.bytes += len(e.Payload)
	return r.wanting()
}

func (r *recent) wanting() bool {
	return len(r.replayed)+len(r.before) < SureIDs && r.bytes < SureBytes
}

// newest returns the newest ids, at most limit and SureIDs, ascending.
func (r *recent) newest(limit int) []remembered {
	all := slices.Clone(r.before)
	slices.Reverse(all)
	all = append(all, r.replayed...)
	return all[max(0, len(all)-min(limit, SureIDs)):]
}
