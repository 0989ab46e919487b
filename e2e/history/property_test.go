package history

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// correct makes a random record in which everything is as promised: producers that lose connections and are refused,
// readers that come back, leave, begin at the head and are reset.
func correct(random *rand.Rand) *Record {
	m := &model{random: random, record: &Record{Room: "r"}, byID: map[string]*Entry{}}
	for i := range 2 + random.IntN(3) {
		c := &Chain{Name: fmt.Sprintf("p%d", i), Sender: fmt.Sprintf("m%d", i)}
		c.Conns = []Conn{{Gateway: "g"}}
		m.record.Chains = append(m.record.Chains, c)
	}
	for range 30 + random.IntN(60) {
		m.publish(m.record.Chains[random.IntN(len(m.record.Chains))])
	}
	for i := range 1 + random.IntN(4) {
		m.record.Streams = append(m.record.Streams, m.follow(fmt.Sprintf("reader-%d", i)))
	}
	return m.record
}

type model struct {
	random    *rand.Rand
	record    *Record
	byID      map[string]*Entry
	now       time.Duration
	seq, prev uint64
	epoch     uint64
}

func (m *model) tick() time.Duration {
	m.now += time.Duration(1+m.random.IntN(50)) * time.Millisecond
	return m.now
}

// publish is one message with all its attempts, one after the other.
func (m *model) publish(c *Chain) {
	n := 1
	if len(c.Attempts) > 0 {
		n = c.Attempts[len(c.Attempts)-1].N + 1
	}
	for {
		a := Attempt{N: n, Conn: len(c.Conns) - 1, Asked: m.tick()}
		written := m.random.IntN(5) > 0
		if written {
			a.Seq = m.store(c, n)
		}
		switch m.random.IntN(8) {
		case 0: // the connection is lost
			c.Attempts = append(c.Attempts, Attempt{N: n, Conn: a.Conn, Asked: a.Asked})
			c.Conns[a.Conn].Ended = m.tick()
			c.Conns = append(c.Conns, Conn{Gateway: "g", Opened: m.tick()})
			continue
		case 1:
			a.Answered, a.Outcome, a.Seq = m.tick(), Refused, 0
			c.Attempts = append(c.Attempts, a)
			continue
		}
		a.Answered = m.tick()
		if m.byID[c.ID(n)] == nil {
			a.Outcome = RefusedForGood
		} else {
			a.Outcome, a.Seq = Stored, m.byID[c.ID(n)].Seq
		}
		c.Attempts = append(c.Attempts, a)
		return
	}
}

func (m *model) store(c *Chain, n int) uint64 {
	if e := m.byID[c.ID(n)]; e != nil {
		return e.Seq
	}
	m.epoch += uint64(m.random.IntN(2))
	if m.random.IntN(10) == 0 {
		m.seq++
		m.record.Rows = append(m.record.Rows, Row{Seq: m.seq, Epoch: m.epoch})
	}
	m.seq++
	e := &Entry{Seq: m.seq, Prev: m.prev, ID: c.ID(n), Sender: c.Sender, Content: c.Content(n)}
	m.prev = m.seq
	m.byID[e.ID] = e
	m.record.Content = append(m.record.Content, e)
	m.record.Rows = append(m.record.Rows, Row{Seq: m.seq, Epoch: m.epoch, Entry: e})
	return m.seq
}

// follow reads the whole room in several goes.
func (m *model) follow(member string) *Stream {
	s := &Stream{Member: member}
	add := func(e Event) { e.At = m.tick(); s.Events = append(s.Events, e) }
	zero := uint64(0)
	add(Event{Kind: Joined, Place: &Place{After: &zero, Recovered: true, Incarnation: 1}})
	cursor := uint64(0)
	for _, e := range m.record.Content {
		if m.random.IntN(6) == 0 {
			add(Event{Kind: Away})
			if m.random.IntN(4) == 0 {
				cursor = e.Seq
				add(Event{Kind: Joined, Place: &Place{Seq: e.Seq, Incarnation: 1}}) // begins at the head, misses e
				continue
			}
			after := cursor
			add(Event{Kind: Joined, Place: &Place{After: &after, Seq: e.Seq, Recovered: true, Incarnation: 1}})
		}
		add(Event{Kind: Received, Entry: e})
		cursor = e.Seq
	}
	return s
}

// mutations break a record in one place each. They return false when the record has no such place.
var mutations = map[string]func(*rand.Rand, *Record) bool{
	"S1": func(random *rand.Rand, r *Record) bool { // an acknowledged message disappears
		return lose(random, r)
	},
	"S2": func(random *rand.Rand, r *Record) bool { // a reader sees another text
		e, ok := anyReceived(random, r)
		if ok {
			other := *e.Entry
			other.Content += "!"
			e.Entry = &other
		}
		return ok
	},
	"S2 epochs": func(random *rand.Rand, r *Record) bool {
		i := random.IntN(len(r.Rows))
		r.Rows[i].Epoch += 1000
		return i < len(r.Rows)-1
	},
	"S3": func(random *rand.Rand, r *Record) bool {
		again := *r.Content[random.IntN(len(r.Content))]
		last := r.Content[len(r.Content)-1].Seq
		again.Seq, again.Prev = last+1, last
		r.Content = append(r.Content, &again)
		return true
	},
	"S5 gap": func(random *rand.Rand, r *Record) bool {
		s := r.Streams[random.IntN(len(r.Streams))]
		for _, i := range random.Perm(len(s.Events)) {
			// Without its successor the loss is one at the end, and with a new beginning behind it nobody can tell.
			if i+1 < len(s.Events) && s.Events[i].Kind == Received && s.Events[i+1].Kind == Received {
				s.Events = slices.Delete(s.Events, i, i+1)
				return true
			}
		}
		return false
	},
	"S5 repeat": func(random *rand.Rand, r *Record) bool {
		s := r.Streams[random.IntN(len(r.Streams))]
		for _, i := range random.Perm(len(s.Events)) {
			if s.Events[i].Kind == Received {
				s.Events = slices.Insert(s.Events, i, s.Events[i])
				return true
			}
		}
		return false
	},
	"S7": func(random *rand.Rand, r *Record) bool {
		s := r.Streams[random.IntN(len(r.Streams))]
		for _, i := range random.Perm(len(s.Events))[:len(s.Events)-1] {
			if s.Events[i].Kind == Joined && i > 0 {
				s.Events[i].Place.Incarnation++
				return true
			}
		}
		return false
	},
	"L1": func(random *rand.Rand, r *Record) bool {
		c := r.Chains[random.IntN(len(r.Chains))]
		if len(c.Attempts) == 0 {
			return false
		}
		a := &c.Attempts[random.IntN(len(c.Attempts))]
		if a.Outcome == Unanswered {
			return false
		}
		a.Answered += 10 * time.Second
		return true
	},
}

func anyReceived(random *rand.Rand, r *Record) (*Event, bool) {
	s := r.Streams[random.IntN(len(r.Streams))]
	for _, i := range random.Perm(len(s.Events)) {
		if s.Events[i].Kind == Received {
			return &s.Events[i], true
		}
	}
	return nil, false
}

func lose(random *rand.Rand, r *Record) bool {
	i := random.IntN(len(r.Content))
	seq := r.Content[i].Seq
	acked := slices.ContainsFunc(r.Chains, func(c *Chain) bool {
		return slices.ContainsFunc(c.Attempts, func(a Attempt) bool { return a.Outcome == Stored && a.Seq == seq })
	})
	r.Content = slices.Delete(r.Content, i, i+1)
	return acked
}

// Whatever correct history is broken in whatever place, the checker says which promise it was.
func TestCheckFindsMutations(t *testing.T) {
	t.Parallel()
	hits := map[string]int{}
	for seed := range uint64(400) {
		r := correct(rand.New(rand.NewPCG(seed, 0)))
		require.Empty(t, Check(r, DefaultBounds()), "seed %d", seed)
		for name, mutate := range mutations {
			random := rand.New(rand.NewPCG(seed, 1))
			r := correct(rand.New(rand.NewPCG(seed, 0)))
			if !mutate(random, r) {
				continue
			}
			hits[name]++
			found := Check(r, DefaultBounds())
			require.True(t, slices.ContainsFunc(found, func(v Violation) bool { return v.Promise == name[:2] }),
				"seed %d: %s is not among %v", seed, name, found)
		}
	}
	for name := range mutations {
		require.Greater(t, hits[name], 100, name)
	}
}

// A checker that is given nonsense reports it; it does not panic.
func FuzzCheck(f *testing.F) {
	f.Add(uint64(1), uint64(2), uint8(3))
	f.Fuzz(func(t *testing.T, seed, other uint64, cuts uint8) {
		random := rand.New(rand.NewPCG(seed, other))
		r := correct(random)
		for range cuts % 16 {
			s := r.Streams[random.IntN(len(r.Streams))]
			if len(s.Events) > 1 {
				i, j := random.IntN(len(s.Events)), random.IntN(len(s.Events))
				s.Events[i], s.Events[j] = s.Events[j], s.Events[i]
			}
			if len(r.Content) > 1 {
				i := random.IntN(len(r.Content))
				r.Content = slices.Delete(r.Content, i, i+1)
			}
			from := time.Duration(random.Int64N(int64(time.Minute)))
			r.Healings = append(r.Healings, Healing{from, from + time.Minute})
		}
		found := Check(r, DefaultBounds())
		if cuts%16 == 0 {
			require.Empty(t, found)
		}
	})
}
