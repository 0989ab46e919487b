package hub

import (
	"time"

	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

const (
	// keepFor is how long a page stays for those who come a little later than others, such as the clients of a gateway that
	// ended: they missed much of the same, and do not come at the same moment.
	keepFor = time.Second
	// keepPages bounds the pages that stay in a topic, of PageBytes at most, and somewhat more when compiled. They count in the
	// backlog, and leave at least half of it to what has to wait.
	keepPages = 4
)

// keptPage is a page that was read a moment ago, in one encoding, and what it was true of.
type keptPage struct {
	*page
	fan            *fan
	after, trimmed uint64 // it has every message between after and its last
	epoch          uint64
	incarnation    uint64
	removal        uint64
	at             time.Time
	weight         int64
}

// keep lets a page stay. The oldest makes room.
func (t *Topic) keep(now time.Time, f *fan, after uint64, from *roomv1.Page, p *page) {
	if b := t.cfg.Backlog; b.Bytes() > b.Limit()/2 {
		return
	}
	if len(t.kept) == keepPages {
		t.unkeep(1)
	}
	k := keptPage{
		page: p, fan: f, after: after, trimmed: from.GetTrimmed(), epoch: t.epoch, incarnation: t.incarnation, removal: t.removal, at: now, weight: p.bytes(),
	}
	t.cfg.Backlog.Add(k.weight)
	t.kept = append(t.kept, k)
}

// unkeep gives up the oldest so many.
func (t *Topic) unkeep(n int) {
	for i := range n {
		t.cfg.Backlog.Add(-t.kept[i].weight)
		t.kept[i] = keptPage{}
	}
	t.kept = append(t.kept[:0], t.kept[n:]...)
}

// expire gives up what has stayed long enough.
func (t *Topic) expire(now time.Time) {
	n := 0
	for n < len(t.kept) && now.Sub(t.kept[n].at) >= keepFor {
		n++
	}
	if n > 0 {
		t.unkeep(n)
	}
}

// turnToKept turns a connection to a page that goes on where it stands; false: none does.
func (t *Topic) turnToKept(now time.Time, s *sub) bool {
	for i := range t.kept {
		k := &t.kept[i]
		if k.fan != s.fan || k.epoch != t.epoch || k.incarnation != t.incarnation || k.removal != t.removal ||
			s.cursor < max(k.after, k.trimmed) || now.Sub(k.at) >= keepFor {
			continue
		}
		if pos := firstAfter(k.seqs, s.cursor); pos < len(k.seqs) {
			s.turnTo(k.page, pos)
			return true
		}
	}
	return false
}
