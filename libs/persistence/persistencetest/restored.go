package persistencetest

import (
	"fmt"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
)

var incarnationTests = []namedTest{
	{"a lost tail is announced", incarnationChanges},
	{"a fenced claim changes nothing", incarnationFenced},
	{"claim of nothing", incarnationInvalid},
}

var restoredTests = []namedTest{
	{"streams", restoredStreams},
	{"streams that were lost", restoredLostStream},
	{"leases and checkpoints", restoredHolds},
	{"an empty journal, and twice", restoredEmpty},
	{"retention goes on", restoredRetention},
}

func incarnationChanges(b *bench) {
	c := b.filled("room/1", 3)
	other := b.claim("room/2", "node-a")
	changed, err := b.Reincarnate(b.Context(), c)
	require.NoError(b, err)
	require.NotEqual(b, c.Incarnation, changed.Incarnation)
	require.NotZero(b, changed.Incarnation)
	require.LessOrEqual(b, changed.Incarnation, uint64(1<<63-1))
	want := c
	want.Incarnation = changed.Incarnation
	require.Equal(b, want, changed, "everything else is the claim's")

	h, err := b.Head(b.Context(), "room/1")
	require.NoError(b, err)
	require.Equal(b, changed.Incarnation, h.Incarnation)
	require.Equal(b, c.Epoch, h.Epoch)
	require.Equal(b, "node-a", h.Owner)
	b.append(changed, 3, newEvent("the claim goes on"))
	b.append(c, 4, newEvent("by its epoch"))
	again, err := b.Reincarnate(b.Context(), changed)
	require.NoError(b, err)
	require.NotEqual(b, changed.Incarnation, again.Incarnation)
	require.Equal(b, again.Incarnation, b.claim("room/1", "node-b").Incarnation, "later claims have it")
	require.Equal(b, other.Incarnation, b.claim("room/2", "node-b").Incarnation, "no other stream is touched")
}

func incarnationFenced(b *bench) {
	loser := b.filled("room/1", 2)
	winner := b.claim("room/1", "node-b")
	_, err := b.Reincarnate(b.Context(), loser)
	requireFenced(b, err, loser, winner, 2)
	h, err := b.Head(b.Context(), "room/1")
	require.NoError(b, err)
	require.Equal(b, winner.Incarnation, h.Incarnation)
}

func incarnationInvalid(b *bench) {
	c := b.claim("room/1", "node-a")
	for _, bad := range []persistence.Claim{{}, {Key: c.Key, StreamID: c.StreamID}, {Key: c.Key, StreamID: c.StreamID + 1000, Epoch: 1}} {
		_, err := b.Reincarnate(b.Context(), bad)
		require.ErrorIs(b, err, persistence.ErrInvalid, "%+v", bad)
	}
}

func (b *bench) restored(streams int) {
	b.Helper()
	n, err := b.MarkRestored(b.Context())
	require.NoError(b, err)
	require.EqualValues(b, streams, n)
}

func restoredStreams(b *bench) {
	const streams = 20
	old := make([]persistence.Claim, streams)
	for i := range old {
		old[i] = b.filled(persistence.StreamKey(fmt.Sprintf("room/%d", i)), 3)
		b.snapshot(old[i], 2, "s")
	}
	lost := old[0] // of a claim that the restored state knows nothing of
	lost.Epoch += 1000
	_, mark := b.takeovers("node-b", persistence.Mark{})
	before := b.laneHeads()
	b.restored(streams)

	incarnations := map[uint64]bool{}
	for _, c := range append(old, lost) {
		_, err := b.Append(b.Context(), c, 3, newEvents(1))
		require.ErrorIs(b, err, persistence.ErrFenced)
		require.ErrorIs(b, b.SaveSnapshot(b.Context(), c, persistence.Snapshot{Seq: 3}), persistence.ErrFenced)
		require.ErrorIs(b, b.Trim(b.Context(), c, 1), persistence.ErrFenced)
		_, err = b.Reincarnate(b.Context(), c)
		require.ErrorIs(b, err, persistence.ErrFenced)
		require.NoError(b, b.Release(b.Context(), c))
	}
	list, _ := b.takeovers("node-b", mark)
	for _, c := range old {
		h, err := b.Head(b.Context(), c.Key)
		require.NoError(b, err)
		require.Empty(b, h.Owner)
		require.GreaterOrEqual(b, h.Epoch, c.Epoch+persistence.RestoreGap)
		require.NotEqual(b, c.Incarnation, h.Incarnation)
		require.NotZero(b, h.Incarnation)
		require.LessOrEqual(b, h.Incarnation, uint64(1<<63-1))
		incarnations[h.Incarnation] = true
		require.EqualValues(b, 3, h.LastSeq)
		if takeover, listed := list[c.Key]; listed {
			require.Empty(b, takeover.Owner)
		}

		now := b.claim(c.Key, "node-b")
		require.Greater(b, now.Epoch, h.Epoch)
		require.Empty(b, now.PreviousOwner)
		require.Equal(b, h.Incarnation, now.Incarnation)
		rec, err := b.Recover(b.Context(), now)
		require.NoError(b, err)
		require.EqualValues(b, 2, rec.Snapshot.Seq)
		require.Equal(b, []uint64{3}, seqs(rec.Tail))
		b.append(now, 3, newEvent("goes on"))
	}
	require.Len(b, incarnations, streams, "each stream has its own")
	for lane, head := range b.laneHeads() {
		require.GreaterOrEqual(b, head.Pos, before[lane].Pos+persistence.RestoreGap)
		require.Equal(b, before[lane].TrimPos, head.TrimPos)
	}
	require.Len(b, b.feed(), 4*streams)
	list, _ = b.takeovers("node-a", mark)
	for _, c := range old {
		require.Contains(b, list, c.Key, "a mark of before misses nothing")
	}
}

// restoredLostStream: a stream that was lost had an id, and so has its claim. No stream made since answers to it.
func restoredLostStream(b *bench) {
	last := b.claim("room/last", "node-a")
	b.restored(1)
	for i := range 10 {
		b.claim(persistence.StreamKey(fmt.Sprintf("room/%d", i)), "node-b")
		lost := persistence.Claim{Key: "room/lost", StreamID: last.StreamID + int64(i) + 1, Epoch: 1}
		_, err := b.Append(b.Context(), lost, 0, newEvents(1))
		require.ErrorIs(b, err, persistence.ErrInvalid)
	}
	require.Empty(b, b.feed())
}

func restoredHolds(b *bench) {
	lane := b.filled("room/1", 10).Lane
	held := b.checkpoint("mail", lane, "node-a")
	require.NoError(b, b.SaveCheckpoint(b.Context(), held, 4))
	lease := b.lease("scheduler", "node-a")
	b.session(1, "t1")
	b.restored(1)

	require.ErrorIs(b, b.SaveCheckpoint(b.Context(), held, 5), persistence.ErrFenced)
	lost := held
	lost.Epoch += 1000
	require.ErrorIs(b, b.SaveCheckpoint(b.Context(), lost, 5), persistence.ErrFenced)
	now := b.checkpoint("mail", lane, "node-a")
	require.Greater(b, now.Epoch, held.Epoch+persistence.RestoreGap)
	require.EqualValues(b, 4, now.Pos)
	require.NoError(b, b.SaveCheckpoint(b.Context(), now, 5))

	_, err := b.RenewLease(b.Context(), lease, b.unit())
	require.ErrorIs(b, err, persistence.ErrLeaseLost)
	lease.Epoch += 1000
	_, err = b.RenewLease(b.Context(), lease, b.unit())
	require.ErrorIs(b, err, persistence.ErrLeaseLost)
	taken, err := b.AcquireLease(b.Context(), "scheduler", "node-b", b.unit())
	require.NoError(b, err, "it is free")
	require.Greater(b, taken.Epoch, uint64(persistence.RestoreGap))
	b.mustResume(1, "t1", "t2")
}

func restoredEmpty(b *bench) {
	b.restored(0)
	c := b.filled("room/1", 2)
	b.restored(1)
	b.restored(1)
	_, err := b.Append(b.Context(), c, 2, newEvents(1))
	require.ErrorIs(b, err, persistence.ErrFenced)
	b.append(b.claim("room/1", "node-a"), 2, newEvent("x"))
	require.Len(b, b.feed(), 3)
	require.Len(b, b.all("room/1"), 3)
}

// restoredRetention: the jump is no event, so nobody needs to pass it.
func restoredRetention(b *bench) {
	c := b.filled("room/1", 5)
	b.snapshot(c, 5, "s")
	events, _ := b.lane(c.Lane, 0, 10)
	held := b.checkpoint("mail", c.Lane, "node-a")
	require.NoError(b, b.SaveCheckpoint(b.Context(), held, events[4].Pos))
	b.restored(1)
	b.rotate(1)
	c = b.claim("room/1", "node-a")
	b.grow(c, 2)
	b.rotate(2)
	b.dropped(0, 0)
	require.Equal(b, events[4].Pos, b.laneHeads()[c.Lane].TrimPos)
	require.Equal(b, persistence.BlockedError{
		Part: 1, Streams: 1, Keys: []persistence.StreamKey{"room/1"}, Checkpoints: []string{"mail"},
	}, *b.blocked(1))
	for _, p := range b.partitionList() {
		require.Less(b, p.Rows, int64(1000), "a jump holds no rows")
	}
}

func (b *bench) partitionList() []persistence.Partition {
	b.Helper()
	list, err := b.Partitions(b.Context())
	require.NoError(b, err)
	return list
}
