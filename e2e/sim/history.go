package sim

import (
	"fmt"
	"time"
)

// Kind is the promise that a violation breaks.
type Kind string

// The promises that are checked, by their names in docs/architecture.md; the last two have no number there.
const (
	kindS1       Kind = "S1" // acknowledged is durable, at the acknowledged seq
	kindS2       Kind = "S2" // one history, one writer per epoch
	kindS3       Kind = "S3" // no duplicates
	kindS4       Kind = "S4" // a connection's order
	kindS5       Kind = "S5" // every stream is a contiguous run
	kindL1       Kind = "L1" // every publish is answered in time
	kindL2       Kind = "L2" // members reach the head
	kindL3       Kind = "L3" // a room has a writer again
	kindL6       Kind = "L6" // no duels, and a live owner is not robbed
	kindSession  Kind = "session"
	kindHandOver Kind = "hand-over"
)

// Violation is a promise that was broken.
type Violation struct {
	Kind Kind
	At   time.Duration
	Text string
}

func (v Violation) String() string { return fmt.Sprintf("%.4f %s: %s", v.At.Seconds(), v.Kind, v.Text) }

// maxViolations of a run are kept; one is enough.
const maxViolations = 20

// history is what clients were told and what the journal stored. It is checked as it grows, and as a whole at the end.
type history struct {
	w          *world
	rooms      []*roomHistory
	violations []Violation
}

type roomHistory struct {
	// first is the seq at which a message is stored.
	first map[dedupeKey]uint64
	// acks are what clients were told; attempts of refused ones were refused.
	acks     []ackSeen
	seqOf    map[messageID]uint64
	refused  map[messageID]bool
	newest   uint64 // epoch of the newest row
	takeover takeoverRun
	highest  uint64 // seq that was acknowledged
	// handedTo is whom the room was offered last, handOverAt when.
	handedTo   *process
	handOverAt time.Duration
}

type ackSeen struct {
	client int
	id     messageID
	seq    uint64
}

func newHistory(w *world, rooms int) *history {
	h := &history{w: w}
	for range rooms {
		h.rooms = append(h.rooms, &roomHistory{
			first: map[dedupeKey]uint64{}, seqOf: map[messageID]uint64{}, refused: map[messageID]bool{},
		})
	}
	return h
}

func (h *history) violation(kind Kind, format string, args ...any) {
	v := Violation{Kind: kind, At: h.w.now, Text: fmt.Sprintf(format, args...)}
	h.w.tracef("!!! %s", v)
	if len(h.violations) < maxViolations {
		h.violations = append(h.violations, v)
	}
}

// stored looks at a row before the journal keeps it.
func (h *history) stored(room roomID, s *stream, e row) {
	r := h.rooms[room]
	if h.w.tracing() {
		h.w.tracef("journal: room %d has %v at %d, epoch %d by %s", room, e.id, e.seq, e.epoch, e.by)
	}
	if e.seq <= uint64(len(s.rows)) {
		h.violation(kindS2, "room %d has two rows at %d: %v by %s, then %v by %s", room, e.seq, s.rows[e.seq-1].id, s.rows[e.seq-1].by, e.id, e.by)
	}
	if e.epoch < s.epoch {
		h.violation(kindS2, "room %d: %s stored %v with epoch %d after epoch %d was claimed", room, e.by, e.id, e.epoch, s.epoch)
	}
	if e.epoch < r.newest {
		h.violation(kindS2, "room %d: epoch %d follows epoch %d at %d", room, e.epoch, r.newest, e.seq)
	}
	r.newest = max(r.newest, e.epoch)
	if e.setting {
		return
	}
	h.w.stats.Stored++
	key := dedupeKey{e.member, e.id}
	if at, ok := r.first[key]; ok {
		h.violation(kindS3, "room %d has %v at %d and at %d", room, e.id, at, e.seq)
		return
	}
	r.first[key] = e.seq
}

// durable says whether the journal has that message at that seq now.
func (h *history) durable(room roomID, id messageID, seq uint64) bool {
	rows := h.w.journal.streams[room].rows
	return seq > 0 && seq <= uint64(len(rows)) && rows[seq-1].id == id
}

func (h *history) acked(c *client, room roomID, id messageID, seq uint64) {
	r := h.rooms[room]
	if !h.durable(room, id, seq) {
		h.violation(kindS1, "%s: %v was acknowledged at %d of room %d, where it is not", c, id, seq, room)
	}
	if before, ok := r.seqOf[id]; ok && before != seq {
		h.violation(kindS1, "%s: %v was acknowledged at %d and at %d of room %d", c, id, before, seq, room)
	}
	r.seqOf[id] = seq
	r.highest = max(r.highest, seq)
	r.acks = append(r.acks, ackSeen{c.id, id, seq})
}

func (h *history) delivered(c *client, room roomID, m message) {
	h.w.stats.Delivered++
	if !h.durable(room, m.id, m.seq) {
		h.violation(kindS2, "%s got %v at %d of room %d, where it is not", c, m.id, m.seq, room)
	}
}

func (h *history) refused(room roomID, id messageID) {
	h.rooms[room].refused[id] = true
	if h.w.calm() {
		h.violation(kindHandOver, "the publish of %v in room %d was refused, though nothing was wrong", id, room)
	}
}

// answered checks that a publish got a seq above all that were acknowledged before it was sent, and how long a hand-over held
// it up when nothing else was wrong.
func (h *history) answered(room roomID, p *publication, seq uint64) {
	r, now := h.rooms[room], h.w.now
	if seq <= p.floor {
		h.violation(kindS2, "room %d: %v was acknowledged at %d, though %d was acknowledged before it was sent", room, p.id, seq, p.floor)
	}
	if !h.w.calm() || r.handOverAt == 0 || p.began < r.handOverAt-answerBound || p.began > r.handOverAt+time.Second || p.attempts > 1 {
		return
	}
	// The bound is for a fast journal: what a client waits for are several of its operations.
	if took := now - p.began; took > handOverBound+10*h.w.journal.pace {
		h.violation(kindHandOver, "room %d: the publish of %v took %s while the room was handed over", room, p.id, took)
	}
}

// handOver notes the start of a planned hand-over.
func (h *history) handOver(room roomID, to *process) {
	r := h.rooms[room]
	r.handOverAt, r.handedTo = h.w.now, to
}

// takeoverRun is a row of takeovers of one room, each soon after the one before it.
type takeoverRun struct {
	began, last time.Duration
	n           int
}

// duelGap is the least time between two takeovers by hosts that leave a room alone once they lost it: a row of shorter ones
// is a duel.
const duelGap = leastHold

// claimed notes who took a room from whom.
func (h *history) claimed(room roomID, before, by *process, epoch uint64) {
	h.w.stats.Claims++
	if h.w.tracing() {
		h.w.tracef("journal: %s claims room %d from %s, epoch %d", by, room, before, epoch)
	}
	r := h.rooms[room]
	if before == nil || before == by {
		return
	}
	if by == r.handedTo {
		r.handedTo = nil
		return
	}
	h.w.stats.Takeovers++
	if h.w.calm() && before.up {
		h.violation(kindL6, "room %d was taken from %s by %s, though nothing was wrong", room, before, by)
	}
	run := &r.takeover
	if run.n == 0 || h.w.now-run.last >= duelGap {
		*run = takeoverRun{began: h.w.now}
	}
	run.n++
	run.last = h.w.now
	if run.last-run.began > duelBound {
		h.violation(kindL6, "room %d: a duel of %d takeovers for %s, now by %s", room, run.n, run.last-run.began, by)
		*run = takeoverRun{}
	}
}
