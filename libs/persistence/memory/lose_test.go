package memory_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
	"github.com/parley-rt/parley/libs/persistence/memory"
)

func TestLose(t *testing.T) {
	t.Parallel()
	b := memory.New(memory.Options{})
	claim := func(key persistence.StreamKey) persistence.Claim {
		c, err := b.Claim(t.Context(), key, "node-a", persistence.ClaimOptions{})
		require.NoError(t, err)
		return c
	}
	one, two := claim("room/1"), claim("room/2")
	for _, c := range []persistence.Claim{one, two} {
		_, err := b.Append(t.Context(), c, 0, make([]persistence.Event, 10))
		require.NoError(t, err)
		for _, seq := range []uint64{3, 8} {
			require.NoError(t, b.SaveSnapshot(t.Context(), c, persistence.Snapshot{Seq: seq}))
		}
	}
	b.Lose("room/1", 5)
	b.Lose("room/1", 7)
	b.Lose("room/none", 0)
	one = claim("room/1")
	require.EqualValues(t, 5, one.LastSeq)
	rec, err := b.Recover(t.Context(), one)
	require.NoError(t, err)
	require.EqualValues(t, 3, rec.Snapshot.Seq)
	require.Len(t, rec.Tail, 2)
	require.EqualValues(t, 10, claim("room/2").LastSeq)
	events, _, err := b.ReadLane(t.Context(), 0, 0, 100)
	require.NoError(t, err)
	require.Len(t, events, 15)
	_, err = b.Append(t.Context(), one, 5, make([]persistence.Event, 1))
	require.NoError(t, err)
}
