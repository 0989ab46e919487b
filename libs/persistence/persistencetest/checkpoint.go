package persistencetest

import (
	"fmt"
	"sync"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
)

var checkpointTests = []namedTest{
	{"claimed, moved, claimed again", checkpointMoves},
	{"a claim fences the one before", checkpointFenced},
	{"only forwards and not beyond the lane", checkpointConflict},
	{"deletion fences, also when it is made anew", checkpointDeleted},
	{"consumers and lanes are apart", checkpointApart},
	{"one of many wins each epoch", checkpointMany},
	{"invalid arguments", checkpointInvalid},
}

func (b *bench) checkpoint(name string, lane int16, owner string) persistence.Checkpoint {
	b.Helper()
	c, err := b.ClaimCheckpoint(b.Context(), name, lane, owner)
	require.NoError(b, err)
	return c
}

func (b *bench) checkpoints() []persistence.Checkpoint {
	b.Helper()
	list, err := b.Checkpoints(b.Context())
	require.NoError(b, err)
	return list
}

func checkpointMoves(b *bench) {
	require.Empty(b, b.checkpoints())
	lane := b.filled("room/1", 10).Lane
	pos := b.laneHeads()[lane].Pos
	first := b.checkpoint("projection", lane, "node-a")
	require.Positive(b, first.Epoch)
	require.Equal(b, persistence.Checkpoint{Name: "projection", Lane: lane, Owner: "node-a", Epoch: first.Epoch}, first)
	require.NoError(b, b.SaveCheckpoint(b.Context(), first, pos-1))
	require.NoError(b, b.SaveCheckpoint(b.Context(), first, pos-1), "where it is")
	require.NoError(b, b.SaveCheckpoint(b.Context(), first, pos))

	second := b.checkpoint("projection", lane, "node-b")
	require.Greater(b, second.Epoch, first.Epoch)
	require.Equal(b, persistence.Checkpoint{Name: "projection", Lane: lane, Owner: "node-b", Epoch: second.Epoch, Pos: pos}, second)
	require.Equal(b, []persistence.Checkpoint{second}, b.checkpoints())
}

func checkpointFenced(b *bench) {
	lane := b.filled("room/1", 10).Lane
	first := b.checkpoint("projection", lane, "node-a")
	second := b.checkpoint("projection", lane, "node-a")
	for _, pos := range []uint64{0, 5, 1 << 40} {
		require.ErrorIs(b, b.SaveCheckpoint(b.Context(), first, pos), persistence.ErrFenced, "also of the same owner, to %d", pos)
	}
	require.NoError(b, b.SaveCheckpoint(b.Context(), second, 3))
	require.ErrorIs(b, b.SaveCheckpoint(b.Context(), first, 4), persistence.ErrFenced)
	second.Pos = 3
	require.Equal(b, []persistence.Checkpoint{second}, b.checkpoints())
}

func checkpointConflict(b *bench) {
	lane := b.filled("room/1", 10).Lane
	pos := b.laneHeads()[lane].Pos
	held := b.checkpoint("projection", lane, "node-a")
	require.NoError(b, b.SaveCheckpoint(b.Context(), held, 5))
	for _, to := range []uint64{0, 4, pos + 1, 1 << 62, 1<<64 - 1} {
		require.ErrorIs(b, b.SaveCheckpoint(b.Context(), held, to), persistence.ErrConflict, "to %d", to)
	}
	held.Pos = 5
	require.Equal(b, []persistence.Checkpoint{held}, b.checkpoints(), "a refusal moves nothing")
}

func checkpointDeleted(b *bench) {
	lane := b.filled("room/1", 10).Lane
	var held []persistence.Checkpoint
	for lane := range b.laneHeads() {
		held = append(held, b.checkpoint("projection", lane, "node-a"))
	}
	other := b.checkpoint("other", lane, "node-a")
	require.NoError(b, b.DeleteCheckpoint(b.Context(), "projection"))
	require.NoError(b, b.DeleteCheckpoint(b.Context(), "projection"), "again is nothing")
	require.Equal(b, []persistence.Checkpoint{other}, b.checkpoints(), "gone from every lane")
	for _, c := range held {
		require.ErrorIs(b, b.SaveCheckpoint(b.Context(), c, 0), persistence.ErrFenced)
	}
	for _, c := range held {
		anew := b.checkpoint("projection", c.Lane, "node-a")
		require.Greater(b, anew.Epoch, c.Epoch, "epochs rise over a deletion")
		require.Zero(b, anew.Pos)
		require.ErrorIs(b, b.SaveCheckpoint(b.Context(), c, 0), persistence.ErrFenced)
		require.NoError(b, b.SaveCheckpoint(b.Context(), anew, 0))
	}
}

func checkpointApart(b *bench) {
	c := b.filled("room/1", 10)
	want := map[string]map[int16]uint64{}
	for _, name := range []string{"search", "mail", "mail/größer"} {
		want[name] = map[int16]uint64{}
		for lane := range b.laneHeads() {
			held := b.checkpoint(name, lane, "node-a")
			if lane == c.Lane {
				want[name][lane] = uint64(len(name))
				require.NoError(b, b.SaveCheckpoint(b.Context(), held, min(uint64(len(name)), b.laneHeads()[lane].Pos)))
				want[name][lane] = min(uint64(len(name)), b.laneHeads()[lane].Pos)
			} else {
				want[name][lane] = 0
			}
		}
	}
	list := b.checkpoints()
	require.Len(b, list, 3*len(b.laneHeads()))
	for i, c := range list {
		require.Equal(b, want[c.Name][c.Lane], c.Pos, "%s of lane %d", c.Name, c.Lane)
		if i > 0 {
			before := list[i-1]
			require.True(b, before.Name < c.Name || before.Name == c.Name && before.Lane < c.Lane, "sorted by name and lane")
		}
	}
}

func checkpointMany(b *bench) {
	const claimers = 32
	lane := b.filled("room/1", 10).Lane
	held := make([]persistence.Checkpoint, claimers)
	var group sync.WaitGroup
	for i := range held {
		group.Go(func() {
			var err error
			held[i], err = b.ClaimCheckpoint(b.Context(), "projection", lane, fmt.Sprintf("node-%d", i))
			requireIs(b, err, nil)
		})
	}
	group.Wait()
	last := held[0]
	epochs := map[uint64]bool{}
	for _, c := range held {
		epochs[c.Epoch] = true
		if c.Epoch > last.Epoch {
			last = c
		}
	}
	require.Len(b, epochs, claimers, "no epoch is given twice")
	for _, c := range held {
		err := b.SaveCheckpoint(b.Context(), c, 1)
		if c.Epoch == last.Epoch {
			require.NoError(b, err)
		} else {
			require.ErrorIs(b, err, persistence.ErrFenced)
		}
	}
	require.Equal(b, last.Owner, b.checkpoints()[0].Owner)
}

func checkpointInvalid(b *bench) {
	for lane := range b.laneHeads() {
		for _, name := range badNames {
			_, err := b.ClaimCheckpoint(b.Context(), name, lane, "node-a")
			require.ErrorIs(b, err, persistence.ErrInvalid, "name %q", name)
			_, err = b.ClaimCheckpoint(b.Context(), "projection", lane, name)
			require.ErrorIs(b, err, persistence.ErrInvalid, "owner %q", name)
			require.ErrorIs(b, b.DeleteCheckpoint(b.Context(), name), persistence.ErrInvalid, "delete %q", name)
			require.ErrorIs(b, b.SaveCheckpoint(b.Context(), persistence.Checkpoint{Name: name, Lane: lane, Owner: "node-a", Epoch: 1}, 0),
				persistence.ErrInvalid, "save %q", name)
		}
		none := persistence.Checkpoint{Name: "none", Lane: lane, Owner: "node-a", Epoch: 1}
		require.ErrorIs(b, b.SaveCheckpoint(b.Context(), none, 0), persistence.ErrFenced)
	}
	require.Empty(b, b.checkpoints())
}
