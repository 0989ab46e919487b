package persistencetest

import (
	"context"
	"slices"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/parley-rt/parley/libs/persistence"
)

// The model test's commands of feed and maintenance.

func (m *model) rotate(t *rapid.T) {
	part := m.current() + rapid.Int32Range(-1, 2).Draw(t, "part")
	require.NoError(t, m.b.Rotate(context.Background(), part))
	if part > m.current() {
		m.parts = append(m.parts, part)
	}
	m.comparePartitions(t)
}

func (m *model) comparePartitions(t *rapid.T) {
	list, err := m.b.Partitions(context.Background())
	require.NoError(t, err)
	var parts []int32
	for _, p := range list {
		parts = append(parts, p.Part)
		require.Equal(t, p.Part == m.current(), p.Current)
	}
	require.Equal(t, m.parts, parts)
}

func (m *model) dropPartitions(t *rapid.T) {
	if rapid.Bool().Draw(t, "tidy first") { // else somebody needs them nearly always
		m.tidy(t)
	}
	upTo := rapid.SampledFrom(m.parts).Draw(t, "up to") - rapid.Int32Range(0, 1).Draw(t, "less")
	dropped, err := m.b.DropPartitions(context.Background(), upTo)
	if upTo >= m.current() {
		require.ErrorIs(t, err, persistence.ErrConflict)
		require.Empty(t, dropped)
		return
	}
	var want []int32
	for m.parts[0] <= upTo {
		if needed := m.blockers(m.parts[0]); needed != nil {
			require.Equal(t, needed, asBlocked(t, err))
			require.Equal(t, want, append([]int32(nil), dropped...))
			return
		}
		want = append(want, m.parts[0])
		m.drop()
	}
	require.NoError(t, err)
	require.Equal(t, want, append([]int32(nil), dropped...))
	m.comparePartitions(t)
	for lane, l := range m.lanes {
		if l.trim > 0 {
			_, _, err := m.b.ReadLane(context.Background(), lane, l.trim-1, 1)
			require.ErrorIs(t, err, persistence.ErrTrimmed)
		}
	}
}

// tidy has every stream save a snapshot and the tail pass everything, where that can be done by the newest claims.
func (m *model) tidy(t *rapid.T) {
	for _, h := range slices.Backward(m.handles) {
		s := m.stream(h)
		if h.claim.Epoch == s.epoch && s.maybe == nil {
			m.saveSnapshot(t, s, h.claim)
		}
	}
	for lane, l := range m.lanes {
		c, err := m.b.ClaimCheckpoint(context.Background(), tailName, lane, "node-a")
		require.NoError(t, err)
		at := m.checkpoints[checkpointName{tailName, lane}]
		at.epoch, at.owner = c.Epoch, c.Owner
		require.NoError(t, m.b.SaveCheckpoint(context.Background(), c, l.next))
		at.pos = l.next
	}
}

func (m *model) drawLane(t *rapid.T) int16 {
	return rapid.SampledFrom(sortedLanes(m.lanes)).Draw(t, "lane")
}

func sortedLanes(lanes map[int16]*modelLane) []int16 {
	set := map[int16]struct{}{}
	for lane := range lanes {
		set[lane] = struct{}{}
	}
	return sortedKeys(set)
}

// tail reads on from the tail's checkpoint: what the feed has shown above it is there, trimmed or not.
func (m *model) tail(t *rapid.T) {
	lane := m.drawLane(t)
	at := m.checkpoints[checkpointName{tailName, lane}]
	limit := rapid.IntRange(1, 10).Draw(t, "limit")
	events, next, err := m.b.ReadLane(context.Background(), lane, at.pos, limit)
	require.NoError(t, err)
	require.Empty(t, checkPage("the tail", lane, at.pos, events, next))
	want := m.lanes[lane].after(at.pos)
	require.LessOrEqual(t, len(events), min(limit, len(want)))
	for i, e := range events {
		s := m.streams[e.Key]
		require.Equal(t, want[i], placed{pos: e.Pos, key: e.Key, seq: e.Seq, part: s.events[e.Seq-1].part})
		s.compareOne(t, e.Event)
	}
	if rest := want[len(events):]; len(rest) > 0 {
		require.Greater(t, next, at.pos, "there is more")
		require.Less(t, next, rest[0].pos, "the next page has the next event")
	}
	if rapid.Bool().Draw(t, "ends before it saves") {
		return
	}
	c, err := m.b.ClaimCheckpoint(context.Background(), tailName, lane, "node-b")
	require.NoError(t, err)
	require.Equal(t, at.pos, c.Pos)
	at.epoch, at.owner = c.Epoch, c.Owner
	require.NoError(t, m.b.SaveCheckpoint(context.Background(), c, next))
	at.pos = next
}

func (m *model) claimCheckpoint(t *rapid.T) {
	name := checkpointName{rapid.SampledFrom([]string{tailName, "mail"}).Draw(t, "name"), m.drawLane(t)}
	owner := rapid.SampledFrom([]string{"node-a", "node-b"}).Draw(t, "owner")
	c, err := m.b.ClaimCheckpoint(context.Background(), name.name, name.lane, owner)
	require.NoError(t, err)
	at := m.checkpoints[name]
	if at == nil {
		at = &modelCheckpoint{}
		m.checkpoints[name] = at
	}
	if !at.exists {
		at.exists, at.pos = true, m.lanes[name.lane].trim
	}
	require.Greater(t, c.Epoch, at.epoch, "also over a deletion")
	at.epoch, at.owner = c.Epoch, owner
	require.Equal(t, persistence.Checkpoint{Name: name.name, Lane: name.lane, Owner: owner, Epoch: at.epoch, Pos: at.pos}, c)
	m.held = append(m.held, c)
	m.compareCheckpoints(t)
}

func (m *model) compareCheckpoints(t *rapid.T) {
	list, err := m.b.Checkpoints(context.Background())
	require.NoError(t, err)
	want := map[checkpointName]modelCheckpoint{}
	for name, at := range m.checkpoints {
		if at.exists {
			want[name] = *at
		}
	}
	got := map[checkpointName]modelCheckpoint{}
	for _, c := range list {
		got[checkpointName{c.Name, c.Lane}] = modelCheckpoint{exists: true, pos: c.Pos, epoch: c.Epoch, owner: c.Owner}
	}
	require.Equal(t, want, got)
}

// saveCheckpoint moves one by a claim of it, which may be an old one, to anywhere.
func (m *model) saveCheckpoint(t *rapid.T) {
	if len(m.held) == 0 {
		t.Skip("no checkpoint is claimed")
	}
	c := rapid.SampledFrom(m.held).Draw(t, "claim")
	at, l := m.checkpoints[checkpointName{c.Name, c.Lane}], m.lanes[c.Lane]
	places := []uint64{0, at.pos, at.pos + 1, l.next, l.next + 1, 1 << 62}
	for _, e := range l.events {
		places = append(places, e.pos)
	}
	pos := rapid.SampledFrom(places).Draw(t, "pos")
	err := m.b.SaveCheckpoint(context.Background(), c, pos)
	switch {
	case !at.exists || at.epoch != c.Epoch:
		require.ErrorIs(t, err, persistence.ErrFenced)
	case pos < at.pos || pos > l.next:
		require.ErrorIs(t, err, persistence.ErrConflict)
	default:
		require.NoError(t, err)
		at.pos = pos
	}
	m.compareCheckpoints(t)
}

func (m *model) deleteCheckpoint(t *rapid.T) {
	require.NoError(t, m.b.DeleteCheckpoint(context.Background(), "mail"))
	for name, at := range m.checkpoints {
		if name.name == "mail" {
			at.exists = false
		}
	}
	m.compareCheckpoints(t)
}
