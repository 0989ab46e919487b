package persistencetest

import (
	"context"
	"fmt"
	"slices"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/parley-rt/parley/libs/persistence"
)

func (m *model) read(t *rapid.T) {
	s := m.draw(t)
	if s.maybe != nil {
		t.Skip("the head is unknown")
	}
	from := rapid.Uint64Range(1, s.head()+2).Draw(t, "from")
	limit := rapid.IntRange(1, 10).Draw(t, "limit")
	events, err := m.b.Read(context.Background(), s.key, from, limit)
	if from <= s.trim {
		require.ErrorIs(t, err, persistence.ErrTrimmed)
		return
	}
	require.NoError(t, err)
	first := min(from, s.head()+1)
	s.compare(t, events, first, min(s.head(), first+uint64(limit)-1))
}

func (m *model) readReverse(t *rapid.T) {
	s := m.draw(t)
	if s.maybe != nil {
		t.Skip("the head is unknown")
	}
	before := rapid.Uint64Range(0, s.head()+2).Draw(t, "before")
	limit := rapid.IntRange(1, 10).Draw(t, "limit")
	events, err := m.b.ReadReverse(context.Background(), s.key, before, limit)
	require.NoError(t, err)
	slices.Reverse(events)
	last := s.head()
	if before > 0 {
		last = min(last, before-1)
	}
	first := s.trim + 1
	if last > s.trim+uint64(limit) {
		first = last - uint64(limit) + 1
	}
	s.compare(t, events, first, last)
}

func (m *model) recover(t *rapid.T) {
	s := m.draw(t)
	h := m.claimStream(t, s)
	rec, err := m.b.Recover(context.Background(), h.claim)
	require.NoError(t, err)
	require.Equal(t, s.snap(), rec.Snapshot.Seq)
	if s.snap() > 0 {
		require.Equal(t, fmt.Append(nil, s.snap()), rec.Snapshot.Payload)
	}
	if len(s.snaps) > 1 {
		require.Equal(t, s.snaps[1], rec.Previous.Seq)
	}
	require.False(t, rec.More)
	s.compare(t, rec.Tail, s.snap()+1, s.head())
}
