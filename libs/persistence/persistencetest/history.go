package persistencetest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/parley-rt/parley/libs/persistence"
)

// Invariant names what must hold of a store after whatever happened to it.
type Invariant string

// The invariants, as the model test and the tests that kill processes check them.
const (
	// I1: an acknowledged event is there exactly once, at the acknowledged seq, with the epoch of its claim.
	I1 Invariant = "I1"
	// I2: seqs are contiguous from the first that is not trimmed, and end at the head.
	I2 Invariant = "I2"
	// I3: epochs never fall along the seqs, and nothing of an older epoch lies above the head that a claim returned.
	I3 Invariant = "I3"
	// I4: each epoch of a stream had one writer.
	I4 Invariant = "I4"
	// I5: no message id is there twice in a stream.
	I5 Invariant = "I5"
	// I6: the feed has exactly the events of the streams, each once; positions rise, the events of a stream come in the
	// order of their seqs and in one lane; and a consumer that went from page to page has missed none.
	I6 Invariant = "I6"
	// I7: an event that was not acknowledged is there only if its call returned ErrUnknown or never returned, and then
	// with all others of that call, where the call wanted them.
	I7 Invariant = "I7"
)

// Violation is an invariant that does not hold.
type Violation struct {
	Invariant Invariant
	// Key is the stream, empty for a whole lane.
	Key    persistence.StreamKey
	Detail string
}

func (v Violation) String() string {
	return fmt.Sprintf("%s: stream %q: %s", v.Invariant, v.Key, v.Detail)
}

// History is what the users of a store were told: who claimed what, which appends began and how they ended, which pages
// consumers of the feed were given. Check compares the store with it.
//
//	h := persistencetest.NewHistory()
//	c, err := h.Claim(ctx, store, "activation-1", "room/1", "node-a", persistence.ClaimOptions{})
//	last, err := h.Append(ctx, store, "activation-1", c, c.LastSeq, events)
//	...
//	violations, err := h.Check(ctx, store, store)
//
// A test whose writers are other processes records what they print instead: Claimed, Begin before the call, and Ack,
// Unknown or Refused of the Call after it. A Call without an end is that of a process which died in it.
//
// A writer is one activation: give each claim a name of its own. The zero value is not usable. Safe for concurrent use.
type History struct {
	mu        sync.Mutex
	streams   map[persistence.StreamKey]*streamHistory
	consumers map[consumerLane]*consumerHistory
	// found are violations that showed while recording.
	found []Violation
}

// streamHistory is what happened to one stream.
type streamHistory struct {
	// claims are the successful ones by epoch.
	claims map[uint64]claimRecord
	calls  []*Call
}

type claimRecord struct {
	writer  string
	lastSeq uint64
}

// outcome is what the caller of an append was told.
type outcome int

const (
	died outcome = iota // it was told nothing
	acknowledged
	unknown
	refused
)

// Call is one append. End it once, by one of its methods.
type Call struct {
	h        *History
	key      persistence.StreamKey
	writer   string
	epoch    uint64
	expected uint64
	ids      [][16]byte
	outcome  outcome
}

// NewHistory makes an empty history.
func NewHistory() *History {
	return &History{streams: map[persistence.StreamKey]*streamHistory{}, consumers: map[consumerLane]*consumerHistory{}}
}

// stream returns the history of a stream. The lock is held.
func (h *History) stream(key persistence.StreamKey) *streamHistory {
	s, known := h.streams[key]
	if !known {
		s = &streamHistory{claims: map[uint64]claimRecord{}}
		h.streams[key] = s
	}
	return s
}

// Claim claims the stream for the writer and records the success.
func (h *History) Claim(ctx context.Context, j persistence.Journal, writer string, key persistence.StreamKey, owner string, opts persistence.ClaimOptions) (persistence.Claim, error) {
	c, err := j.Claim(ctx, key, owner, opts)
	if err == nil {
		h.Claimed(writer, c)
	}
	return c, err
}

// Claimed records that the writer was given a claim.
func (h *History) Claimed(writer string, c persistence.Claim) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.stream(c.Key)
	if other, given := s.claims[c.Epoch]; given {
		h.found = append(h.found, Violation{I4, c.Key, fmt.Sprintf("epoch %d was given to %s and to %s", c.Epoch, other.writer, writer)})
		return
	}
	s.claims[c.Epoch] = claimRecord{writer: writer, lastSeq: c.LastSeq}
}

// Append appends for the writer and records how it ended.
func (h *History) Append(ctx context.Context, j persistence.Journal, writer string, c persistence.Claim, expected uint64, events []persistence.Event) (uint64, error) {
	ids := make([][16]byte, len(events))
	for i := range events {
		ids[i] = events[i].MessageID
	}
	call := h.Begin(writer, c, expected, ids...)
	last, err := j.Append(ctx, c, expected, events)
	call.End(last, err)
	return last, err
}

// Begin records that the writer is about to append events with these ids. An id may be in several calls, as long as at
// most one of them is acknowledged: a writer whose append was refused tries again.
func (h *History) Begin(writer string, c persistence.Claim, expected uint64, ids ...[16]byte) *Call {
	call := &Call{h: h, key: c.Key, writer: writer, epoch: c.Epoch, expected: expected, ids: ids}
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.stream(c.Key)
	s.calls = append(s.calls, call)
	return call
}

// Ack records that the append returned last and no error.
func (c *Call) Ack(last uint64) {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	c.outcome = acknowledged
	if want := c.expected + uint64(len(c.ids)); last != want {
		c.h.found = append(c.h.found, Violation{I1, c.key, fmt.Sprintf("append of %d events after %d by %s returned %d",
			len(c.ids), c.expected, c.writer, last)})
	}
}

// Unknown records that the append returned ErrUnknown.
func (c *Call) Unknown() { c.end(unknown) }

// Refused records that the append returned an error that means: certainly not written.
func (c *Call) Refused() { c.end(refused) }

func (c *Call) end(o outcome) {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	c.outcome = o
}

// End records what the append returned: Ack, Unknown or Refused by the error. An error that is none of the contract's
// says nothing: Unknown.
func (c *Call) End(last uint64, err error) {
	switch {
	case err == nil:
		c.Ack(last)
	case !errors.Is(err, persistence.ErrUnknown) && certainlyNotWritten(err):
		c.Refused()
	default:
		c.Unknown()
	}
}

func certainlyNotWritten(err error) bool {
	for _, sentinel := range []error{
		persistence.ErrFenced, persistence.ErrConflict, persistence.ErrUnavailable, persistence.ErrOverloaded,
		persistence.ErrTooLarge, persistence.ErrInvalid, persistence.ErrCorrupt, persistence.ErrClosed,
	} {
		if errors.Is(err, sentinel) {
			return true
		}
	}
	return false
}

// consumerLane is one consumer's way through one lane.
type consumerLane struct {
	consumer string
	lane     int16
}

type consumerHistory struct {
	// first is where the consumer began, next where its farthest page ended.
	first, next uint64
	seen        map[uint64]feedRow
}

// Page records what ReadLane gave to a consumer of the feed. A consumer that begins again at an earlier place just records
// the pages it gets from there.
func (h *History) Page(consumer string, lane int16, after uint64, events []persistence.FeedEvent, next uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.found = append(h.found, checkPage(consumer, lane, after, events, next)...)
	at := consumerLane{consumer, lane}
	c, known := h.consumers[at]
	if !known {
		c = &consumerHistory{first: after, next: after, seen: map[uint64]feedRow{}}
		h.consumers[at] = c
	}
	if after > c.next {
		h.found = append(h.found, Violation{I6, "", fmt.Sprintf("%s went on at %d of lane %d, its last page ended at %d",
			consumer, after, lane, c.next)})
	}
	c.first, c.next = min(c.first, after), max(c.next, next)
	for i := range events {
		c.seen[events[i].Pos] = newFeedRow(lane, &events[i])
	}
}

// checkPage checks what holds of every page.
func checkPage(reader string, lane int16, after uint64, events []persistence.FeedEvent, next uint64) (found []Violation) {
	last := after
	for i := range events {
		e := &events[i]
		if e.Pos <= last {
			found = append(found, Violation{I6, e.Key, fmt.Sprintf("%s was given position %d of lane %d after %d", reader, e.Pos, lane, last)})
		}
		last = e.Pos
	}
	if next < last {
		found = append(found, Violation{I6, "", fmt.Sprintf("%s was to go on at %d of lane %d after events up to %d", reader, next, lane, last)})
	}
	return found
}
