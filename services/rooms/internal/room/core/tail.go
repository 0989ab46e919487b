package core

import (
	"math"

	roomv1 "github.com/parley-rt/parley/libs/protocol/room/v1"
)

// Limits of a Tail.
const (
	TailMessages = 1024
	TailBytes    = 256 << 10

	// messageOverhead is what a message weighs in memory beside its text.
	messageOverhead = 192
)

// Tail holds a room's newest messages, contiguous up to the last one, bounded by number and bytes. Readers whose range
// lies inside it need no journal.
type Tail struct {
	ring  []*roomv1.Message
	start int
	count int
	bytes int
	// Every message with a seq above floor is here.
	floor uint64
}

// Weight is what a message counts for against byte limits.
func Weight(m *roomv1.Message) int {
	return messageOverhead + len(m.Sender) + len(m.MessageId) + len(m.Content) + len(m.Traceparent) + len(m.Tracestate)
}

// Len returns the number of messages held.
func (t *Tail) Len() int { return t.count }

// Floor returns the seq above which every message is held.
func (t *Tail) Floor() uint64 { return t.floor }

// Append adds the room's next message and drops the oldest ones over the limits. A message over TailBytes leaves the
// tail empty.
func (t *Tail) Append(m *roomv1.Message) {
	t.grow()
	t.ring[(t.start+t.count)%len(t.ring)] = m
	t.count++
	t.bytes += Weight(m)
	for t.count > TailMessages || t.bytes > TailBytes {
		old := t.ring[t.start]
		t.ring[t.start] = nil
		t.start = (t.start + 1) % len(t.ring)
		t.count--
		t.bytes -= Weight(old)
		t.floor = old.Seq
	}
}

// Prepend adds the message before the oldest one held, as recovery finds them. It reports false, and does nothing, when
// that is not the message at the floor or there is no room for it.
func (t *Tail) Prepend(m *roomv1.Message) bool {
	if m.Seq != t.floor || t.count >= TailMessages || t.bytes+Weight(m) > TailBytes {
		return false
	}
	t.grow()
	t.start = (t.start + len(t.ring) - 1) % len(t.ring)
	t.ring[t.start] = m
	t.count++
	t.bytes += Weight(m)
	t.floor = m.PrevSeq
	return true
}

// At returns the message with that seq, if it is held.
func (t *Tail) At(seq uint64) (*roomv1.Message, bool) {
	i := t.search(seq)
	if i < t.count && t.get(i).Seq == seq {
		return t.get(i), true
	}
	return nil, false
}

// After returns up to limit messages with a seq above after, of at most maxBytes (but at least one), and whether there
// are more. ok is false when the range begins before the tail.
func (t *Tail) After(after uint64, limit, maxBytes int) (page []*roomv1.Message, more, ok bool) {
	if after < t.floor {
		return nil, false, false
	}
	if after == math.MaxUint64 {
		return nil, false, true
	}
	first := t.search(after + 1)
	i, bytes := first, 0
	for ; i < t.count && i-first < limit; i++ {
		bytes += Weight(t.get(i))
		if i > first && bytes > maxBytes {
			break
		}
	}
	page = make([]*roomv1.Message, 0, i-first)
	for j := first; j < i; j++ {
		page = append(page, t.get(j))
	}
	return page, i < t.count, true
}

// Before returns the up to limit newest messages with a seq below before (0: the newest of all), ascending, of at most
// maxBytes (but at least one), and whether there are older ones above trimmed. ok is false when the tail does not reach
// back far enough to tell.
func (t *Tail) Before(before uint64, limit, maxBytes int, trimmed uint64) (page []*roomv1.Message, more, ok bool) {
	end := t.count
	if before != 0 {
		if before <= t.floor {
			return nil, false, false
		}
		end = t.search(before)
	}
	oldest := t.search(trimmed + 1)
	end = max(end, oldest)
	first, bytes := end, 0
	for first > oldest && end-first < limit {
		w := Weight(t.get(first - 1))
		if first < end && bytes+w > maxBytes {
			break
		}
		bytes += w
		first--
	}
	filled := end-first >= limit || first > oldest
	if !filled && t.floor > trimmed {
		return nil, false, false
	}
	page = make([]*roomv1.Message, 0, end-first)
	for j := first; j < end; j++ {
		page = append(page, t.get(j))
	}
	if len(page) == 0 {
		return page, false, true
	}
	return page, page[0].PrevSeq > trimmed, true
}

func (t *Tail) get(i int) *roomv1.Message { return t.ring[(t.start+i)%len(t.ring)] }

// search returns the index of the first message with a seq of at least seq.
func (t *Tail) search(seq uint64) int {
	lo, hi := 0, t.count
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if t.get(mid).Seq < seq {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// grow makes room for one more: an idle room's tail costs nothing.
func (t *Tail) grow() {
	if t.count < len(t.ring) {
		return
	}
	// One above the limit: Append adds before it drops.
	bigger := make([]*roomv1.Message, min(max(2*len(t.ring), 8), TailMessages+1))
	for i := range t.count {
		bigger[i] = t.get(i)
	}
	t.ring, t.start = bigger, 0
}
