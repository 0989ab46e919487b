package chaostest

import (
	"fmt"
	"sync"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/persistencetest"
)

// What the witness finds, beside the invariants of persistencetest.History.
const (
	// stays: an event that anybody was shown or told of is shown alike to everybody from then on, and no head ends before it.
	stays persistencetest.Invariant = "stays"
	// rebuilt: whoever recovers a stream arrives at the state that its events add up to.
	rebuilt persistencetest.Invariant = "rebuilt"
	// rises: epochs of claims, leases and checkpoints, and generations of sessions, are above all that were given before.
	rises persistencetest.Invariant = "rises"
	// alone: no two hold a lease or a checkpoint at once.
	alone persistencetest.Invariant = "alone"
	// kept: what was acknowledged of sessions, checkpoints, snapshots and trims is there.
	kept persistencetest.Invariant = "kept"
	// delivered: the feed gave every event to its consumers, also those that are trimmed by now.
	delivered persistencetest.Invariant = "delivered"
	// listed: takeovers are listed.
	listed persistencetest.Invariant = "listed"
	// replicated: nothing is acknowledged that began after the standby had gone, before it is back.
	replicated persistencetest.Invariant = "replicated"
	// contract: a call gives no error that the contract does not have for it.
	contract persistencetest.Invariant = "contract"
	// alive: once the faults are over, everybody writes again.
	alive persistencetest.Invariant = "alive"
)

// maxFound bounds what is kept of each invariant: the first ones say what is wrong.
const maxFound = 20

// witness compares what the store says with what it has said before, while it says so: to writers, readers and consumers on
// all nodes. The History compares it with what is there in the end.
type witness struct {
	mu      sync.Mutex
	streams map[persistence.StreamKey]*testimony
	found   []persistencetest.Violation
	counts  map[persistencetest.Invariant]int
	// first is closed at the first violation.
	first chan struct{}

	awayMu sync.Mutex
	// away is since when the standby has been gone; zero: it is there.
	away time.Time
}

// testimony is what is known of a stream.
type testimony struct {
	mu sync.Mutex
	// events[i] is seq i+1.
	events []sighting
	// epoch is the highest that a claim was given, snap and trim are the highest seqs of snapshots and trims that were
	// acknowledged, acks is how many appends were.
	epoch, snap, trim uint64
	acks              int
	incarnation       uint64
	// latest are the last things that writers were told, for whoever wonders why it is not written to.
	latest []answer
}

type sighting struct {
	known bool
	// fed: a consumer of the feed was given it.
	fed           bool
	id            [16]byte
	epoch         uint64
	before, after uint64 // hashes of the chain
}

func newWitness() *witness {
	return &witness{
		streams: map[persistence.StreamKey]*testimony{},
		counts:  map[persistencetest.Invariant]int{},
		first:   make(chan struct{}),
	}
}

func (w *witness) fail(i persistencetest.Invariant, key persistence.StreamKey, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.found) == 0 {
		close(w.first)
	}
	if w.counts[i]++; w.counts[i] <= maxFound {
		w.found = append(w.found, persistencetest.Violation{Invariant: i, Key: key,
			Detail: time.Now().Format("15:04:05.000 ") + fmt.Sprintf(format, args...)})
	}
}

func (w *witness) violations() []persistencetest.Violation {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]persistencetest.Violation(nil), w.found...)
}

func (w *witness) failed() bool { return len(w.violations()) > 0 }

func (w *witness) stream(key persistence.StreamKey) *testimony {
	w.mu.Lock()
	defer w.mu.Unlock()
	t, known := w.streams[key]
	if !known {
		t = &testimony{}
		w.streams[key] = t
	}
	return t
}

// floor is what any call that begins now must find.
type floor struct {
	seq, epoch, snap, trim uint64
	at                     time.Time
}

func (w *witness) floor(key persistence.StreamKey) floor {
	t := w.stream(key)
	t.mu.Lock()
	defer t.mu.Unlock()
	return floor{seq: uint64(len(t.events)), epoch: t.epoch, snap: t.snap, trim: t.trim, at: time.Now()}
}

// claimed notes a claim that began at the floor.
func (w *witness) claimed(who string, c persistence.Claim, at floor) {
	w.wrote(c.Key, at.at, "claim by "+who)
	if c.LastSeq < at.seq {
		w.fail(stays, c.Key, "the claim of epoch %d by %s returned the head %d after %d had been seen", c.Epoch, who, c.LastSeq, at.seq)
	}
	if c.Epoch <= at.epoch {
		w.fail(rises, c.Key, "%s was given epoch %d after epoch %d had been given", who, c.Epoch, at.epoch)
	}
	if c.SnapSeq < at.snap || c.TrimSeq < at.trim {
		w.fail(kept, c.Key, "%s was given the snapshot %d and the trim %d; acknowledged were %d and %d", who, c.SnapSeq, c.TrimSeq, at.snap, at.trim)
	}
	t := w.stream(c.Key)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.epoch = max(t.epoch, c.Epoch)
	if t.incarnation != 0 && t.incarnation != c.Incarnation {
		w.fail(kept, c.Key, "%s was given the incarnation %x, which was %x before", who, c.Incarnation, t.incarnation)
	}
	t.incarnation = c.Incarnation
}

// snapshotted and trimmed note what was acknowledged.
func (w *witness) snapshotted(key persistence.StreamKey, seq uint64) {
	t := w.stream(key)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.snap = max(t.snap, seq)
}

func (w *witness) trimmed(key persistence.StreamKey, seq uint64) {
	t := w.stream(key)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trim = max(t.trim, seq)
}

// head notes a head that was read from the floor.
func (w *witness) head(who string, h persistence.Head, at floor) {
	if h.LastSeq < at.seq || h.Epoch < at.epoch {
		w.fail(stays, h.Key, "%s was given the head %d of epoch %d after %d and epoch %d had been seen", who, h.LastSeq, h.Epoch, at.seq, at.epoch)
	}
}

// acknowledged notes an append that began at the floor.
func (w *witness) acknowledged(who string, c persistence.Claim, expected uint64, events []persistence.Event, at floor) {
	w.wrote(c.Key, at.at, "append by "+who)
	stored := make([]persistence.Event, len(events))
	for i, e := range events {
		e.Seq, e.Epoch = expected+1+uint64(i), c.Epoch
		stored[i] = e
	}
	w.saw("the writer "+who, c.Key, stored)
	t := w.stream(c.Key)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.acks++
}

// acks is how many appends to the stream were acknowledged.
func (w *witness) acks(key persistence.StreamKey) int {
	t := w.stream(key)
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.acks
}

// saw notes events that somebody was shown.
func (w *witness) saw(who string, key persistence.StreamKey, events []persistence.Event) {
	t := w.stream(key)
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range events {
		w.compare(t, who, key, &events[i], false)
	}
}

// fed notes events that the feed gave.
func (w *witness) fed(who string, events []persistence.FeedEvent) {
	for i := range events {
		e := &events[i]
		t := w.stream(e.Key)
		t.mu.Lock()
		w.compare(t, who, e.Key, &e.Event, true)
		t.mu.Unlock()
	}
}

// compare checks an event against what is known of it and of its neighbours. The lock of t is held.
func (w *witness) compare(t *testimony, who string, key persistence.StreamKey, e *persistence.Event, fed bool) {
	before, after, err := links(e)
	if err != nil || e.Seq == 0 {
		w.fail(stays, key, "%s was shown seq %d: %v", who, e.Seq, err)
		return
	}
	for uint64(len(t.events)) < e.Seq {
		t.events = append(t.events, sighting{})
	}
	at := &t.events[e.Seq-1]
	seen := sighting{known: true, fed: at.fed || fed, id: e.MessageID, epoch: e.Epoch, before: before, after: after}
	if at.known && (at.id != seen.id || at.epoch != seen.epoch || at.before != seen.before || at.after != seen.after) {
		w.fail(stays, key, "%s was shown %x of epoch %d as event %d, which was %x of epoch %d before", who, e.MessageID, e.Epoch, e.Seq, at.id, at.epoch)
		return
	}
	*at = seen
	if e.Seq > 1 {
		if prior := t.events[e.Seq-2]; prior.known && prior.after != before {
			w.fail(rebuilt, key, "event %d of epoch %d does not follow event %d of epoch %d: its writer had another state", e.Seq, e.Epoch, e.Seq-1, prior.epoch)
		}
	}
	if e.Seq < uint64(len(t.events)) {
		if next := t.events[e.Seq]; next.known && next.before != after {
			w.fail(rebuilt, key, "event %d of epoch %d does not follow event %d of epoch %d: its writer had another state", e.Seq+1, next.epoch, e.Seq, e.Epoch)
		}
	}
}

// restored checks the state of a snapshot.
func (w *witness) restored(who string, key persistence.StreamKey, s state) {
	if s.seq == 0 {
		return
	}
	t := w.stream(key)
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.seq > uint64(len(t.events)) {
		return // of events that nobody has seen yet
	}
	if at := t.events[s.seq-1]; at.known && at.after != s.chain {
		w.fail(rebuilt, key, "%s was given a snapshot of another state at %d", who, s.seq)
	}
}

// epochs are the highest that claims were given, by stream.
func (w *witness) epochs() map[persistence.StreamKey]uint64 {
	epochs := map[persistence.StreamKey]uint64{}
	for _, key := range w.keys() {
		if at := w.floor(key); at.epoch > 0 {
			epochs[key] = at.epoch
		}
	}
	return epochs
}
