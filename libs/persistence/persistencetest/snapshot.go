package persistencetest

import (
	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
)

var snapshotTests = []namedTest{
	{"round trip", snapshotRoundTrip},
	{"the newest two are kept", snapshotNewestTwo},
	{"an older one is stale", snapshotStale},
	{"a fenced one is refused", snapshotFenced},
}

var recoveryTests = []namedTest{
	{"empty stream", recoverEmpty},
	{"events only", recoverEvents},
	{"snapshot and tail", recoverTail},
	{"tail longer than one page", recoverPages},
	{"tail of large events", recoverLarge},
	{"fall back to the snapshot before", recoverPrevious},
	{"claim without a stream", recoverNothing},
}

func snapshotRoundTrip(b *bench) {
	c := b.filled("room/1", 3)
	in := persistence.Snapshot{
		Seq: 2, Codec: persistence.CodecProto, Manifest: "test.v1.State", Payload: []byte("state"), Meta: []byte("meta"),
	}
	require.NoError(b, b.SaveSnapshot(b.Context(), c, in))
	clear(in.Payload)
	h, err := b.Head(b.Context(), "room/1")
	require.NoError(b, err)
	require.EqualValues(b, 2, h.SnapSeq)

	next := b.claim("room/1", "node-b")
	require.EqualValues(b, 2, next.SnapSeq)
	rec, err := b.Recover(b.Context(), next)
	require.NoError(b, err)
	b.expiresIn(0, rec.Snapshot.At)
	require.Equal(b, c.Epoch, rec.Snapshot.Epoch)
	require.EqualValues(b, 2, rec.Snapshot.Seq)
	require.Equal(b, persistence.CodecProto, rec.Snapshot.Codec)
	require.Equal(b, "test.v1.State", rec.Snapshot.Manifest)
	require.Equal(b, "state", string(rec.Snapshot.Payload))
	require.Equal(b, "meta", string(rec.Snapshot.Meta))
}

func snapshotNewestTwo(b *bench) {
	c := b.filled("room/1", 10)
	for _, seq := range []uint64{2, 4, 6, 9} {
		b.snapshot(c, seq, "state")
	}
	rec, err := b.Recover(b.Context(), b.claim("room/1", "node-a"))
	require.NoError(b, err)
	require.EqualValues(b, 9, rec.Snapshot.Seq)
	require.EqualValues(b, 6, rec.Previous.Seq)
	require.Equal(b, []uint64{10}, seqs(rec.Tail))
}

func snapshotStale(b *bench) {
	c := b.filled("room/1", 5)
	b.snapshot(c, 4, "state")
	for _, seq := range []uint64{1, 3, 4} {
		err := b.SaveSnapshot(b.Context(), c, persistence.Snapshot{Seq: seq, Payload: []byte("older")})
		require.ErrorIs(b, err, persistence.ErrStaleSnapshot, "at %d", seq)
	}
	rec, err := b.Recover(b.Context(), b.claim("room/1", "node-a"))
	require.NoError(b, err)
	require.EqualValues(b, 4, rec.Snapshot.Seq)
	require.Equal(b, "state", string(rec.Snapshot.Payload))
	require.Zero(b, rec.Previous.Seq)
}

func snapshotFenced(b *bench) {
	loser := b.filled("room/1", 5)
	winner := b.claim("room/1", "node-b")
	err := b.SaveSnapshot(b.Context(), loser, persistence.Snapshot{Seq: 5, Payload: []byte("late")})
	requireFenced(b, err, loser, winner, 5)
	rec, err := b.Recover(b.Context(), winner)
	require.NoError(b, err)
	require.Zero(b, rec.Snapshot.Seq)
	require.Len(b, rec.Tail, 5)
}

func recoverEmpty(b *bench) {
	rec, err := b.Recover(b.Context(), b.claim("room/1", "node-a"))
	require.NoError(b, err)
	require.Zero(b, rec.Snapshot.Seq)
	require.Nil(b, rec.Snapshot.Payload)
	require.Zero(b, rec.Previous.Seq)
	require.Empty(b, rec.Tail)
	require.False(b, rec.More)
}

func recoverEvents(b *bench) {
	b.filled("room/1", 5)
	c := b.claim("room/1", "node-b")
	b.append(c, 5, newEvent("after the claim"))
	rec, err := b.Recover(b.Context(), c)
	require.NoError(b, err)
	require.Zero(b, rec.Snapshot.Seq)
	require.Equal(b, []uint64{1, 2, 3, 4, 5}, seqs(rec.Tail), "up to the claim's head")
	require.False(b, rec.More)
}

func recoverTail(b *bench) {
	c := b.filled("room/1", 8)
	b.snapshot(c, 5, "state")
	rec, err := b.Recover(b.Context(), b.claim("room/1", "node-b"))
	require.NoError(b, err)
	require.EqualValues(b, 5, rec.Snapshot.Seq)
	require.Equal(b, []uint64{6, 7, 8}, seqs(rec.Tail))
	require.False(b, rec.More)

	c = b.claim("room/1", "node-b")
	b.snapshot(c, 8, "state")
	require.NoError(b, b.Trim(b.Context(), c, 8))
	rec, err = b.Recover(b.Context(), b.claim("room/1", "node-b"))
	require.NoError(b, err)
	require.EqualValues(b, 8, rec.Snapshot.Seq)
	require.Empty(b, rec.Tail)
}

func recoverPages(b *bench) {
	c := b.filled("room/1", 12_345)
	b.snapshot(c, 45, "state")
	b.replays(b.claim("room/1", "node-b"), 45)
}

func recoverLarge(b *bench) {
	c := b.claim("room/1", "node-a")
	e := newEvent("")
	e.Payload = make([]byte, 2<<20)
	for i := range uint64(12) {
		b.append(c, i, e)
	}
	b.replays(b.claim("room/1", "node-b"), 0)
}

// replays recovers and reads on while there is more, and checks that this is everything above the snapshot at snap.
func (b *bench) replays(c persistence.Claim, snap uint64) {
	b.Helper()
	rec, err := b.Recover(b.Context(), c)
	require.NoError(b, err)
	require.Equal(b, snap, rec.Snapshot.Seq)
	next := snap + 1
	take := func(events []persistence.Event) {
		for _, e := range events {
			require.Equal(b, next, e.Seq)
			next++
		}
	}
	take(rec.Tail)
	for more := rec.More; more; more = next <= c.LastSeq {
		require.NotEmpty(b, rec.Tail)
		events, err := b.Read(b.Context(), c.Key, next, 5)
		if c.LastSeq > 100 {
			events, err = b.Read(b.Context(), c.Key, next, 5000)
		}
		require.NoError(b, err)
		require.NotEmpty(b, events)
		take(events)
	}
	require.Equal(b, c.LastSeq+1, next)
}

func recoverPrevious(b *bench) {
	c := b.filled("room/1", 9)
	b.snapshot(c, 3, "older")
	b.snapshot(c, 7, "newer")
	rec, err := b.Recover(b.Context(), b.claim("room/1", "node-b"))
	require.NoError(b, err)
	require.Equal(b, "older", string(rec.Previous.Payload))
	require.Equal(b, c.Epoch, rec.Previous.Epoch)
	events, err := b.Read(b.Context(), "room/1", rec.Previous.Seq+1, 100)
	require.NoError(b, err)
	require.Equal(b, []uint64{4, 5, 6, 7, 8, 9}, seqs(events), "what lies between the two is still there")
}

func recoverNothing(b *bench) {
	_, err := b.Recover(b.Context(), persistence.Claim{})
	require.ErrorIs(b, err, persistence.ErrInvalid)
	_, err = b.Recover(b.Context(), persistence.Claim{Key: "room/1", StreamID: 77, Epoch: 1, LastSeq: 3})
	require.ErrorIs(b, err, persistence.ErrCorrupt)
	c := b.filled("room/1", 2)
	c.LastSeq = 5
	_, err = b.Recover(b.Context(), c)
	require.ErrorIs(b, err, persistence.ErrCorrupt, "a head that is behind the claim")
}
