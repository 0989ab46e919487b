package persistencetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/parley-rt/parley/libs/persistence"
)

// checkModel runs random commands against the store and against a model of it that fits on this page, and compares after
// each. What must hold, whatever the commands:
//
//   - acknowledged events are there exactly once, at the acknowledged seq, with the epoch that wrote them
//   - seqs are contiguous and end at the head
//   - epochs never fall along the seqs, and each epoch of a stream had one writer
//   - an id is there as often as it was appended
//   - an event that was not acknowledged is there only if its append returned ErrUnknown
func checkModel(t *testing.T, opts Options) {
	clock := &clock{at: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)}
	store := opts.Open(t, clock.now)
	defer func() { closeBackend(t, store.Backend) }()
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++ // every run has streams of its own: opening a store for each would take most of the time
		m := newModel(store, run)
		defer func() { store = m.store }()
		rt.Repeat(map[string]func(*rapid.T){
			"claim":       m.claim,
			"append":      m.append,
			"appendWrong": m.appendWrong,
			"release":     m.release,
			"snapshot":    m.snapshot,
			"trim":        m.trim,
			"read":        m.read,
			"readReverse": m.readReverse,
			"recover":     m.recover,
			"takeovers":   m.takeovers,
			"crash":       m.crash,
			"":            m.check,
		})
	})
}

func newModel(store Store, run int) *model {
	m := &model{plan: NewPlan(), streams: map[persistence.StreamKey]*modelStream{}, claimed: map[persistence.StreamKey]uint64{}}
	m.use(store)
	for _, kind := range []string{"room/a", "room/b", "members/a"} {
		key := persistence.StreamKey(fmt.Sprintf("%s-%d", kind, run))
		m.keys = append(m.keys, key)
		m.streams[key] = &modelStream{key: key}
	}
	return m
}

type model struct {
	store   Store
	b       persistence.Backend // store.Backend with the plan's faults
	plan    *Plan
	keys    []persistence.StreamKey
	streams map[persistence.StreamKey]*modelStream
	handles []*handle
	mark    persistence.Mark
	// claimed are the streams claimed since mark, with the epoch of the last claim.
	claimed map[persistence.StreamKey]uint64
}

type modelStream struct {
	key         persistence.StreamKey
	epoch       uint64
	owner       string
	incarnation uint64
	events      []stored
	// maybe are the events of an append whose outcome is unknown.
	maybe []stored
	// snaps are the newest two, newest first.
	snaps []uint64
	trim  uint64
}

// stored is what the model remembers of an event.
type stored struct {
	id    [16]byte
	epoch uint64
}

// handle is an activation: a claim and what it believes to be the head.
type handle struct {
	claim persistence.Claim
	head  uint64
	// dead: its last append returned ErrUnknown, so it may not write again.
	dead bool
}

func (s *modelStream) head() uint64 { return uint64(len(s.events)) }

func (s *modelStream) snap() uint64 {
	if len(s.snaps) == 0 {
		return 0
	}
	return s.snaps[0]
}

func (m *model) use(s Store) {
	m.store, m.b = s, Faulty(s.Backend, m.plan)
}

func (m *model) draw(t *rapid.T) *modelStream {
	return m.streams[rapid.SampledFrom(m.keys).Draw(t, "stream")]
}

// handle draws an activation, most often one of the newest.
func (m *model) handle(t *rapid.T) *handle {
	if len(m.handles) == 0 {
		t.Skip("nothing is claimed")
	}
	back := rapid.IntRange(0, min(len(m.handles), 8)-1).Draw(t, "handle")
	return m.handles[len(m.handles)-1-back]
}

func (m *model) stream(h *handle) *modelStream { return m.streams[h.claim.Key] }

// compare checks that events are the model's first..last.
func (s *modelStream) compare(t *rapid.T, events []persistence.Event, first, last uint64) {
	want := 0
	if last >= first {
		want = int(last - first + 1)
	}
	require.Len(t, events, want)
	for i, e := range events {
		require.Equal(t, first+uint64(i), e.Seq)
		require.Equal(t, s.events[e.Seq-1], stored{id: e.MessageID, epoch: e.Epoch}, "event %d", e.Seq)
	}
}

// check compares heads and histories after each command.
func (m *model) check(t *rapid.T) {
	for _, key := range m.keys {
		s := m.streams[key]
		h, err := m.b.Head(context.Background(), key)
		require.NoError(t, err)
		require.Equal(t, s.epoch, h.Epoch)
		require.Equal(t, s.owner, h.Owner)
		require.Equal(t, s.snap(), h.SnapSeq)
		require.Equal(t, s.trim, h.TrimSeq)
		if s.maybe != nil {
			require.Contains(t, []uint64{s.head(), s.head() + uint64(len(s.maybe))}, h.LastSeq)
			continue
		}
		require.Equal(t, s.head(), h.LastSeq)
		events, err := readAll(context.Background(), m.b, key, s.trim+1)
		require.NoError(t, err)
		s.compare(t, events, s.trim+1, s.head())
	}
}
