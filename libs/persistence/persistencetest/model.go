package persistencetest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/parley-rt/parley/libs/persistence"
)

// checkModel runs random commands against the store and against a model of it that fits into a few files, and compares
// after each. What must hold, whatever the commands, by the names of type Invariant:
//
//   - I1: acknowledged events are there exactly once, at the acknowledged seq, with the epoch that wrote them: check reads
//     each stream back and compares it with what the model was told
//   - I2: seqs are contiguous and end at the head: check, and compare's exact seqs in every read
//   - I3: epochs never fall along the seqs: the model's own events have the epoch of the claim that wrote them, and an older
//     claim's append must be refused (append, appendWrong)
//   - I4: each epoch of a stream has one writer: claimStream wants the next epoch each time, guarded or not
//   - I5: no id is there twice: ids are random, and what is compared is id by id
//   - I6: the feed has the events of the streams, each once, at rising positions and in the order of their seqs: scan, after
//     each command; what was there once is there again for a consumer that has not passed it (tail)
//   - I7: an event that was not acknowledged is there only if its append returned ErrUnknown: the model knows no other
//
// Beside these: who needs a partition and what is gone with it (dropPartitions), who may move a checkpoint
// (saveCheckpoint), incarnations (reincarnate, claimStream) and takeovers.
func checkModel(t *testing.T, open opener) {
	clock := &clock{at: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)}
	w := newWorld(t, open, clock.now)
	defer func() { closeBackend(t, w.store.Backend) }()
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++ // every run has streams of its own: opening a store for each would take most of the time
		m := newModel(w, run)
		ended := false
		defer func() {
			if !ended { // whatever went wrong must not be looked for again in what it left behind
				closeBackend(t, w.store.Backend)
				w = newWorld(t, open, clock.now)
			}
		}()
		rt.Repeat(map[string]func(*rapid.T){
			"claim":       m.claim,
			"append":      m.append,
			"appendWrong": m.appendWrong,
			"release":     m.release,
			"snapshot":    m.snapshot,
			"trim":        m.trim,
			"read":        oneOf(m.read, m.readReverse),
			"recover":     m.recover,
			"reincarnate": m.reincarnate,
			"takeovers":   m.takeovers,
			"tail":        m.tail,
			"partitions":  oneOf(m.rotate, m.dropPartitions),
			"checkpoints": oneOf(m.claimCheckpoint, m.saveCheckpoint, m.deleteCheckpoint),
			"crash":       m.crash,
			"":            m.check,
		})
		m.retire(rt)
		ended = true
	})
}

// oneOf makes one command of several, for those that would take turns from the others.
func oneOf(commands ...func(*rapid.T)) func(*rapid.T) {
	return func(t *rapid.T) {
		commands[rapid.IntRange(0, len(commands)-1).Draw(t, "which")](t)
	}
}

func newModel(w *world, run int) *model {
	m := &model{world: w, plan: NewPlan(), claimed: map[persistence.StreamKey]uint64{}}
	m.use(w.store)
	for _, kind := range []string{"room/a", "room/b", "members/a"} {
		key := persistence.StreamKey(fmt.Sprintf("%s-%d", kind, run))
		m.keys = append(m.keys, key)
		m.streams[key] = &modelStream{key: key}
	}
	return m
}

// model is one run's part of the world.
type model struct {
	*world
	b       persistence.Backend // store.Backend with the plan's faults
	plan    *Plan
	keys    []persistence.StreamKey
	handles []*handle
	mark    persistence.Mark
	// claimed are the streams claimed since mark, with the epoch of the last claim.
	claimed map[persistence.StreamKey]uint64
	held    []persistence.Checkpoint
}

// handle is an activation: a claim and what it believes to be the head.
type handle struct {
	claim persistence.Claim
	head  uint64
	// dead: its last append returned ErrUnknown, so it may not write again.
	dead bool
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
		s.compareOne(t, e)
	}
}

func (s *modelStream) compareOne(t *rapid.T, e persistence.Event) {
	want := s.events[e.Seq-1]
	require.Equal(t, want.id, e.MessageID, "event %d", e.Seq)
	require.Equal(t, want.epoch, e.Epoch, "event %d", e.Seq)
}

// check compares feed, heads and histories after each command.
func (m *model) check(t *rapid.T) {
	m.scan(t)
	for _, key := range m.keys {
		s := m.streams[key]
		h, err := m.b.Head(context.Background(), key)
		require.NoError(t, err)
		require.Equal(t, s.epoch, h.Epoch)
		require.Equal(t, s.owner, h.Owner)
		require.Equal(t, s.incarnation, h.Incarnation)
		require.Equal(t, s.snap(), h.SnapSeq)
		require.Equal(t, s.trim, h.TrimSeq)
		if s.maybe != nil {
			require.Contains(t, []uint64{s.head(), s.head() + uint64(len(s.maybe))}, h.LastSeq)
			continue
		}
		require.Equal(t, s.head(), h.LastSeq)
		require.Equal(t, s.head(), s.fed, "events are missing from the feed")
		events, err := readAll(context.Background(), m.b, key, s.trim+1)
		require.NoError(t, err)
		s.compare(t, events, s.trim+1, s.head())
	}
}

// scan reads what the feed has got since it was read last.
func (m *model) scan(t *rapid.T) {
	heads, err := m.b.Lanes(context.Background())
	require.NoError(t, err)
	require.Len(t, heads, len(m.lanes))
	for _, head := range heads {
		l := m.lanes[head.Lane]
		require.Equal(t, l.trim, head.TrimPos)
		for {
			events, next, err := m.b.ReadLane(context.Background(), head.Lane, l.next, 100)
			require.NoError(t, err)
			require.Empty(t, checkPage("the model", head.Lane, l.next, events, next))
			for _, e := range events {
				m.fed(t, head.Lane, e)
			}
			if next == l.next {
				break
			}
			l.next = next
		}
		require.Equal(t, head.Pos, l.next, "everything is passed, holes included")
	}
}

// fed takes an event of the feed. It settles an append whose outcome was unknown: all of it is there.
func (m *model) fed(t *rapid.T, lane int16, e persistence.FeedEvent) {
	s, known := m.streams[e.Key]
	require.True(t, known, "stream %s", e.Key)
	require.Equal(t, s.lane, lane)
	require.Equal(t, s.fed+1, e.Seq, "next event of %s", e.Key)
	if s.maybe != nil && e.Seq == s.head()+1 {
		s.events, s.maybe = append(s.events, s.maybe...), nil
	}
	require.LessOrEqual(t, e.Seq, s.head())
	s.compareOne(t, e.Event)
	s.fed = e.Seq
	l := m.lanes[lane]
	l.events = append(l.events, placed{pos: e.Pos, key: e.Key, seq: e.Seq, part: s.events[e.Seq-1].part})
}

// retire makes the run's streams need no partition any more, for the runs to come.
func (m *model) retire(t *rapid.T) {
	m.plan.Clear()
	for _, key := range m.keys {
		s := m.streams[key]
		if s.epoch == 0 {
			delete(m.streams, key)
			continue
		}
		c, err := m.b.Claim(context.Background(), key, "node-a", persistence.ClaimOptions{})
		require.NoError(t, err)
		s.claimed(c)
		m.saveSnapshot(t, s, c)
	}
}

func sortedKeys[K cmp.Ordered](set map[K]struct{}) []K { return slices.Sorted(maps.Keys(set)) }
