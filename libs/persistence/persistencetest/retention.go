package persistencetest

import (
	"math"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
)

var retentionTests = []namedTest{
	{"rotation", retentionRotates},
	{"drops what nobody needs", retentionDrops},
	{"a stream without a snapshot beyond it is named", retentionStream},
	{"of many streams some are named", retentionManyStreams},
	{"a consumer that has not passed it is named", retentionConsumer},
	{"everybody who needs it is named", retentionEverybody},
	{"oldest first, up to the one that is needed", retentionOldestFirst},
	{"the current one is refused", retentionCurrent},
	{"empty ones", retentionEmpty},
	{"trimmed events do not count for streams", retentionTrimmed},
	{"a consumer begins where nothing is lost", retentionNewConsumer},
	{"two operators at once", retentionTwice},
	{"appends and recoveries go on", retentionBusy},
}

func (b *bench) rotate(part int32) {
	b.Helper()
	require.NoError(b, b.Rotate(b.Context(), part))
}

// parts returns the partitions' numbers and checks which one is the current.
func (b *bench) parts() (parts []int32) {
	b.Helper()
	list, err := b.Partitions(b.Context())
	require.NoError(b, err)
	for i, p := range list {
		require.Equal(b, i == len(list)-1, p.Current)
		require.GreaterOrEqual(b, p.Rows, int64(0))
		require.GreaterOrEqual(b, p.Bytes, int64(0))
		parts = append(parts, p.Part)
	}
	require.IsIncreasing(b, parts)
	return parts
}

func (b *bench) dropped(upTo int32, want ...int32) {
	b.Helper()
	dropped, err := b.DropPartitions(b.Context(), upTo)
	require.NoError(b, err)
	require.Equal(b, want, append([]int32(nil), dropped...))
}

// blocked wants DropPartitions to stop at a partition, after those of want.
func (b *bench) blocked(upTo int32, want ...int32) *persistence.BlockedError {
	b.Helper()
	dropped, err := b.DropPartitions(b.Context(), upTo)
	require.ErrorIs(b, err, persistence.ErrBlocked)
	require.Equal(b, want, append([]int32(nil), dropped...), "what was dropped is told beside the error")
	return asBlocked(b, err)
}

// asBlocked returns the *BlockedError in err with nil for empty lists, which are the same.
func asBlocked(t require.TestingT, err error) *persistence.BlockedError {
	var blocked *persistence.BlockedError
	require.ErrorAs(t, err, &blocked)
	plain := *blocked
	if len(plain.Keys) == 0 {
		plain.Keys = nil
	}
	if len(plain.Checkpoints) == 0 {
		plain.Checkpoints = nil
	}
	return &plain
}

// grow appends n events to what the claim's stream has.
func (b *bench) grow(c persistence.Claim, n int) (head uint64) {
	b.Helper()
	h, err := b.Head(b.Context(), c.Key)
	require.NoError(b, err)
	b.append(c, h.LastSeq, newEvents(n)...)
	return h.LastSeq + uint64(n)
}

func retentionRotates(b *bench) {
	require.Equal(b, []int32{0}, b.parts(), "a new journal begins at partition 0")
	c := b.filled("room/1", 3)
	b.rotate(0)
	b.rotate(-5)
	require.ErrorIs(b, b.Rotate(b.Context(), math.MaxInt32), persistence.ErrInvalid)
	require.Equal(b, []int32{0}, b.parts())
	b.rotate(20_000)
	b.grow(c, 3)
	require.Equal(b, []int32{0, 20_000}, b.parts())
	b.rotate(19_999)
	b.rotate(20_000)
	require.Equal(b, []int32{0, 20_000}, b.parts(), "never back")
	b.rotate(20_001)
	b.rotate(1 << 30)
	require.Equal(b, []int32{0, 20_000, 20_001, 1 << 30}, b.parts())
	b.grow(c, 3)
	require.Len(b, b.all("room/1"), 9, "a stream reads on over partitions")
	events, _ := b.lane(c.Lane, 0, 4)
	require.Len(b, events, 9, "and so does the feed")
	b.replays(b.claim("room/1", "node-b"), 0)
}

func retentionDrops(b *bench) {
	one, two, idle := b.filled("room/1", 10), b.filled("room/2", 5), b.filled("room/idle", 2)
	b.snapshot(two, 5, "two")
	b.snapshot(idle, 2, "idle")
	b.rotate(1)
	b.grow(one, 5)
	b.snapshot(one, 12, "one")
	before := b.laneHeads()
	old, _ := b.lane(one.Lane, 0, 100)
	b.dropped(0, 0)
	require.Equal(b, []int32{1}, b.parts())

	for key, trim := range map[persistence.StreamKey]uint64{"room/1": 10, "room/2": 5, "room/idle": 2} {
		h, err := b.Head(b.Context(), key)
		require.NoError(b, err)
		require.Equal(b, trim, h.TrimSeq, "%s", key)
		for from := uint64(0); from <= trim; from++ {
			_, err = b.Read(b.Context(), key, from, 10)
			require.ErrorIs(b, err, persistence.ErrTrimmed, "%s from %d", key, from)
		}
		events, err := readAll(b.Context(), b, key, trim+1)
		require.NoError(b, err)
		require.Len(b, events, int(h.LastSeq-trim))
	}
	backwards, err := b.ReadReverse(b.Context(), "room/1", 0, 100)
	require.NoError(b, err)
	require.Equal(b, []uint64{15, 14, 13, 12, 11}, seqs(backwards))

	for lane, head := range b.laneHeads() {
		require.GreaterOrEqual(b, head.Pos, before[lane].Pos)
		for after := uint64(0); after < head.TrimPos; after++ {
			_, _, err := b.ReadLane(b.Context(), lane, after, 10)
			require.ErrorIs(b, err, persistence.ErrTrimmed, "after %d, never silence", after)
		}
	}
	require.Len(b, b.feed(), 5)
	require.GreaterOrEqual(b, b.laneHeads()[one.Lane].TrimPos, old[9].Pos)

	b.replays(b.claim("room/1", "node-b"), 12)
	c := b.claim("room/2", "node-b")
	require.EqualValues(b, 5, c.TrimSeq)
	rec, err := b.Recover(b.Context(), c)
	require.NoError(b, err)
	require.Equal(b, "two", string(rec.Snapshot.Payload))
	require.Empty(b, rec.Tail)
	b.append(c, 5, newEvent("seqs go on"))
	b.holdsTrim("room/2", 5)
}

// holdsTrim checks that trimming below what a partition took is a no-op.
func (b *bench) holdsTrim(key persistence.StreamKey, trim uint64) {
	b.Helper()
	c := b.claim(key, "node-c")
	require.NoError(b, b.Trim(b.Context(), c, trim-1))
	h, err := b.Head(b.Context(), key)
	require.NoError(b, err)
	require.Equal(b, trim, h.TrimSeq)
}

func retentionCurrent(b *bench) {
	c := b.filled("room/1", 5)
	b.snapshot(c, 5, "s")
	for _, upTo := range []int32{0, 1, 1<<31 - 1} {
		dropped, err := b.DropPartitions(b.Context(), upTo)
		require.ErrorIs(b, err, persistence.ErrConflict)
		require.Empty(b, dropped)
	}
	b.rotate(1)
	dropped, err := b.DropPartitions(b.Context(), 1)
	require.ErrorIs(b, err, persistence.ErrConflict)
	require.Empty(b, dropped, "not the older one either")
	require.Len(b, b.all("room/1"), 5)
}

func retentionEmpty(b *bench) {
	b.checkpoint("mail", b.claim("room/1", "node-a").Lane, "node-a")
	for part := range int32(4) {
		b.rotate(part + 1)
	}
	b.dropped(3, 0, 1, 2, 3)
	require.Equal(b, []int32{4}, b.parts())
	for _, head := range b.laneHeads() {
		require.Zero(b, head.TrimPos, "nothing was lost")
	}
}

// retentionTrimmed: a stream that has trimmed its events there has a snapshot beyond them; a consumer may still want them.
func retentionTrimmed(b *bench) {
	c := b.filled("room/1", 10)
	held := b.checkpoint("mail", c.Lane, "node-a")
	b.snapshot(c, 10, "s")
	require.NoError(b, b.Trim(b.Context(), c, 10))
	b.rotate(1)
	require.Equal(b, &persistence.BlockedError{Part: 0, Checkpoints: []string{"mail"}}, b.blocked(0))
	events, next := b.lane(c.Lane, held.Pos, 3)
	require.Len(b, events, 10)
	require.NoError(b, b.SaveCheckpoint(b.Context(), held, next))
	b.dropped(0, 0)
	require.Equal(b, events[9].Pos, b.laneHeads()[c.Lane].TrimPos)
}

func retentionNewConsumer(b *bench) {
	c := b.filled("room/1", 10)
	b.snapshot(c, 10, "s")
	b.rotate(1)
	b.grow(c, 2)
	b.dropped(0, 0)
	held := b.checkpoint("mail", c.Lane, "node-a")
	require.Equal(b, b.laneHeads()[c.Lane].TrimPos, held.Pos)
	events, _ := b.lane(c.Lane, held.Pos, 100)
	require.Len(b, events, 2)
}
