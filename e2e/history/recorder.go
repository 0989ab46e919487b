package history

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Recorder collects what the clients of one room see. It and what it hands out are safe for concurrent use.
type Recorder struct {
	room  string
	clock func() time.Duration

	mu      sync.Mutex
	chains  []*Chain
	streams []*Stream
	known   map[Entry]*Entry // every entry once in memory, however many see it
	notes   []Violation
	acks    int
	highest uint64
	waiting []chan<- Acked
}

// Acked is an ack that came.
type Acked struct {
	Seq uint64
	At  time.Duration
}

// NewRecorder returns one for a room. clock tells the time since the start of the run.
func NewRecorder(room string, clock func() time.Duration) *Recorder {
	return &Recorder{room: room, clock: clock, known: make(map[Entry]*Entry)}
}

// Since is a clock for Recorders.
func Since(start time.Time) func() time.Duration {
	return func() time.Duration { return time.Since(start) }
}

// Room is the room's id.
func (r *Recorder) Room() string { return r.room }

// Note records a violation that only who saw it could notice.
func (r *Recorder) Note(promise, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes = append(r.notes, Violation{Promise: promise, Room: r.room, Text: fmt.Sprintf(format, args...)})
}

// Noted returns what was noted so far.
func (r *Recorder) Noted() []Violation {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.notes)
}

// Acks is how many publishes were acknowledged so far, Highest the highest seq of one.
func (r *Recorder) Acks() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.acks
}

// Highest is the highest seq that was acknowledged.
func (r *Recorder) Highest() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.highest
}

// Next returns a channel that gets the next ack.
func (r *Recorder) Next() <-chan Acked {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := make(chan Acked, 1)
	r.waiting = append(r.waiting, c)
	return c
}

// Record returns what was recorded so far. What is recorded later does not change it.
func (r *Recorder) Record() *Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	record := &Record{Room: r.room, Notes: slices.Clone(r.notes)}
	for _, c := range r.chains {
		chain := *c
		chain.Conns, chain.Attempts = slices.Clone(c.Conns), slices.Clone(c.Attempts)
		record.Chains = append(record.Chains, &chain)
	}
	for _, s := range r.streams {
		stream := *s // its events are only ever appended to
		record.Streams = append(record.Streams, &stream)
	}
	return record
}

// Page records messages that somebody read together: they are a run of the room's history like any stream.
func (r *Recorder) Page(member string, page []Entry) {
	if len(page) == 0 {
		return
	}
	f := r.Follower(member+" reading history", false)
	f.stream.Page = true
	after := page[0].Prev
	f.Joined(&after, after, true, 0)
	for _, e := range page {
		f.Received(e)
	}
	f.Away()
}

// Producer records one chain.
type Producer struct {
	r     *Recorder
	chain *Chain
	open  map[int]int // unanswered attempts on the connection that lives, by message number
	sent  int
}

// Producer begins a chain. Its name has no spaces and is unique.
func (r *Recorder) Producer(name string, blind bool) *Producer {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &Producer{r: r, chain: &Chain{Name: name, Blind: blind}, open: make(map[int]int)}
	r.chains = append(r.chains, p.chain)
	return p
}

// Message returns id and content of the n-th message.
func (p *Producer) Message(n int) (id, content string) { return p.chain.ID(n), p.chain.Content(n) }

// Sender says who the server takes the producer for; that must not change.
func (p *Producer) Sender(member string) {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	if before := p.chain.Sender; before != "" && before != member {
		p.r.notes = append(p.r.notes, Violation{"S3", p.r.room, fmt.Sprintf("%s was %s and is %s now", p.chain.Name, before, member)})
	}
	p.chain.Sender = member
}

// Connected begins a connection.
func (p *Producer) Connected(gateway string) {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	clear(p.open)
	p.chain.Conns = append(p.chain.Conns, Conn{Gateway: gateway, Opened: p.r.clock()})
}

// Disconnected ends it: what was not answered never will be.
func (p *Producer) Disconnected() {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	clear(p.open)
	p.chain.Conns[len(p.chain.Conns)-1].Ended = p.r.clock()
}

// Ask records an attempt to publish the n-th message, before it is sent.
func (p *Producer) Ask(n int) {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	p.sent = max(p.sent, n)
	p.open[n] = len(p.chain.Attempts)
	p.chain.Attempts = append(p.chain.Attempts, Attempt{N: n, Conn: len(p.chain.Conns) - 1, Asked: p.r.clock()})
}

// Answer records the answer to the newest attempt for message id, and returns which message that is and how long it took.
// An answer to nothing is a violation.
func (p *Producer) Answer(id string, outcome Outcome, seq uint64, code string) (n int, took time.Duration) {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	_, n, _ = ParseID(id)
	i, ok := p.open[n]
	if !ok || p.chain.ID(n) != id {
		p.r.notes = append(p.r.notes, Violation{"L1", p.r.room, fmt.Sprintf("%s got an answer (%s) for %q, which is not outstanding", p.chain.Name, outcome, id)})
		return 0, 0
	}
	delete(p.open, n)
	a := &p.chain.Attempts[i]
	a.Answered, a.Outcome, a.Seq, a.Code = p.r.clock(), outcome, seq, code
	if outcome == Stored {
		p.r.acks++
		p.r.highest = max(p.r.highest, seq)
		for _, c := range p.r.waiting {
			c <- Acked{Seq: seq, At: a.Answered} // it has room for one
		}
		p.r.waiting = nil
	}
	return n, a.Answered - a.Asked
}

// Follower records one stream.
type Follower struct {
	r      *Recorder
	stream *Stream
	cursor uint64
	lastID string
	grown  chan struct{}
}

// Follower begins a stream.
func (r *Recorder) Follower(member string, blind bool) *Follower {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := &Follower{r: r, stream: &Stream{Member: member, Blind: blind}, grown: make(chan struct{})}
	r.streams = append(r.streams, f.stream)
	return f
}

func (f *Follower) add(e Event, cursor uint64, id string) {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	e.At = f.r.clock()
	if e.Entry != nil {
		known, ok := f.r.known[*e.Entry]
		if !ok {
			known = e.Entry
			f.r.known[*known] = known
		}
		e.Entry = known
	}
	f.stream.Events = append(f.stream.Events, e)
	f.cursor, f.lastID = cursor, id
	close(f.grown)
	f.grown = make(chan struct{})
}

// Joined records that the server confirmed the room, and after which cursor it was asked to go on.
func (f *Follower) Joined(after *uint64, head uint64, recovered bool, incarnation uint64) {
	cursor, id := f.Cursor()
	if after == nil {
		cursor, id = head, ""
	} else if *after != cursor {
		cursor, id = *after, ""
	}
	f.add(Event{Kind: Joined, Place: &Place{After: after, Seq: head, Recovered: recovered, Incarnation: incarnation}}, cursor, id)
}

// Received records a message.
func (f *Follower) Received(e Entry) { f.add(Event{Kind: Received, Entry: &e}, e.Seq, e.ID) }

// Reset records that the stream goes on elsewhere.
func (f *Follower) Reset(seq uint64, reason string) {
	f.add(Event{Kind: Reset, Place: &Place{Seq: seq, Reason: reason}}, seq, "")
}

// Leaving records that the member asks to leave the room, before it does.
func (f *Follower) Leaving() {
	cursor, id := f.Cursor()
	f.add(Event{Kind: Leaving}, cursor, id)
}

// Away records that the member is not in the room any more: the connection ended, or it left.
func (f *Follower) Away() {
	cursor, id := f.Cursor()
	f.add(Event{Kind: Away}, cursor, id)
}

// Cursor is where the stream stands; id is empty when that is no message it received.
func (f *Follower) Cursor() (seq uint64, id string) {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	return f.cursor, f.lastID
}

// Grown returns where the stream stands and a channel that is closed when it goes on.
func (f *Follower) Grown() (seq uint64, grown <-chan struct{}) {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	return f.cursor, f.grown
}
