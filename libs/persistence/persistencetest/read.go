package persistencetest

import (
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/parley-rt/parley/libs/persistence"
)

var readTests = []namedTest{
	{"pages forwards", readForwards},
	{"pages backwards", readBackwards},
	{"pages are bounded by bytes", readLarge},
	{"one event larger than a page", readLargest},
	{"unknown stream", readUnknown},
	{"trimmed range", readTrimmed},
	{"trimmed away entirely", readAllTrimmed},
	{"trim rules", trimRules},
}

func readForwards(b *bench) {
	b.filled("room/1", 25)
	for _, test := range []struct {
		from  uint64
		limit int
		want  []uint64
	}{
		{1, 3, []uint64{1, 2, 3}},
		{0, 2, []uint64{1, 2}},
		{24, 10, []uint64{24, 25}},
		{25, 1, []uint64{25}},
		{26, 1, nil},
		{1 << 63, 5, nil},
		{1<<64 - 1, persistence.MaxRead, nil},
	} {
		events, err := b.Read(b.Context(), "room/1", test.from, test.limit)
		require.NoError(b, err)
		require.Equal(b, test.want, seqs(events), "from %d limit %d", test.from, test.limit)
	}
	var got []uint64
	for from := uint64(1); ; {
		events, err := b.Read(b.Context(), "room/1", from, 7)
		require.NoError(b, err)
		if len(events) == 0 {
			break
		}
		got = append(got, seqs(events)...)
		from = events[len(events)-1].Seq + 1
	}
	require.Len(b, got, 25)
	require.True(b, slices.IsSorted(got))
}

func readBackwards(b *bench) {
	b.filled("room/1", 25)
	for _, test := range []struct {
		before uint64
		limit  int
		want   []uint64
	}{
		{0, 3, []uint64{25, 24, 23}},
		{26, 2, []uint64{25, 24}},
		{25, 2, []uint64{24, 23}},
		{3, 10, []uint64{2, 1}},
		{2, 1, []uint64{1}},
		{1, 1, nil},
		{1<<64 - 1, 1, []uint64{25}},
	} {
		events, err := b.ReadReverse(b.Context(), "room/1", test.before, test.limit)
		require.NoError(b, err)
		require.Equal(b, test.want, seqs(events), "before %d limit %d", test.before, test.limit)
	}
}

// readLarge: a page is as full as its bytes allow, and only an empty one is the end.
func readLarge(b *bench) {
	const n, payload, meta, page = 14, 1 << 20, 1 << 10, 3
	c := b.claim("room/1", "node-a")
	e := newEvent("")
	e.Payload, e.Meta = make([]byte, payload), make([]byte, meta)
	for i := range uint64(n) {
		b.append(c, i, e)
	}
	b.append(c, n, newEvent("a small one"))
	var forwards, backwards []uint64
	for from := uint64(1); ; {
		events, err := b.Read(b.Context(), "room/1", from, persistence.MaxRead)
		require.NoError(b, err)
		if len(events) == 0 {
			break
		}
		b.fits(events)
		if from <= n-page {
			require.Len(b, events, page, "from %d", from)
		}
		forwards = append(forwards, seqs(events)...)
		from = events[len(events)-1].Seq + 1
	}
	for before := uint64(0); ; {
		events, err := b.ReadReverse(b.Context(), "room/1", before, persistence.MaxRead)
		require.NoError(b, err)
		if len(events) == 0 {
			break
		}
		b.fits(events)
		backwards = append(backwards, seqs(events)...)
		before = events[len(events)-1].Seq
	}
	require.Len(b, forwards, n+1)
	require.True(b, slices.IsSorted(forwards))
	slices.Reverse(backwards)
	require.Equal(b, forwards, backwards)

	events, err := b.Read(b.Context(), "room/1", 4, 2)
	require.NoError(b, err)
	require.Equal(b, []uint64{4, 5}, seqs(events), "limit is a bound as well")
	events, err = b.ReadReverse(b.Context(), "room/1", 4, 2)
	require.NoError(b, err)
	require.Equal(b, []uint64{3, 2}, seqs(events))
	rec, err := b.Recover(b.Context(), b.claim("room/1", "node-a"))
	require.NoError(b, err)
	b.fits(rec.Tail)
	require.True(b, rec.More)
}

func readLargest(b *bench) {
	c := b.claim("room/1", "node-a")
	e := newEvent("")
	e.Payload = make([]byte, persistence.MaxPayloadBytes)
	b.append(c, 0, e)
	b.append(c, 1, newEvent("small"))
	b.append(c, 2, e)
	for _, from := range []uint64{1, 2, 3} {
		events, err := b.Read(b.Context(), "room/1", from, 10)
		require.NoError(b, err)
		require.Equal(b, []uint64{from}, seqs(events))
		events, err = b.ReadReverse(b.Context(), "room/1", from+1, 10)
		require.NoError(b, err)
		require.Equal(b, []uint64{from}, seqs(events))
	}
	b.replays(b.claim("room/1", "node-a"), 0)
}

// fits checks the bytes of a page of more than one event.
func (b *bench) fits(events []persistence.Event) {
	b.Helper()
	size := 0
	for _, e := range events {
		size += len(e.Payload) + len(e.Meta)
	}
	require.LessOrEqual(b, size, persistence.MaxReadBytes)
}

func readUnknown(b *bench) {
	events, err := b.Read(b.Context(), "room/none", 1, 10)
	require.NoError(b, err)
	require.Empty(b, events)
	events, err = b.ReadReverse(b.Context(), "room/none", 0, 10)
	require.NoError(b, err)
	require.Empty(b, events)
}

func readTrimmed(b *bench) {
	c := b.filled("room/1", 2500)
	b.snapshot(c, 2400, "s")
	require.NoError(b, b.Trim(b.Context(), c, 2300))

	for _, from := range []uint64{0, 1, 2300} {
		_, err := b.Read(b.Context(), "room/1", from, 10)
		require.ErrorIs(b, err, persistence.ErrTrimmed, "from %d", from)
	}
	events, err := b.Read(b.Context(), "room/1", 2301, 10)
	require.NoError(b, err)
	require.EqualValues(b, 2301, events[0].Seq)
	require.Len(b, events, 10)

	events, err = b.ReadReverse(b.Context(), "room/1", 2305, 10)
	require.NoError(b, err)
	require.Equal(b, []uint64{2304, 2303, 2302, 2301}, seqs(events), "reading back stops at the trim position")
	events, err = b.ReadReverse(b.Context(), "room/1", 2301, 10)
	require.NoError(b, err)
	require.Empty(b, events)

	h, err := b.Head(b.Context(), "room/1")
	require.NoError(b, err)
	require.EqualValues(b, 2300, h.TrimSeq)
	again := b.claim("room/1", "node-b")
	require.EqualValues(b, 2300, again.TrimSeq)
	require.EqualValues(b, 2500, again.LastSeq)
	b.append(again, 2500, newEvent("seqs go on"))
}

func readAllTrimmed(b *bench) {
	c := b.filled("room/1", 5)
	b.snapshot(c, 5, "s")
	require.NoError(b, b.Trim(b.Context(), c, 5))
	_, err := b.Read(b.Context(), "room/1", 5, 1)
	require.ErrorIs(b, err, persistence.ErrTrimmed)
	events, err := b.Read(b.Context(), "room/1", 6, 1)
	require.NoError(b, err)
	require.Empty(b, events)
	events, err = b.ReadReverse(b.Context(), "room/1", 0, 1)
	require.NoError(b, err)
	require.Empty(b, events)

	b.append(c, 5, newEvent("six"))
	events, err = b.Read(b.Context(), "room/1", 6, 1)
	require.NoError(b, err)
	require.Equal(b, []uint64{6}, seqs(events))
}

func trimRules(b *bench) {
	c := b.filled("room/1", 10)
	require.ErrorIs(b, b.Trim(b.Context(), c, 1), persistence.ErrConflict, "nothing is trimmed without a snapshot")
	b.snapshot(c, 6, "s")
	require.ErrorIs(b, b.Trim(b.Context(), c, 7), persistence.ErrConflict)
	require.NoError(b, b.Trim(b.Context(), c, 6))
	require.NoError(b, b.Trim(b.Context(), c, 2), "lower than before is a no-op")
	h, err := b.Head(b.Context(), "room/1")
	require.NoError(b, err)
	require.EqualValues(b, 6, h.TrimSeq)
}

func (b *bench) snapshot(c persistence.Claim, seq uint64, payload string) {
	b.Helper()
	require.NoError(b, b.SaveSnapshot(b.Context(), c, persistence.Snapshot{
		Seq: seq, Codec: persistence.CodecProto, Manifest: "test.v1.State", Payload: []byte(payload), Meta: []byte("meta"),
	}))
}
