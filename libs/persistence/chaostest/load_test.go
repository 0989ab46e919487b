package chaostest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/persistencetest"
)

// sizes say how much traffic a load is. The zero value is that of a scenario.
type sizes struct {
	rooms, readers, sessions, leases int
	// pace is the mean time between two appends to a room, intrude that between two activations nobody asked for.
	pace, intrude time.Duration
}

func (s sizes) withDefaults() sizes {
	if s.rooms == 0 {
		s = sizes{rooms: 210, readers: 3, sessions: 12, leases: 3, pace: 150 * time.Millisecond, intrude: 10 * time.Millisecond}
	}
	return s
}

// load is the traffic of a run: writers, readers, consumers, sessions and leases on all nodes, and what they were told.
type load struct {
	sizes
	seed    uint64
	history *persistencetest.History
	witness *witness
	counts  counts

	// names numbers activations; a claim has a name of its own.
	names atomic.Uint64
	// sweeps is raised to ask every activation for a snapshot.
	sweeps atomic.Int64

	nodesMu sync.RWMutex
	nodes   []*node

	writing, reading sync.WaitGroup
	stopWriting      context.CancelFunc
	stopReading      context.CancelFunc
	stopIntruding    chan struct{}
	lanes            []*laneDuel
}

// node is one process of a cluster of services: it has its own backend, and its own way to the database. When it is
// restarted, another node has its slot.
type node struct {
	name string
	slot int
	persistence.Backend
}

// counts is what happened, for the summary.
type counts struct {
	events, appends, claims, fenced, unknown, unavailable, overloaded, guarded atomic.Int64
	snapshots, trims, recovered, read, fed, checkpoints, consumersFenced       atomic.Int64
	resumes, terms, lapses, takeovers                                          atomic.Int64
}

func newLoad(seed uint64, s sizes, nodes []*node) *load {
	return &load{sizes: s.withDefaults(), seed: seed, nodes: nodes, history: persistencetest.NewHistory(), witness: newWitness()}
}

// random is the generator of one actor: all of them come from the seed.
func (l *load) random(actor uint64) *rand.Rand { return rand.New(rand.NewPCG(l.seed, actor)) }

// at is the node that has a slot now.
func (l *load) at(slot int) *node {
	l.nodesMu.RLock()
	defer l.nodesMu.RUnlock()
	return l.nodes[slot%len(l.nodes)]
}

func (l *load) replace(n *node) (old *node) {
	l.nodesMu.Lock()
	defer l.nodesMu.Unlock()
	old, l.nodes[n.slot] = l.nodes[n.slot], n
	return old
}

func (l *load) node(random *rand.Rand) *node { return l.at(random.IntN(len(l.nodes))) }

func (l *load) room(i int) persistence.StreamKey {
	return persistence.StreamKey(fmt.Sprintf("room/%d", i))
}

// messageID is unique: it has the number of the activation and that of the event in it.
func messageID(activation, n uint64) (id [16]byte) {
	binary.BigEndian.PutUint64(id[:], activation)
	binary.BigEndian.PutUint64(id[8:], n)
	return id
}

// start begins everything. The consumers hold their checkpoints before the first event is written, so that the feed may
// not forget one before they had it.
func (l *load) start(ctx context.Context) error {
	reading, stopReading := context.WithCancel(ctx)
	writing, stopWriting := context.WithCancel(ctx)
	l.stopReading, l.stopWriting = stopReading, stopWriting
	if err := l.startConsumers(reading); err != nil {
		return err
	}
	for i := range l.nodes {
		w, err := newWatcher(ctx, l, i)
		if err != nil {
			return err
		}
		l.reading.Go(func() { w.run(reading, l.random(uint64(1000+i))) })
	}
	for i := range l.readers {
		l.reading.Go(func() { l.readRooms(reading, l.random(uint64(2000+i))) })
	}
	for i := range l.rooms {
		a := l.activation(l.room(i), l.at(i), l.random(uint64(1_000_000+i)))
		l.writing.Go(func() { a.live(writing) })
	}
	l.stopIntruding = make(chan struct{})
	l.writing.Go(func() { l.intrudeRooms(writing, l.random(3000)) })
	for i := range l.sessions {
		l.writing.Go(func() { newMember(l, i).live(writing) })
	}
	for i := range l.leases {
		duel := &leaseDuel{l: l, name: fmt.Sprintf("lease/%d", i)}
		for j := range l.nodes {
			l.writing.Go(func() { duel.contend(writing, j, l.random(uint64(5000+100*i+j))) })
		}
	}
	return nil
}

// intruding bounds the activations nobody asked for that have not got their claim yet.
const intruding = 64

// intrudeRooms claims streams that others are writing to, as nodes do that believe each other dead. They stop to believe
// that when the faults are over.
func (l *load) intrudeRooms(ctx context.Context, random *rand.Rand) {
	waiting := make(chan struct{}, intruding)
	for pause(ctx, between(random, l.intrude)) {
		select {
		case <-l.stopIntruding:
			return
		case waiting <- struct{}{}:
		default:
			continue
		}
		a := l.activation(l.room(random.IntN(l.rooms)), l.node(random), l.random(random.Uint64()))
		a.guarded = random.IntN(4) == 0
		a.claimed = sync.OnceFunc(func() { <-waiting })
		l.writing.Go(func() {
			defer a.claimed()
			a.live(ctx)
		})
	}
}

// readRooms reads pages of rooms, forwards and backwards, on all nodes.
func (l *load) readRooms(ctx context.Context, random *rand.Rand) {
	for pause(ctx, between(random, 10*time.Millisecond)) {
		n, key := l.node(random), l.room(random.IntN(l.rooms))
		at := l.witness.floor(key)
		from := uint64(random.IntN(int(at.seq)+2)) + 1
		if random.IntN(2) == 0 { // the newest, as whoever comes into a room
			from = at.seq + 1 - uint64(random.IntN(int(min(at.seq, 5))+1))
		}
		limit := 1 + random.IntN(50)
		op, cancel := context.WithTimeout(ctx, 5*time.Second)
		if random.IntN(2) == 0 {
			l.readForward(op, n, key, from, limit, at)
		} else {
			l.readBackward(op, n, key, from, limit, at)
		}
		cancel()
	}
}

func (l *load) readForward(ctx context.Context, n *node, key persistence.StreamKey, from uint64, limit int, at floor) {
	events, err := n.Read(ctx, key, from, limit)
	if l.refused(ctx, n, key, "read", err, from) {
		return
	}
	l.witness.saw("a reader on "+n.name, key, events)
	l.counts.read.Add(int64(len(events)))
	if len(events) == 0 && from <= at.seq {
		l.witness.fail(stays, key, "a reader on %s was given nothing from %d on after %d had been seen", n.name, from, at.seq)
	}
	for i, e := range events {
		if e.Seq != from+uint64(i) {
			l.witness.fail(stays, key, "a reader on %s, reading from %d, was given %d at place %d", n.name, from, e.Seq, i)
		}
	}
}

func (l *load) readBackward(ctx context.Context, n *node, key persistence.StreamKey, before uint64, limit int, at floor) {
	if before > at.seq {
		before = 0
	}
	events, err := n.ReadReverse(ctx, key, before, limit)
	if l.refused(ctx, n, key, "read in reverse", err, 0) {
		return
	}
	l.witness.saw("a reader on "+n.name, key, events)
	l.counts.read.Add(int64(len(events)))
	switch {
	case len(events) == 0:
		if want := max(before, at.seq+1) - 1; before == 0 && want > 0 || before > 1 {
			l.mustBeTrimmed(ctx, n, key, max(before, 2)-1)
		}
	case before == 0 && events[0].Seq < at.seq:
		l.witness.fail(stays, key, "a reader on %s found %d to be the newest after %d had been seen", n.name, events[0].Seq, at.seq)
	case before > 0 && events[0].Seq != before-1:
		l.witness.fail(stays, key, "a reader on %s, reading back from %d, was given %d", n.name, before, events[0].Seq)
	}
	for i := 1; i < len(events); i++ {
		if events[i].Seq+1 != events[i-1].Seq {
			l.witness.fail(stays, key, "a reader on %s, reading back, was given %d after %d", n.name, events[i].Seq, events[i-1].Seq)
		}
	}
}

// refused tells whether a read gave an error, and checks that it may.
func (l *load) refused(ctx context.Context, n *node, key persistence.StreamKey, what string, err error, from uint64) bool {
	switch {
	case err == nil:
		return false
	case errors.Is(err, persistence.ErrTrimmed) && from > 0:
		l.mustBeTrimmed(ctx, n, key, from)
	case !transient(err) || errors.Is(err, persistence.ErrUnknown):
		l.witness.fail(contract, key, "%s on %s: %v", what, n.name, err)
	}
	return true
}

// mustBeTrimmed checks that a read that did not give seq had a reason.
func (l *load) mustBeTrimmed(ctx context.Context, n *node, key persistence.StreamKey, seq uint64) {
	h, err := n.Head(ctx, key)
	if err == nil && h.TrimSeq < seq {
		l.witness.fail(stays, key, "a reader on %s was not given event %d, trimmed are those up to %d", n.name, seq, h.TrimSeq)
	}
}

// pause waits, and tells whether ctx goes on. It spreads work over time; nothing is ordered by it.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// between is a random time around d.
func between(random *rand.Rand, d time.Duration) time.Duration {
	return d/2 + time.Duration(random.Int64N(int64(d)))
}
